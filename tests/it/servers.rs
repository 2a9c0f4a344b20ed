//! Three real servers that Writ has no line of Rust for, each behind its system file alone: Kinto
//! (documents), localstripe (it keeps no promise) and a table of PostgreSQL. What happened is read
//! from the server itself.

use e2e::{Actor, Process, Wish, World, free_port, program, root, stage};
use reqwest::{Client, Method};
use serde_json::{Value as Json, json};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

use super::rollout::present;

mod table;

const CARD: &str = r#"
sentence = "Test."
owner = "x@acme.example"
risk = "low"
tier = "reversible"
undo = "puts back"
rollback_minutes = 1
approver = "role:x"
rollout = "live"
rollout_max = "live"
rollback_window = "24h"
"#;

/// A world with one more connection, some cards for it, and a rule that allows each.
fn world(
    connection: &'static str,
    system: &'static str,
    base: String,
    secret: &str,
    cards: &[(&str, &str)],
) -> World {
    let mut world = World::prepare(&[]);
    let file = root().join(format!("tests/systems/{system}.toml"));
    std::fs::copy(file, world.path(&format!("systems/{system}.toml"))).unwrap();
    let mut rules = String::new();
    for (name, rest) in cards {
        let text = format!(
            "name = \"{name}\"\nconnection = \"{connection}\"\n{}{rest}",
            CARD.trim_start()
        );
        std::fs::write(
            world.path(&format!("policies/acme/actions/{name}.toml")),
            text,
        )
        .unwrap();
        rules.push_str(&format!(
            "@id(\"{name}\")\n@reason(\"t\")\n@owner(\"x@acme.example\")\npermit (principal in Role::\"support-agent\", \
             action == Action::\"{name}\", resource) when {{ resource.tenant == principal.tenant }};\n"
        ));
    }
    std::fs::write(world.path("policies/acme/servers.cedar"), rules).unwrap();
    std::fs::write(world.path("keys/other.secret"), secret).unwrap();
    let add = ["creds", "add", connection, "--file", "keys/other.secret"];
    assert!(world.run("connectord", &add).status.success());
    world.connections.push((connection, system, base));
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world
}

fn wish(connection: &str, action: &str, target: (&str, &str), args: Json) -> Wish {
    Wish {
        connection: connection.into(),
        action: action.into(),
        target: (target.0.into(), target.1.into()),
        args: args.to_string(),
        ..stage("", "")
    }
}

