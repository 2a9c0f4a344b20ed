//! Write safety at the hands: each rule of a card refuses with its own code, names what was found,
//! and nothing is written.

use e2e::{Actor, Wish, World, stage};
use writ_proto::pb;

/// A wish for one of the cards that come with the sample policies.
fn wish(action: &str, target: (&str, &str), args: &str) -> Wish {
    Wish {
        action: action.into(),
        target: (target.0.into(), target.1.into()),
        args: args.into(),
        ..stage("", "")
    }
}

fn hold(order: &str, number: &str, email: &str) -> Wish {
    let args =
        format!(r#"{{"order_number":"{number}","email":"{email}","hold":"asked by buyer"}}"#);
    wish("hold_order", ("order", order), &args)
}

/// Asks and executes in a run.
async fn run(agent: &mut Actor, wish: &Wish, run: &str) -> Result<pb::Execution, String> {
    let request = pb::AuthorizeRequest {
        run_id: run.into(),
        ..Actor::request(wish)
    };
    let asked = agent.ask_for(request).await;
    let mut request = Actor::execute_request(&asked);
    run.clone_into(&mut request.run_id);
    let answer = agent.send(request).await;
    answer.map(|answer| answer.execution.unwrap())
}

const PHONE: &str = r#"{"phone":"+31 6 1234"}"#;

/// What no card allows on the record that stands there: code and a part of what is said.
fn refused() -> Vec<(Wish, &'static str, &'static str)> {
    vec![
        (
            wish("fill_phone", ("contact", "C-3"), PHONE),
            "FIELD_NOT_EMPTY",
            "holds \"+31 6 0000\"",
        ),
        (
            wish(
                "tidy_contact",
                ("contact", "C-1"),
                r#"{"street":"21 Main Street"}"#,
            ),
            "NOT_MECHANICAL",
            "holds \"12 Main st\"",
        ),
        // Both orders carry the number and the address.
        (
            hold("O-11", "2026-0011", "ada@example.com"),
            "TARGET_AMBIGUOUS",
            "together 2, must be exactly 1",
        ),
        (
            hold("O-7", "2026-0007", "nobody@example.com"),
            "TARGET_AMBIGUOUS",
            "together 0",
        ),
        (
            hold("O-9", "2026-0007", "ada@example.com"),
            "TARGET_MISMATCH",
            "not the target",
        ),
        (hold("O-10", "", "ben@example.com"), "", ""),
        (
            stage("D-88", "new"),
            "STATE_NOT_ALLOWED",
            "is \"won\", must be one of",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_record_does_not_allow_is_refused_with_its_own_code() {
    let world = World::start();
    world
        .promote(&[
            "fill_phone",
            "tidy_contact",
            "hold_order",
            "set_stage",
            "log_deal",
        ])
        .await;
    let mut agent = world.agent().await;
    for (wish, code, found) in refused() {
        let asked = agent.ask(&wish).await;
        if code.is_empty() {
            assert_eq!(
                asked.decision.reason_code, "INVALID_ARGUMENTS",
                "a blank signal says nothing"
            );
            continue;
        }
        let failed = agent.present(&asked).await.unwrap();
        assert_eq!(
            failed.reason_code, code,
            "{}: {}",
            wish.action, failed.message
        );
        assert!(failed.message.contains(found), "{code}: {}", failed.message);
        assert!(!failed.wrote && failed.state == i32::from(pb::ExecutionState::Failed));
    }
    assert!(world.effects().await.is_empty(), "nothing was written");

    // What they allow is written, and only that.
    for (wish, field, after) in [
        (
            wish("fill_phone", ("contact", "C-2"), PHONE),
            "phone",
            "\"+31 6 1234\"",
        ),
        (
            wish(
                "tidy_contact",
                ("contact", "C-1"),
                r#"{"street":"12 Main Street"}"#,
            ),
            "street",
            "\"12 Main Street\"",
        ),
        (
            hold("O-7", "2026-0007", "ada@example.com"),
            "hold",
            "\"asked by buyer\"",
        ),
        (
            wish("log_deal", ("deal", "D-104"), r#"{"log":"one"}"#),
            "log",
            "\"one\"",
        ),
        (
            wish("log_deal", ("deal", "D-104"), r#"{"log":"two"}"#),
            "log",
            "\"one\\ntwo\"",
        ),
    ] {
        let asked = agent.ask(&wish).await;
        let done = agent.present(&asked).await.unwrap();
        assert!(
            done.wrote,
            "{}: {} {}",
            wish.action, done.reason_code, done.message
        );
        assert_eq!(done.changes.len(), 1, "signals are not written");
        assert_eq!(done.changes[0].field, field);
        assert_eq!(done.changes[0].after_json.as_deref(), Some(after));
    }
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ceilings_hold_by_run_and_customer_and_a_run_must_be_named() {
    let world = World::start();
    world.promote(&["fill_phone", "hold_order"]).await;
    let mut agent = world.agent().await;
    let fill = wish("fill_phone", ("contact", "C-1"), r#"{"phone":"1"}"#);
    let nameless = run(&mut agent, &fill, "").await.unwrap_err();
    assert_eq!(nameless, "RUN_REQUIRED");
    assert!(run(&mut agent, &fill, "r-1").await.unwrap().wrote);
    // A writ of this run cannot be taken into another one.
    let asked = agent
        .ask_for(pb::AuthorizeRequest {
            run_id: "r-1".into(),
            ..Actor::request(&fill)
        })
        .await;
    for other in ["", "r-2"] {
        let mut request = Actor::execute_request(&asked);
        other.clone_into(&mut request.run_id);
        let refused = agent.send(request).await.unwrap_err();
        assert_eq!(refused, "TOKEN_SCOPE_MISMATCH", "{other}");
    }
    // The card allows 20 records a run; the field is full by now, which counts all the same.
    for count in 2..=21 {
        match run(&mut agent, &fill, "r-1").await {
            Ok(failed) => assert_eq!(
                (failed.reason_code.as_str(), count < 21),
                ("FIELD_NOT_EMPTY", true)
            ),
            Err(code) => assert_eq!((code.as_str(), count), ("BUDGET_EXCEEDED", 21)),
        }
    }
    let fill = wish("fill_phone", ("contact", "C-2"), r#"{"phone":"2"}"#);
    let done = run(&mut agent, &fill, "r-2").await.unwrap();
    assert!(done.wrote, "another run goes on");
    // The ceiling halted the run, whatever it wants to do next.
    let mut operator = world.operator().await;
    let halts = operator.halt.list_halts(pb::ListHaltsRequest {}).await;
    let halt = halts.unwrap().into_inner().halts.remove(0);
    assert_eq!(
        (halt.scope.as_str(), halt.by.as_str()),
        ("tenant:acme/run:r-1", "caps")
    );
    assert!(
        halt.reason
            .contains("last call: fill_phone by triage, on contact C-1"),
        "{halt:?}"
    );
    let started = std::time::Instant::now();
    let fired = loop {
        let found = super::notify::notices(&world).await;
        if let Some(fired) = found.into_iter().find(|one| one.kind == "limit_fired") {
            break fired;
        }
        assert!(started.elapsed() < e2e::PATIENCE, "nobody was told");
    };
    let told = format!("{fired:?}");
    assert!(told.contains("last call: fill_phone by triage\""), "{told}");
    assert!(
        told.contains("the ceiling of records a run") && !told.contains("C-1"),
        "{told}"
    );

    // Five a day for one customer: O-8 and O-9 are of C-2, O-7 is of C-1.
    for count in 1..=6 {
        let asked = agent
            .ask(&hold("O-8", "2026-0007", "ben@example.com"))
            .await;
        let done = agent.present(&asked).await.unwrap();
        assert_eq!(
            done.wrote,
            count <= 5,
            "{count}: {} {}",
            done.reason_code,
            done.message
        );
        if count > 5 {
            assert_eq!(done.reason_code, "BUDGET_EXCEEDED");
        }
    }
    let asked = agent
        .ask(&hold("O-7", "2026-0007", "ada@example.com"))
        .await;
    assert!(
        agent.present(&asked).await.unwrap().wrote,
        "another customer goes on"
    );
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_hours_in_a_spike_and_on_a_record_that_is_not_there_nothing_is_done() {
    let world = World::prepare(&[]);
    let path = world.path("policies/acme/actions/log_deal.toml");
    let card = std::fs::read_to_string(&path).unwrap();
    // A day of the week that is neither today nor tomorrow, in any zone.
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let today = (e2e::now_seconds() / 86_400 + 3).rem_euclid(7);
    let closed = days[usize::try_from((today + 3) % 7).unwrap()];
    let hours = format!(
        "hours = {{ days = \"{closed}\", from = \"08:00\", to = \"18:00\", zone = \"UTC\" }}\n[caps]"
    );
    std::fs::write(&path, card.replace("[caps]", &hours)).unwrap();
    let world = super::halt::up(world);
    world.promote(&["set_stage", "tidy_contact"]).await;
    let mut agent = world.agent().await;
    let log = wish("log_deal", ("deal", "D-104"), r#"{"log":"one"}"#);
    let asked = agent.ask(&log).await;
    assert_eq!(asked.decision.reason_code, "OUTSIDE_HOURS");
    for (deal, code) in [("D-999", "TARGET_NOT_FOUND"), ("D-105", "SYSTEM_REFUSED")] {
        let asked = agent.ask(&stage(deal, "proposal")).await;
        let failed = agent.present(&asked).await.unwrap();
        assert_eq!(failed.reason_code, code, "{deal}: {}", failed.message);
    }
    // Twenty on one day, whichever it is where the tenant is, and next to none on those before.
    let url = format!("sqlite://{}", world.path("connectord.db").display());
    let journal = sqlx::SqlitePool::connect(&url).await.unwrap();
    for day in ["-1 day", "0 days", "1 day"] {
        let sql = "INSERT INTO tally (tenant, action, bucket, used) \
                   VALUES ('acme', 'tidy_contact', date('now', ?), 20)";
        let counted = sqlx::query(sql).bind(day).execute(&journal).await;
        assert_eq!(counted.unwrap().rows_affected(), 1);
    }
    let street = r#"{"street":"12 Main Street"}"#;
    let tidy = wish("tidy_contact", ("contact", "C-1"), street);
    let refused = run(&mut agent, &tidy, "r-1").await.unwrap_err();
    assert_eq!(refused, "BUDGET_EXCEEDED");
    assert!(world.effects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_daemon_is_not_taken_for_the_one_that_is_meant() {
    let world = World::start();
    let cert = "certs/operator-acme-ops.pem";
    for (program, port, own, meant) in [
        (
            "policyd",
            world.connectord_port,
            "service/connectord/main",
            "service/policyd",
        ),
        (
            "connectord",
            world.policyd_port,
            "service/policyd",
            "service/connectord",
        ),
    ] {
        // By an address that no certificate names, too.
        let addr = format!("https://127.0.0.2:{port}");
        let other = format!("https://localhost:{port}");
        let ask = |addr: &str| {
            let output = world.run(program, &["health", "--addr", addr, "--cert", cert]);
            String::from_utf8(output.stderr).unwrap()
        };
        let said = ask(&other);
        assert!(
            said.contains("PEER_UNREACHABLE") && said.contains(own),
            "{said}"
        );
        assert!(said.contains(&format!("{meant}`")), "{said}");
        assert!(ask(&addr).contains("PEER_UNREACHABLE"));
    }
    let plain = format!("http://localhost:{}", world.policyd_port);
    let output = world.run("policyd", &["health", "--addr", &plain, "--cert", cert]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is not https://HOST:PORT"), "{said}");
}
