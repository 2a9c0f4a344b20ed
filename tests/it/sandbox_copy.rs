//! A scrubbed copy of a team's own records: nothing personal arrives, their shape does.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

const CONTACTS: &str = "\
id,name,email,phone,notes,stage
77,Marjolein Verhoeven,marjolein@windmolenbouw.nl,+31 6 48291735,\"Prefers  mornings; call, please\",customer
78,Marjolein Verhoeven,marjolein@windmolenbouw.nl,,  ,prospect
79,Bartholomeus Kuiper,kuiper@lindengracht.nl,0648291736,Bartholomeus,customer
";
const ORDERS: &str = r#"{"id": 1001, "customer": 77, "number": "2026-0007", "total_minor": 12000, "on": "2026-03-01", "held": false}
{"id": 1002, "customer": "78", "number": "2026-0007", "total_minor": 900, "on": "2026-03-11T10:00:00Z", "held": true}
{"id": 1003, "customer": null, "number": "", "total_minor": 0, "on": null, "held": null}
"#;
/// What the tests of keys give beside the export.
const KEYED: [&str; 4] = ["--keep", "stage", "--key-file", "copy.key"];
/// Long enough that chance does not make them again.
const SECRETS: [&str; 8] = [
    "marjolein",
    "verhoeven",
    "windmolenbouw",
    "48291735",
    "mornings",
    "bartholomeus",
    "lindengracht",
    "0648291736",
];

/// What a command said, as JSON a line, or the failure.
fn sandbox(folder: &Path, args: &[&str]) -> Result<Vec<Json>, (Option<i32>, Json)> {
    let output = Command::new(e2e::program("connectord"))
        .current_dir(folder)
        .arg("sandbox")
        .args(args)
        .args(["--output", "jsonl"])
        .env("RUST_LOG", "off")
        .output()
        .unwrap();
    let read = |bytes: &[u8]| -> Vec<Json> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line)))
            .collect()
    };
    if output.status.success() {
        Ok(read(&output.stdout))
    } else {
        let said = read(&output.stderr).pop().unwrap_or_default();
        Err((output.status.code(), said))
    }
}

/// The copies of a kind; the sample records have shorter ids.
fn copies(folder: &Path, kind: &str) -> Vec<Json> {
    let mut records = sandbox(folder, &["show", kind]).unwrap();
    records.retain(|record| record["id"].as_str().unwrap().len() == "C-000000000000".len());
    records
}

fn exports() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("contacts.csv"), CONTACTS).unwrap();
    std::fs::write(folder.path().join("orders.jsonl"), ORDERS).unwrap();
    folder
}

fn contacts<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let first = ["copy", "--kind", "contacts", "--from", "contacts.csv"];
    [first.as_slice(), more].concat()
}

fn orders<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let first = ["copy", "--kind", "orders", "--from", "orders.jsonl"];
    [first.as_slice(), more].concat()
}

fn assert_secret(records: &[Json]) {
    let text = json!(records).to_string().to_lowercase();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

/// The one copy of which a field has a value.
fn with<'a>(records: &'a [Json], name: &str, value: &Json) -> &'a Json {
    let mut found = records
        .iter()
        .filter(|record| record["fields"][name] == *value);
    let one = found.next().unwrap();
    assert!(found.next().is_none(), "{name} {value}");
    one
}

fn same_address<'a>(people: &'a [Json], one: &Json) -> Vec<&'a Json> {
    let address = &one["fields"]["email"];
    let people = people.iter();
    people
        .filter(|record| record["fields"]["email"] == *address)
        .collect()
}