async fn undone(world: &World, agent: &mut Actor, execution: &pb::Execution) -> pb::UndoItem {
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

#[tokio::test(flavor = "multi_thread")]
async fn kinto_documents_change_by_version_and_come_back() {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let dir = folder.path().join("kinto").display().to_string();
    let _kinto = served(&folder, "kinto", &["serve", &dir, &port.to_string()]);
    let cards = [
        (
            "doc_fields",
            "verb = \"update_fields\"\ntarget = \"doc\"\n[caps]\nrecords_per_day = 50\n[args.status]\ntype = \"choice\"\nvalues = [\"open\", \"closed\"]\noptional = true\n[args.amount]\ntype = \"decimal\"\ndecimals = 2\nmin = \"0\"\nmax = \"1000\"\noptional = true\n",
        ),
        (
            "doc_note",
            "verb = \"append_note\"\ntarget = \"doc\"\n[caps]\nrecords_per_day = 50\n[args.text]\ntype = \"text\"\nmax_chars = 200\nwrite = \"append\"\n",
        ),
    ];
    let world = world(
        "docs/main",
        "kinto",
        format!("http://127.0.0.1:{port}"),
        "writ:writ-of-a-test",
        &cards,
    );
    let mut agent = world.agent().await;
    let call = |method: Method, path: &str| {
        let url = format!("http://127.0.0.1:{port}/v1/buckets/b/collections/c/records{path}");
        Client::new()
            .request(method, url)
            .basic_auth("writ", Some("writ-of-a-test"))
    };
    let person = async |data: Json| {
        let sent = call(Method::PATCH, "/t-1")
            .json(&json!({ "data": data }))
            .send()
            .await;
        assert!(sent.unwrap().status().is_success());
    };
    let shown = async || -> Json {
        call(Method::GET, "/t-1")
            .send()
            .await
            .unwrap()
            .json::<Json>()
            .await
            .unwrap()["data"]
            .clone()
    };
    call(Method::PUT, "/t-1")
        .json(&json!({"data": {"title": "one", "status": "open"}}))
        .send()
        .await
        .unwrap();

    let close = |args: Json| wish("docs/main", "doc_fields", ("doc", "t-1"), args);
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..close(json!({"status": "closed"}))
    };
    assert_eq!(
        present(&mut agent, &dry).await.unwrap().state,
        i32::from(State::Done)
    );
    assert_eq!(shown().await["status"], "open");
    let done = present(
        &mut agent,
        &close(json!({"status": "closed", "amount": 12.5})),
    )
    .await
    .unwrap();
    assert!(done.wrote && !done.seen_other, "{done:?}");
    assert_eq!(
        (&shown().await["status"], &shown().await["amount"]),
        (&json!("closed"), &json!(12.5))
    );
    let back = undone(&world, &mut agent, &done).await;
    assert!(
        back.undone,
        "a field that was not there is empty again: {back:?}"
    );
    assert_eq!(shown().await["status"], "open");

    let done = present(&mut agent, &close(json!({"status": "closed"})))
        .await
        .unwrap();
    person(json!({"status": "open"})).await;
    person(json!({"status": "closed", "title": "two"})).await;
    let kept = undone(&world, &mut agent, &done).await;
    assert!(
        kept.undone,
        "the value stands as we left it, edited elsewhere: {kept:?}"
    );
    let done = present(&mut agent, &close(json!({"status": "closed"})))
        .await
        .unwrap();
    person(json!({"status": "open"})).await;
    let kept = undone(&world, &mut agent, &done).await;
    assert_eq!(
        (kept.undone, kept.reason_code.as_str()),
        (false, "PRECONDITION_FAILED"),
        "{kept:?}"
    );

    let stale = present(
        &mut agent,
        &wish(
            "docs/main",
            "doc_fields",
            ("doc", "none"),
            json!({"status": "open"}),
        ),
    )
    .await
    .unwrap();
    assert_eq!(stale.reason_code, "TARGET_NOT_FOUND");
    let note = present(
        &mut agent,
        &wish(
            "docs/main",
            "doc_note",
            ("doc", "t-1"),
            json!({"text": "called"}),
        ),
    )
    .await
    .unwrap();
    assert!(
        note.wrote && note.created_id == note.decision_id,
        "{note:?}"
    );
    for id in ["..", ".", "%2e%2e", "a/b", "a b", ""] {
        let odd = present(
            &mut agent,
            &wish(
                "docs/main",
                "doc_fields",
                ("doc", id),
                json!({"status": "open"}),
            ),
        )
        .await;
        assert!(odd.is_err() || !odd.unwrap().wrote, "{id}");
    }
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn localstripe_pays_back_no_more_than_is_left_and_in_the_right_unit() {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let _stripe = served(&folder, "localstripe", &["serve", &port.to_string()]);
    let cards = [
        (
            "pay_back",
            "verb = \"refund\"\ntarget = \"charge\"\n[caps]\nrecords_per_day = 50\n[args.amount]\ntype = \"money\"\ncurrencies = [\"EUR\"]\nmin = \"0.01\"\nmax = \"1000.00\"\n",
        ),
        (
            "describe",
            "verb = \"update_fields\"\ntarget = \"customer\"\n[caps]\nrecords_per_day = 50\n[args.description]\ntype = \"text\"\nmax_chars = 100\n",
        ),
    ];
    let world = world(
        "pay/main",
        "localstripe",
        format!("http://127.0.0.1:{port}"),
        "sk_test_12345",
        &cards,
    );
    let mut agent = world.agent().await;
    let post = async |path: &str, form: &[(&str, &str)]| -> Json {
        let url = format!("http://127.0.0.1:{port}/v1/{path}");
        let sent = Client::new()
            .post(url)
            .bearer_auth("sk_test_12345")
            .form(form)
            .send()
            .await
            .unwrap();
        sent.json().await.unwrap()
    };
    let get = async |path: &str| -> Json {
        let url = format!("http://127.0.0.1:{port}/v1/{path}");
        Client::new()
            .get(url)
            .bearer_auth("sk_test_12345")
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let charge = post(
        "charges",
        &[
            ("amount", "5000"),
            ("currency", "eur"),
            ("source", "pm_card_visa"),
        ],
    )
    .await;
    let id = charge["id"].as_str().unwrap().to_owned();
    let pay = |value: &str| {
        wish(
            "pay/main",
            "pay_back",
            ("charge", &id),
            json!({"amount": {"currency": "EUR", "value": serde_json::from_str::<Json>(value).unwrap()}}),
        )
    };
    let first = present(&mut agent, &pay("1.50")).await.unwrap();
    assert!(
        first.wrote && first.created_id.starts_with("re_"),
        "{first:?}"
    );
    assert_eq!(
        get(&format!("charges/{id}")).await["amount_refunded"],
        150,
        "1.50 EUR are 150 cents"
    );
    for (value, left) in [
        ("40.00", true),
        ("10.00", false),
        ("8.50", true),
        ("0.01", false),
    ] {
        let paid = present(&mut agent, &pay(value)).await.unwrap();
        assert_eq!(paid.wrote, left, "{value}: {paid:?}");
        if !left {
            assert_eq!(paid.reason_code, "BUDGET_EXCEEDED", "{paid:?}");
        }
    }
    assert_eq!(get(&format!("charges/{id}")).await["amount_refunded"], 5000);
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..pay("0.01")
    };
    assert_eq!(
        present(&mut agent, &dry).await.unwrap().reason_code,
        "BUDGET_EXCEEDED",
        "a dry run is held to it too"
    );

    let customer = post(
        "customers",
        &[("email", "a@example.com"), ("description", "old")],
    )
    .await;
    let who = customer["id"].as_str().unwrap().to_owned();
    let describe = wish(
        "pay/main",
        "describe",
        ("customer", &who),
        json!({"description": "new"}),
    );
    let done = present(&mut agent, &describe).await.unwrap();
    assert!(done.wrote, "{done:?}");
    assert_eq!(get(&format!("customers/{who}")).await["description"], "new");
    let back = undone(&world, &mut agent, &done).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(get(&format!("customers/{who}")).await["description"], "old");
    let done = present(&mut agent, &describe).await.unwrap();
    post(
        &format!("customers/{who}"),
        &[("description", "by a person")],
    )
    .await;
    let kept = undone(&world, &mut agent, &done).await;
    assert_eq!(
        (kept.undone, kept.reason_code.as_str()),
        (false, "PRECONDITION_FAILED")
    );
    assert_eq!(
        get(&format!("customers/{who}")).await["description"],
        "by a person"
    );
    world.settle().await;
}
