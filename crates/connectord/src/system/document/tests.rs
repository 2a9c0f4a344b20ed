//! The driver on a folder of its own, by what it answers and by what stands there afterwards.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use writ_proto::value::args_from_json;

use super::*;
use crate::domain::plan::FieldPlan;

const MASTER: &str = "Dear {{name}},\n\nwe owe you {{amount}}.\n";
const ARGS: &str = r#"{"name":"Ann {{amount}}","amount":{"currency":"EUR","value":12.5}}"#;
const KEY: &str = "0199f0aa-0000-7000-8000-000000000001";

type Change = fn(&mut Plan);
type Prepare = fn(&Path);

struct Desk {
    folder: TempDir,
    driver: Document,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("templates")).unwrap();
        fs::write(folder.path().join("templates/letter.md"), MASTER).unwrap();
        let driver = Document::open(folder.path()).unwrap();
        Self { folder, driver }
    }

    fn path(&self, rest: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(rest)
    }

    fn master(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path("templates").join(name), text).unwrap();
    }

    fn plan(&self, id: &str, args: &str) -> Plan {
        let version = fs::read_dir(self.path("templates"))
            .unwrap()
            .find_map(|file| {
                let path = file.unwrap().path();
                let bytes = fs::read(&path).unwrap_or_default();
                (path.file_stem().unwrap() == id).then(|| format!("sha256:{}", hash(&bytes)))
            });
        Plan {
            object: "template".to_owned(),
            id: id.to_owned(),
            verb: "fill_template".to_owned(),
            fields: Vec::new(),
            args: args_from_json(args).unwrap(),
            version,
            key: KEY.to_owned(),
            sentence: String::new(),
        }
    }

    /// Names in the folder of documents, drafts too.
    fn documents(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<String> = fs::read_dir(self.path("documents"))
            .unwrap()
            .map(name)
            .collect();
        names.sort();
        names
    }

    fn made(&self, file: &str) -> String {
        fs::read_to_string(self.path("documents").join(KEY).join(file)).unwrap()
    }

    async fn read(&self, object: &str, id: &str) -> Result<Image, SystemError> {
        let seen = ["sha256", "placeholders", "name"]
            .map(str::to_owned)
            .to_vec();
        let wanted = Wanted {
            seen,
            ..Wanted::default()
        };
        self.driver.read(object, id, &wanted).await
    }
}

fn done() -> Applied {
    Applied::Answered(crate::system::Receipt {
        created_id: KEY.to_owned(),
        ..crate::system::Receipt::default()
    })
}

fn refused_for(applied: &Applied, part: &str) -> bool {
    matches!(applied, Applied::Not(NotDone::Refused, why) if why.contains(part))
}

#[tokio::test]
async fn a_filled_copy_is_made_and_the_master_stays() {
    let desk = Desk::new();
    let read = desk.read("template", "letter").await.unwrap();
    let plan = desk.plan("letter", ARGS);
    let sha256 = hash(MASTER.as_bytes());
    assert_eq!(read.version, plan.version);
    assert_eq!(
        read.name_at("placeholders").as_deref(),
        Some("amount, name")
    );
    assert_eq!(read.name_at("sha256"), Some(sha256.clone()));
    assert_eq!(read.fields.len(), 2, "nothing else is answered");

    assert_eq!(desk.driver.write(&plan).await, done());
    let text = "Dear Ann {{amount}},\n\nwe owe you 12.50 EUR.\n";
    assert_eq!(desk.made("1.md"), text);
    let about: About = serde_json::from_str(&desk.made("about.json")).unwrap();
    let hashes = (about.template_sha256, about.text_sha256);
    assert_eq!(hashes, (sha256, hash(text.as_bytes())));
    assert_eq!(
        (about.template.as_str(), about.key.as_str()),
        ("letter", KEY)
    );
    assert_eq!(desk.documents(), [KEY], "no draft is left");
    assert_eq!(
        fs::read_to_string(desk.path("templates/letter.md")).unwrap(),
        MASTER
    );
    let mode = fs::metadata(desk.path(format!("documents/{KEY}/1.md"))).unwrap();
    assert_eq!(
        mode.permissions().mode() & 0o222,
        0,
        "nobody writes into it"
    );
}