#[test]
fn a_copy_keeps_duplicates_and_blanks_and_a_second_adds_nothing() {
    let folder = exports();
    let folder = folder.path();
    let told = sandbox(folder, &contacts(&KEYED)).unwrap();
    let mut answer = json!({"kind": "contacts", "added": 3, "there": 0, "kept": ["stage"],
        "scrubbed": ["email", "name", "notes", "phone"], "dry_run": false});
    assert_eq!(told, [answer.clone()]);
    let key = std::fs::metadata(folder.join("copy.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let people = copies(folder, "contacts");
    assert_eq!(people.len(), 3);
    assert_secret(&people);

    let blank = with(&people, "phone", &json!(""));
    assert_eq!(blank["fields"]["notes"], "  ");
    assert_eq!(blank["fields"]["stage"], "prospect");
    let twins = same_address(&people, blank);
    assert_eq!(twins.len(), 2, "one address twice stays so");
    assert_eq!(twins[0]["fields"]["name"], twins[1]["fields"]["name"]);
    let email = blank["fields"]["email"].as_str().unwrap();
    assert!(email.ends_with(".example"), "{email}");
    let talked = twins.iter().find(|record| record["id"] != blank["id"]);
    let notes = talked.unwrap()["fields"]["notes"].as_str().unwrap();
    assert_eq!((notes.find("  "), notes.find(';')), (Some(7), Some(17)));

    answer["added"] = json!(0);
    answer["there"] = json!(3);
    let again = sandbox(folder, &contacts(&KEYED)).unwrap();
    assert_eq!(again, [answer]);
    assert_eq!(copies(folder, "contacts"), people);
    let effects = sandbox(folder, &["show"]).unwrap();
    assert!(effects.is_empty(), "a copy is no effect");
}

#[test]
fn references_and_gaps_hold_between_kinds_that_share_a_key() {
    let folder = exports();
    let folder = folder.path();
    sandbox(folder, &contacts(&KEYED)).unwrap();
    let refs = ["--ref", "customer=contacts", "--key-file", "copy.key"];
    sandbox(folder, &orders(&refs)).unwrap();
    let (people, sales) = (copies(folder, "contacts"), copies(folder, "orders"));
    assert_eq!(sales.len(), 3);
    assert_secret(&sales);
    let blank = with(&people, "phone", &json!(""));
    let twins = same_address(&people, blank);
    let talked = twins.iter().find(|record| record["id"] != blank["id"]);

    let first = with(&sales, "held", &json!(false));
    let second = with(&sales, "held", &json!(true));
    let third = with(&sales, "held", &json!(null));
    assert_eq!(first["fields"]["customer"], talked.unwrap()["id"]);
    assert_eq!(second["fields"]["customer"], blank["id"]);
    assert_eq!(third["fields"]["customer"], Json::Null);
    assert_eq!(first["fields"]["number"], second["fields"]["number"]);
    assert_ne!(first["fields"]["number"], "2026-0007");
    assert_eq!(third["fields"]["number"], "");
    let day = |record: &Json| {
        let text = record["fields"]["on"].as_str().unwrap();
        let date = text.split('T').next().unwrap();
        date.parse::<chrono::NaiveDate>().unwrap()
    };
    let gap = day(second).signed_duration_since(day(first));
    assert_eq!(gap.num_days(), 10);
    assert_ne!(first["fields"]["on"], "2026-03-01");
}

#[test]
fn without_names_everything_is_scrubbed_and_a_thrown_away_key_makes_others() {
    let folder = exports();
    let folder = folder.path();
    let told = sandbox(folder, &contacts(&[])).unwrap();
    assert_eq!(told[0]["kept"], json!([]));
    let people = copies(folder, "contacts");
    assert_secret(&people);
    let text = json!(people).to_string();
    assert!(!text.contains("customer") && !text.contains("prospect"));
    let again = sandbox(folder, &contacts(&[])).unwrap();
    assert_eq!(again[0]["added"], 3, "another key makes other records");
    assert_eq!(copies(folder, "contacts").len(), 6);
}

#[test]
fn a_dry_run_shows_copies_and_adds_nothing() {
    let folder = exports();
    let folder = folder.path();
    let dry = contacts(&["--dry-run", "--key-file", "copy.key"]);
    let told = sandbox(folder, &dry).unwrap();
    assert_eq!(told.len(), 4, "an answer and three samples");
    assert_eq!(told[0]["added"], 3);
    assert_eq!(told[0]["dry_run"], true);
    assert_secret(&told);
    for absent in ["sandbox.db", "copy.key"] {
        assert!(!folder.join(absent).exists(), "{absent}");
    }
    sandbox(folder, &["seed"]).unwrap();
    sandbox(folder, &dry).unwrap();
    assert!(copies(folder, "contacts").is_empty());
}

#[test]
fn what_is_wrong_is_refused_as_a_whole_and_not_repeated() {
    let folder = exports();
    let folder = folder.path();
    sandbox(folder, &contacts(&[])).unwrap();
    let before = copies(folder, "contacts");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("short.csv", "id,name\n1,Marjolein\n2\n");
    write("twice.csv", "id,name\n1,Marjolein\n1,Verhoeven\n");
    write(
        "bad.jsonl",
        "{\"id\": 1}\n{\"id\": 2, \"name\": \"Marjolein}\n",
    );
    write("contacts.xlsx", "Marjolein");
    write("semicolons.csv", "id;name\n1;Marjolein\n");
    for (args, place) in [
        (["--from", "short.csv", "--id", "id"], "short.csv: record 2"),
        (["--from", "twice.csv", "--id", "id"], "twice.csv: record 2"),
        (["--from", "bad.jsonl", "--id", "id"], "bad.jsonl: line 2"),
        (["--from", "contacts.xlsx", "--id", "id"], "contacts.xlsx: "),
        (
            ["--from", "absent.csv", "--id", "id"],
            "absent.csv: there is no such file",
        ),
        (
            ["--from", "semicolons.csv", "--id", "id"],
            "found: id;name; a comma separates fields",
        ),
        (
            ["--from", "contacts.csv", "--id", "nr"],
            "no record has a field `nr`; found: email, id, name, notes, phone, stage",
        ),
        (
            ["--from", "contacts.csv", "--keep", "nme"],
            "no record has a field `nme`",
        ),
        (["--from", "contacts.csv", "--keep", "id"], "`id` is the id"),
        (
            ["--from", "contacts.csv", "--ref", "boss=contacts"],
            "field `boss`",
        ),
    ] {
        let all = [["copy", "--kind", "contacts"].as_slice(), args.as_slice()].concat();
        let (code, said) = sandbox(folder, &all).unwrap_err();
        assert_eq!(
            (code, &said["reason"]),
            (Some(2), &json!("REQUEST_MALFORMED"))
        );
        let message = said["message"].as_str().unwrap();
        assert!(message.contains(place), "{message}");
        assert_secret(std::slice::from_ref(&said));
    }
    assert_eq!(copies(folder, "contacts"), before);
    let key = folder.join("copy.key");
    std::fs::write(&key, "11".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (_, said) = sandbox(folder, &contacts(&["--key-file", "copy.key"])).unwrap_err();
    assert_eq!(said["reason"], "KEY_FILE_MODE");
    std::fs::write(&key, "11").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (_, said) = sandbox(folder, &contacts(&["--key-file", "copy.key"])).unwrap_err();
    assert_eq!(said["reason"], "KEY_INVALID");
    assert_eq!(copies(folder, "contacts"), before);
}
