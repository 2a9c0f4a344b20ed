//! Real servers that Writ has no line of Rust for, each behind its system file alone: Kinto (documents),
//! localstripe (it keeps no promise), a table of PostgreSQL, and Tryton behind a plug-in. What happened is read
//! from the server itself.

use e2e::{Actor, Process, Wish, World, program, root, stage};
use serde_json::Value as Json;
use writ_proto::pb;

pub(super) mod conform;
mod kinto;
mod localstripe;
mod sink;
mod table;
mod tryton;

const CARD: &str = r#"
sentence = "Test."
owner = "x@acme.example"
risk = "low"
tier = "compensable"
undo = "puts back"
rollback_minutes = 1
approver = "role:x"
rollout = "live"
rollout_max = "live"
rollback_window = "24h"
"#;

/// A world with one more connection, some cards for it, and a rule that allows each.
pub(super) fn world(
    connection: &'static str,
    system: &'static str,
    base: String,
    secret: &str,
    cards: &[(&str, &str)],
) -> World {
    world_with((connection, system, base), secret, cards, |text| text)
}

/// The same with a system file that is not quite the one that is shipped.
pub(super) fn world_with(
    (connection, system, base): (&'static str, &'static str, String),
    secret: &str,
    cards: &[(&str, &str)],
    change: impl Fn(String) -> String,
) -> World {
    let mut world = prepared((connection, system, base), secret, cards, change);
    world.start_policyd();
    // Nothing listens there: whoever asked a proxy of the environment would reach no system.
    let proxy = [("HTTP_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "")];
    world.start_connectord(&program("connectord"), &proxy);
    world
}

/// The same, and nothing runs yet.
fn prepared(
    (connection, system, base): (&'static str, &'static str, String),
    secret: &str,
    cards: &[(&str, &str)],
    change: impl Fn(String) -> String,
) -> World {
    let mut world = World::prepare(&[]);
    let own = ["deploy/systems", "tests/systems"];
    let mut files = own
        .map(|folder| root().join(folder).join(format!("{system}.toml")))
        .into_iter();
    let file = files.find(|file| file.exists()).expect("a system file");
    let text = change(std::fs::read_to_string(file).unwrap());
    std::fs::write(world.path(&format!("systems/{system}.toml")), text).unwrap();
    let mut rules = String::new();
    let mut texts = Vec::new();
    for (name, rest) in cards {
        let text = format!(
            "name = \"{name}\"\nconnection = \"{connection}\"\n{}{rest}",
            CARD.trim_start()
        );
        texts.push((*name, text));
        rules.push_str(&format!(
            "@id(\"{name}\")\n@reason(\"t\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@acme.example\")\npermit (principal in Role::\"support-agent\", \
             action == Action::\"{name}\", resource) when {{ resource.tenant == principal.tenant }};\n"
        ));
    }
    world.beside((connection, system, base), secret, &texts, &rules);
    world
}

pub(super) fn wish(connection: &str, action: &str, target: (&str, &str), args: Json) -> Wish {
    Wish {
        connection: connection.into(),
        action: action.into(),
        target: (target.0.into(), target.1.into()),
        args: args.to_string(),
        ..stage("", "")
    }
}

pub(super) async fn undone(
    world: &World,
    agent: &mut Actor,
    execution: &pb::Execution,
) -> pb::UndoItem {
    agent.signed(execution).await;
    world.operator().await.undo(execution).await
}

/// A server from `tests/services`.
fn served(world: &tempfile::TempDir, name: &str, args: &[&str]) -> Process {
    let python = root().join(format!("target/services/{name}/bin/python"));
    assert!(
        python.exists(),
        "{name} is not installed: run `tests/services/{name} install` (tests/run does it)"
    );
    Process::start(
        world.path(),
        name,
        &root().join("tests/services").join(name),
        args,
        &[],
    )
}