#[tokio::test]
async fn the_copy_has_the_ending_of_its_master_and_html_is_escaped() {
    for (file, want) in [
        ("a.md", "<b>&"),
        ("a.txt", "<b>&"),
        ("a.html", "&lt;b&gt;&amp;"),
    ] {
        let desk = Desk::new();
        desk.master(file, "{{v}}");
        let plan = desk.plan("a", r#"{"v":"<b>&"}"#);
        assert_eq!(desk.driver.write(&plan).await, done(), "{file}");
        assert_eq!(desk.made(&file.replace('a', "1")), want, "{file}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_nothing_is_made() {
    let desk = Desk::new();
    let large = "x".repeat(shelf::TEMPLATE_BYTES_MAX + 1);
    desk.master("large.txt", &large);
    desk.master("most.txt", large.split_at(1).1);
    desk.master("stray.md", "a }} b");
    desk.master("bytes.md", [0xff, 0xfe]);
    desk.master("twice.md", "a");
    desk.master("twice.txt", "a");
    desk.master("long.md", "{{v}}".repeat(17));
    fs::write(desk.path("elsewhere.md"), "secret {{v}}").unwrap();
    symlink(desk.path("elsewhere.md"), desk.path("templates/link.md")).unwrap();
    fs::create_dir(desk.path("templates/folder.md")).unwrap();
    let long = format!("{{\"v\":\"{}\"}}", "x".repeat(32_000));
    let table = [
        ("letter", r#"{"name":"Ann"}"#, "no value for `amount`"),
        (
            "letter",
            r#"{"name":"A","amount":1,"cc":"B"}"#,
            "no place for `cc`",
        ),
        (
            "letter",
            r#"{"name":"A\u0007","amount":1}"#,
            "`name`: a control",
        ),
        ("long", long.as_str(), "longer than 524288 bytes"),
        ("large", "{}", "larger than 262144 bytes"),
        ("stray", "{}", "a stray `}}`"),
        ("bytes", "{}", "not UTF-8"),
        ("twice", "{}", "a second file"),
        ("link", r#"{"v":1}"#, "links are not followed"),
        ("folder", "{}", "not a regular file"),
        ("absent", "{}", "no template `absent`"),
    ];
    for (id, args, want) in table {
        let got = desk.driver.write(&desk.plan(id, args)).await;
        assert!(refused_for(&got, want), "{id}: {got:?}");
        let place = desk.folder.path().display().to_string();
        assert!(!refused_for(&got, &place), "{id} says where it lies");
        let could_be_read = ["letter", "long"].contains(&id);
        assert_eq!(
            desk.read("template", id).await.is_ok(),
            could_be_read,
            "{id}"
        );
    }
    assert!(desk.documents().is_empty());
    assert!(desk.read("template", "most").await.is_ok());
    assert_eq!(
        desk.read("template", "absent").await,
        Err(SystemError::NotFound(String::new()))
    );
}

#[tokio::test]
async fn only_names_of_templates_become_paths() {
    let desk = Desk::new();
    desk.master("UP.md", "a");
    let long = "a".repeat(NAME_CHARS_MAX + 1);
    let hostile = "../x|..|.||a/b|/etc/passwd|a.md|UP|a\n|a\0|é".split('|');
    for id in hostile.chain([long.as_str()]) {
        let got = desk.read("template", id).await;
        assert!(
            matches!(got, Err(SystemError::Unknown(_))),
            "{id:?}: {got:?}"
        );
        let got = desk.driver.write(&desk.plan(id, "{}")).await;
        assert!(refused_for(&got, "not the name"), "{id:?}: {got:?}");
    }
    let got = desk.read("document", "letter").await;
    assert!(matches!(got, Err(SystemError::Unknown(_))), "{got:?}");
    let got = desk.driver.find("template", "name", &Map::new()).await;
    assert_eq!(
        got,
        Err(SystemError::Unknown(
            "documents are not searched".to_owned()
        ))
    );
}

#[tokio::test]
async fn only_the_one_verb_under_a_good_key_writes() {
    let desk = Desk::new();
    let changed: [(&str, Change); 8] = [
        ("documents have no object", |plan| {
            plan.object = "document".to_owned();
        }),
        ("can only be filled", |plan| {
            plan.verb = "update_fields".to_owned();
        }),
        ("can only be filled", |plan| {
            plan.fields.push(FieldPlan {
                field: "text".to_owned(),
                old: None,
                new: Value::Null,
            });
        }),
        ("no version", |plan| plan.version = None),
        ("the key is not", |plan| plan.key = "../../x".to_owned()),
        ("the key is not", |plan| plan.key = ".x".to_owned()),
        ("the key is not", |plan| plan.key.clear()),
        ("the key is not", |plan| {
            plan.key = "k".repeat(KEY_CHARS_MAX + 1);
        }),
    ];
    for (want, change) in changed {
        let mut plan = desk.plan("letter", ARGS);
        change(&mut plan);
        let got = desk.driver.write(&plan).await;
        assert!(refused_for(&got, want), "{want}: {got:?}");
    }
    assert!(desk.documents().is_empty());
}

#[tokio::test]
async fn a_template_that_changed_in_between_is_not_filled() {
    let desk = Desk::new();
    let plan = desk.plan("letter", ARGS);
    desk.master("letter.md", MASTER.replace("we owe you", "you owe us"));
    let got = desk.driver.write(&plan).await;
    assert!(matches!(got, Applied::Not(NotDone::Stale, _)), "{got:?}");
    assert!(desk.documents().is_empty());
}

#[tokio::test]
async fn one_key_is_one_document() {
    let desk = Desk::new();
    let plan = desk.plan("letter", ARGS);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (driver, plan) = (desk.driver.clone(), plan.clone());
        calls.spawn(async move { driver.write(&plan).await });
    }
    assert_eq!(calls.join_all().await, vec![done(); 8]);
    assert_eq!(desk.documents(), [KEY]);
    let before = desk.made("1.md");
    let other = desk.plan("letter", &ARGS.replace("Ann", "Bob"));
    let got = desk.driver.write(&other).await;
    assert!(matches!(got, Applied::Not(NotDone::Stale, _)), "{got:?}");
    // What a person adds is neither touched nor in the way.
    fs::write(desk.path(format!("documents/{KEY}/2.md")), "by hand").unwrap();
    assert_eq!(desk.driver.write(&plan).await, done());
    assert_eq!(
        (desk.made("1.md"), desk.made("2.md")),
        (before, "by hand".to_owned())
    );
}

#[tokio::test]
async fn a_place_that_is_taken_is_left_as_it_is() {
    let table: [(&str, Prepare); 4] = [
        ("an empty folder", |place| fs::create_dir(place).unwrap()),
        ("a file", |place| fs::write(place, "x").unwrap()),
        ("a link", |place| symlink("/nowhere", place).unwrap()),
        ("a folder of a person", |place| {
            fs::create_dir(place).unwrap();
            fs::write(place.join("1.md"), "x").unwrap();
        }),
    ];
    for (what, prepare) in table {
        let desk = Desk::new();
        prepare(&desk.path(format!("documents/{KEY}")));
        let plan = desk.plan("letter", ARGS);
        let got = desk.driver.write(&plan).await;
        assert!(
            matches!(got, Applied::Not(NotDone::Stale, _)),
            "{what}: {got:?}"
        );
        assert_eq!(desk.documents(), [KEY], "{what}");
        let got = desk.driver.reconcile(&plan).await;
        assert!(matches!(got, Happened::CannotTell(_)), "{what}: {got:?}");
    }
}

#[tokio::test]
async fn drafts_that_crashes_left_are_no_documents() {
    let desk = Desk::new();
    let plan = desk.plan("letter", ARGS);
    let process = std::process::id();
    let left = |n: u32| desk.path(format!("documents/.{KEY}.tmp-{process}-{n}"));
    for n in 0..8 {
        fs::create_dir(left(n)).unwrap();
    }
    let got = desk.driver.write(&plan).await;
    assert!(refused_for(&got, "8 drafts already"), "{got:?}");
    fs::remove_dir(left(7)).unwrap();
    assert_eq!(desk.driver.reconcile(&plan).await, Happened::No);
    assert_eq!(desk.driver.write(&plan).await, done());
    assert!(left(0).is_dir(), "who made it may still be at work");
    assert_eq!(desk.documents().len(), 8);
}

#[tokio::test]
async fn recovery_sees_whether_it_happened() {
    let desk = Desk::new();
    let plan = desk.plan("letter", ARGS);
    assert_eq!(desk.driver.reconcile(&plan).await, Happened::No);
    assert_eq!(desk.driver.write(&plan).await, done());
    let created_id = KEY.to_owned();
    let yes = Happened::Yes { created_id };
    assert_eq!(desk.driver.reconcile(&plan).await, yes);
    // The master may change or go; what was made from it stands.
    fs::remove_file(desk.path("templates/letter.md")).unwrap();
    assert_eq!(desk.driver.reconcile(&plan).await, yes);

    let other = |change: Change| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan
    };
    for plan in [
        other(|plan| plan.id = "invoice".to_owned()),
        other(|plan| plan.version = Some("sha256:00".to_owned())),
        other(|plan| plan.key = "../x".to_owned()),
    ] {
        let got = desk.driver.reconcile(&plan).await;
        assert!(matches!(got, Happened::CannotTell(_)), "{got:?}");
    }
    let text = desk.path(format!("documents/{KEY}/1.md"));
    fs::remove_file(&text).unwrap();
    fs::write(&text, "edited").unwrap();
    let got = desk.driver.reconcile(&plan).await;
    assert!(matches!(got, Happened::CannotTell(_)), "{got:?}");
}

#[tokio::test]
async fn a_folder_that_is_gone_is_not_an_empty_one() {
    let desk = Desk::new();
    let plan = desk.plan("letter", ARGS);
    fs::remove_dir(desk.path("documents")).unwrap();
    let got = desk.driver.reconcile(&plan).await;
    assert!(matches!(got, Happened::CannotTell(_)), "{got:?}");
    let got = desk.driver.write(&plan).await;
    assert!(refused_for(&got, "documents"), "{got:?}");
}

#[test]
fn only_real_folders_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (templates, documents) = (
        folder.path().join("templates"),
        folder.path().join("documents"),
    );
    let opens = || Document::open(folder.path()).is_ok();
    assert!(!opens(), "no templates");
    symlink("/tmp", &templates).unwrap();
    assert!(!opens(), "a link");
    fs::remove_file(&templates).unwrap();
    fs::create_dir(&templates).unwrap();
    fs::write(&documents, "").unwrap();
    assert!(!opens(), "a file");
    fs::remove_file(&documents).unwrap();
    assert!(opens() && documents.is_dir());
    assert!(Document::open(&documents.join("absent")).is_err());
}
