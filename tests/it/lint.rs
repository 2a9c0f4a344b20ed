//! `connectord lint`: system files and cards without a connection.

use e2e::{World, root};
use serde_json::Value as Json;

/// Exit code and rows of a call.
fn lint(world: &World, args: &[&str]) -> (i32, Vec<Json>) {
    let ran = world.run("connectord", &[&["lint", "-o", "jsonl"], args].concat());
    let rows = String::from_utf8(ran.stdout).unwrap();
    let rows = rows.lines().map(|row| serde_json::from_str(row).unwrap());
    (ran.status.code().unwrap(), rows.collect())
}

fn of<'a>(rows: &'a [Json], result: &str) -> Vec<&'a str> {
    let own = rows.iter().filter(|row| row["result"] == result);
    own.map(|row| row["what"].as_str().unwrap()).collect()
}

#[test]
fn every_shipped_file_passes_and_says_what_it_leaves_to_chance() {
    let world = World::prepare(&[]);
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("deploy/systems")).unwrap() {
        let file = entry.unwrap().path();
        let (code, rows) = lint(&world, &[file.to_str().unwrap()]);
        assert_eq!((code, of(&rows, "fail").len()), (0, 0), "{rows:?}");
        seen += 1;
    }
    assert!(seen > 7, "{seen}");
    let file = root().join("deploy/systems/stripe.toml");
    let (_, rows) = lint(&world, &[file.to_str().unwrap()]);
    let can = of(&rows, "ok").join("\n");
    assert!(
        can.contains(
            "charge: read, with 4 fields; refund (guard compare, once header, settle find, undo none)"
        ),
        "{can}"
    );
    let chance = of(&rows, "note").join("\n");
    assert!(
        chance.contains("charge.refund: undo = \"none\": Writ cannot take back what this does"),
        "{chance}"
    );
    assert!(
        chance.contains("customer.update_fields: guard = \"compare\""),
        "{chance}"
    );
}

#[test]
fn a_slip_is_told_with_its_line_and_a_card_that_does_not_fit_with_its_reason() {
    let world = World::prepare(&[]);
    let shipped = std::fs::read_to_string(root().join("deploy/systems/stripe.toml")).unwrap();
    let own = world.path("own.toml");
    let own = own.to_str().unwrap();
    for (right, slip, told) in [
        ("guard = \"compare\"", "gaurd = \"compare\"", "gaurd"),
        ("id_at = \"/id\"", "id_at = \"id\"", "line 24"),
        ("{args.amount as minor}", "{args.amuont as minor}", ""),
        ("GET /v1/charges/{id}", "DELETE /v1/charges/{id}", "line 24"),
    ] {
        std::fs::write(own, shipped.replacen(right, slip, 1)).unwrap();
        let (code, rows) = lint(&world, &[own]);
        // An argument is known by a card only.
        let is_found = !told.is_empty();
        assert_eq!(code, i32::from(is_found), "{slip}: {rows:?}");
        let failed = of(&rows, "fail").join("\n");
        assert!(failed.contains(told), "{slip}: {failed}");
    }
    let refund = world.path("policies/acme/actions/refund.toml");
    let card = ["--card", refund.to_str().unwrap()];
    let sandbox = root().join("deploy/systems/sandbox.toml");
    let sandbox = sandbox.to_str().unwrap();
    let (code, rows) = lint(&world, &[&[sandbox], &card[..]].concat());
    assert_eq!((code, of(&rows, "fail").len()), (0, 0), "{rows:?}");
    for (right, slip, told) in [
        (
            "target = \"order\"",
            "target = \"charge\"",
            "no object `charge`",
        ),
        ("[args.amount]", "[args.amuont]", "amuont"),
    ] {
        let text = std::fs::read_to_string(&refund).unwrap();
        assert!(text.contains(right), "{text}");
        let other = world.path("other.toml");
        std::fs::write(&other, text.replace(right, slip)).unwrap();
        let (code, rows) = lint(&world, &[sandbox, "--card", other.to_str().unwrap()]);
        assert_eq!(code, 1, "{slip}");
        let failed = of(&rows, "fail").join("\n");
        assert!(failed.contains(told), "{slip}: {failed}");
    }
    let (code, _) = lint(&world, &["nothing.toml"]);
    assert_eq!(code, 1);
}

#[test]
fn the_cards_and_rules_for_each_vendor_can_be_performed_and_are_accepted() {
    let world = World::prepare(&[]);
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("deploy/cards")).unwrap() {
        let folder = entry.unwrap().path();
        let system = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let files = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().path());
        let (cards, rules): (Vec<_>, Vec<_>) =
            files.partition(|file| file.extension().is_some_and(|ending| ending == "toml"));
        assert!(!cards.is_empty() && rules.len() == 1, "{system}");
        for card in cards {
            let file = root().join(format!("deploy/systems/{system}.toml"));
            let args = [file.to_str().unwrap(), "--card", card.to_str().unwrap()];
            let (code, rows) = lint(&world, &args);
            assert_eq!(
                (code, of(&rows, "fail").len()),
                (0, 0),
                "{}: {rows:?}",
                card.display()
            );
            let name = card.file_name().unwrap().to_str().unwrap();
            std::fs::copy(&card, world.path(&format!("policies/acme/actions/{name}"))).unwrap();
            seen += 1;
        }
        let to = world.path(&format!("policies/acme/{system}.cedar"));
        std::fs::copy(&rules[0], to).unwrap();
    }
    assert!(seen > 12, "{seen}");
    let checked = world.run("policyd", &["check", "policies", "--deny-warnings"]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
}
