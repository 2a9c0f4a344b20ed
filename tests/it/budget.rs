//! Budgets of a policy set: held when a writ is signed, kept when it is executed, given back when
//! it definitely was not; per customer, run and usage; raised for a time; and seen only by those
//! whom they concern.

use e2e::{Actor, World, code, note, program, refund, stage};
use writ_proto::pb;

fn budget(lines: &str) -> String {
    format!("\n[[budget]]\n{lines}\n")
}

fn verdict(asked: &e2e::Asked) -> (pb::Verdict, &str) {
    let verdict = pb::Verdict::try_from(asked.decision.verdict).unwrap();
    (verdict, &asked.decision.reason_code)
}

const ALLOW: (pb::Verdict, &str) = (pb::Verdict::Allow, "");
const SPENT: (pb::Verdict, &str) = (pb::Verdict::Deny, "BUDGET_EXCEEDED");

/// policyd alone, with these budgets and no other.
fn policyd_with(budgets: &str) -> World {
    let mut world = World::prepare(&[]);
    put(&world, budgets);
    world.start_policyd();
    world
}

fn put(world: &World, budgets: &str) {
    let path = world.path("policies/acme/set.toml");
    let set = std::fs::read_to_string(&path).unwrap();
    let own = set.split("[[budget]]").next().unwrap().to_owned();
    std::fs::write(&path, own + budgets).unwrap();
}

async fn ask(agent: &mut Actor, wish: &e2e::Wish, run: &str) -> e2e::Asked {
    let request = pb::AuthorizeRequest {
        run_id: run.into(),
        ..Actor::request(wish)
    };
    agent.ask_for(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_held_captured_and_given_back() {
    let mut world = World::prepare(&[]);
    put(
        &world,
        &budget(
            "id = \"few\"\nactions = [\"refund\"]\nscope = \"tenant\"\nwindow = \"day\"\n\
             amount = \"3.00\"\ncurrency = \"EUR\"",
        ),
    );
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world.promote(&["refund"]).await;
    let mut agent = world.agent().await;
    let first = agent.ask(&refund("O-7", "2.00")).await;
    assert_eq!(verdict(&first), ALLOW);
    let over = agent.ask(&refund("O-7", "2.00")).await;
    assert_eq!(verdict(&over), SPENT);
    let message = &over.decision.message;
    assert!(
        message.contains("few") && message.contains("resets at"),
        "{message}"
    );
    assert!(
        !message.contains("2.00") && !message.contains("3.00"),
        "{message}"
    );
    assert!(over.decision.token.is_empty());
    // The first one fails for good: what it held is free again.
    world.fault("rate_limited", "1", "0");
    let failed = agent.present(&first).await.unwrap();
    assert_eq!(failed.state, i32::from(pb::ExecutionState::Failed));
    world.settle().await;
    let second = agent.ask(&refund("O-7", "2.00")).await;
    assert_eq!(verdict(&second), ALLOW);
    let done = agent.present(&second).await.unwrap();
    assert_eq!(done.state, i32::from(pb::ExecutionState::Done));
    world.settle().await;
    let rest = agent.ask(&refund("O-7", "1.00")).await;
    assert_eq!(verdict(&rest), ALLOW);
    let none = agent.ask(&refund("O-7", "0.01")).await;
    assert_eq!(verdict(&none), SPENT);
    let figures = world.budget("few", "").await.figures.unwrap();
    let found = [
        figures.limit,
        figures.spent,
        figures.held,
        figures.remaining,
    ];
    assert_eq!(found, ["3.00", "2.00", "1.00", "0.00"]);
    let records = world.records().await;
    let denied: Vec<_> = records
        .iter()
        .filter(|record| record["reasons"][0] == "BUDGET_EXCEEDED")
        .collect();
    assert_eq!(denied.len(), 2, "each refusal is a record");
    assert_eq!(
        denied[0]["budget"], "exceeded few 200/300",
        "with its figures"
    );
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_and_runs_are_counted_apart_and_what_is_unknown_is_denied() {
    let mut world = policyd_with(
        &[
            budget(
                "id = \"each\"\nactions = [\"refund\"]\nscope = \"customer\"\nwindow = \"day\"\n\
             records = 2",
            ),
            budget(
                "id = \"chain\"\nactions = [\"add_note\"]\nscope = \"run\"\nwindow = \"run\"\n\
             follow_ups = 1",
            ),
        ]
        .concat(),
    );
    world.start_sandbox();
    world.start_connectord(&program("connectord"), &[]);
    let mut agent = world.agent().await;
    // O-6 and O-7 are of one customer, O-8 of another.
    for (order, wanted) in [
        ("O-7", ALLOW),
        ("O-6", ALLOW),
        ("O-7", SPENT),
        ("O-8", ALLOW),
    ] {
        let asked = agent.ask(&refund(order, "1.00")).await;
        assert_eq!(verdict(&asked), wanted, "{order}");
    }
    for (run, wanted) in [("a", ALLOW), ("a", ALLOW), ("a", SPENT), ("b", ALLOW)] {
        let asked = ask(&mut agent, &note("D-104"), run).await;
        assert_eq!(verdict(&asked), wanted, "{run}");
    }
    let without = ask(&mut agent, &note("D-104"), "").await;
    assert_eq!(verdict(&without), (pb::Verdict::Deny, "RUN_REQUIRED"));
    let bad = pb::AuthorizeRequest {
        run_id: "a b".into(),
        ..Actor::request(&note("D-104"))
    };
    let refused = agent.authorize.authorize(bad).await.unwrap_err();
    assert_eq!(code(&refused), "REQUEST_MALFORMED");
    // The customers that others work for are not told to an agent; its own runs are.
    let seen = world.budgets("agent-acme-triage").await;
    let figures: Vec<_> = seen
        .iter()
        .map(|one| (one.subject.as_str(), one.figures.is_some()))
        .collect();
    assert_eq!(
        figures,
        [("", false), ("run:triage:a", true), ("run:triage:b", true)]
    );
    let others = world.budgets("agent-acme-seller").await;
    assert!(
        others.iter().all(|one| !one.subject.contains("triage")),
        "{others:?}"
    );
    let all = world.budgets("operator-acme-ops").await;
    let subjects: Vec<_> = all.iter().map(|one| one.subject.as_str()).collect();
    let wanted = [
        "customer:C-1",
        "customer:C-2",
        "run:triage:a",
        "run:triage:b",
    ];
    assert_eq!(subjects, wanted);
    assert!(all.iter().all(|one| one.figures.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_a_known_customer_is_denied() {
    let world = policyd_with(&budget(
        "id = \"each\"\nactions = [\"set_stage\"]\nscope = \"customer\"\nwindow = \"day\"\n\
         records = 2",
    ));
    let mut agent = world.agent().await;
    let known = agent.ask(&stage("D-104", "qualified")).await;
    assert_eq!(verdict(&known), ALLOW);
    let unknown = agent.ask(&stage("D-999", "qualified")).await;
    assert_eq!(verdict(&unknown), (pb::Verdict::Deny, "CUSTOMER_UNKNOWN"));
}

fn raise(id: &str, amount: &str, until: i64, reason: &str) -> pb::RaiseBudgetRequest {
    pb::RaiseBudgetRequest {
        name: format!("tenants/acme/budgets/{id}"),
        request_id: e2e::request_id(),
        subject: String::new(),
        amount: amount.into(),
        until: Some(prost_types::Timestamp {
            seconds: until,
            nanos: 0,
        }),
        reason: reason.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_raises_a_budget_for_a_time_once_and_within_its_max() {
    let world = policyd_with(&budget(
        "id = \"notes\"\nactions = [\"add_note\"]\nscope = \"agent\"\nwindow = \"day\"\n\
         calls = 1\nmax = 3",
    ));
    let mut agent = world.agent().await;
    assert_eq!(verdict(&agent.ask(&note("D-104")).await), ALLOW);
    assert_eq!(verdict(&agent.ask(&note("D-104")).await), SPENT);
    let mut operator = world.operator().await;
    let hour = e2e::now_seconds() + 3_600;
    let one = raise("notes", "1", hour, "a campaign");
    let refusals = [
        (raise("notes", "3", hour, "too much"), "RAISE_REFUSED"),
        (
            raise("notes", "1", hour + 8 * 86_400, "too long"),
            "RAISE_REFUSED",
        ),
        (raise("notes", "1", 1, "over"), "RAISE_REFUSED"),
        (raise("notes", "0", hour, "nothing"), "REQUEST_MALFORMED"),
        (raise("notes", "-1", hour, "less"), "REQUEST_MALFORMED"),
        (raise("notes", "1.5", hour, "half"), "REQUEST_MALFORMED"),
        (raise("notes", "1", hour, " "), "REQUEST_MALFORMED"),
        (raise("other", "1", hour, "none"), "NOT_FOUND"),
        (
            pb::RaiseBudgetRequest {
                subject: "run:r-1".into(),
                ..raise("notes", "1", hour, "a run of a budget of agents")
            },
            "REQUEST_MALFORMED",
        ),
    ];
    for (request, wanted) in refusals {
        let refused = operator.budgets.raise_budget(request.clone()).await;
        assert_eq!(code(&refused.unwrap_err()), wanted, "{request:?}");
    }
    for _ in 0..2 {
        let raised = operator.budgets.raise_budget(one.clone()).await.unwrap();
        let figures = raised.into_inner().budget.unwrap().figures.unwrap();
        assert_eq!(
            (figures.limit.as_str(), figures.raised.as_str()),
            ("2", "1")
        );
    }
    assert_eq!(verdict(&agent.ask(&note("D-104")).await), ALLOW);
    assert_eq!(verdict(&agent.ask(&note("D-104")).await), SPENT);
    let second = operator
        .budgets
        .raise_budget(raise("notes", "2", hour, "more"))
        .await;
    assert_eq!(code(&second.unwrap_err()), "RAISE_REFUSED");
    let by_agent = agent.budgets.raise_budget(one).await.unwrap_err();
    assert_eq!(code(&by_agent), "OPERATOR_REQUIRED");
    let records = world.records().await;
    let raised: Vec<_> = records
        .iter()
        .filter(|record| record["budget"] == "raised notes -/1")
        .collect();
    assert_eq!(raised.len(), 1, "raised once, by a record");
    let committed = raised[0]["committed"].as_array().unwrap();
    for name in ["amount", "by", "note", "until"] {
        assert!(committed.iter().any(|one| one == name), "{committed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_sees_its_own_figures_and_only_that_others_are_limited() {
    let world = policyd_with(
        &[
            budget("id = \"own\"\nscope = \"agent\"\nwindow = \"day\"\ncalls = 9"),
            budget("id = \"all\"\nscope = \"tenant\"\nwindow = \"hour\"\ncalls = 9"),
        ]
        .concat(),
    );
    let mut seller = world.actor("agent-acme-seller").await;
    assert_eq!(verdict(&seller.ask(&note("D-104")).await), ALLOW);
    let mut agent = world.agent().await;
    assert_eq!(verdict(&agent.ask(&note("D-104")).await), ALLOW);
    let seen = world.budgets("agent-acme-triage").await;
    let found: Vec<_> = seen
        .iter()
        .map(|one| {
            let spent = one.figures.as_ref().map(|figures| figures.spent.as_str());
            (one.subject.as_str(), spent)
        })
        .collect();
    assert_eq!(found, [("agent:triage", Some("1")), ("tenant", None)]);
    assert!(seen.iter().all(|one| one.reset_time.is_some()));
    let get = |name: &str, subject: &str| pb::GetBudgetRequest {
        name: name.into(),
        subject: subject.into(),
    };
    for (name, subject) in [
        ("tenants/acme/budgets/own", "agent:seller"),
        ("tenants/acme/budgets/none", ""),
        ("tenants/globex/budgets/own", ""),
        ("own", ""),
    ] {
        let refused = agent
            .budgets
            .get_budget(get(name, subject))
            .await
            .unwrap_err();
        assert_eq!(code(&refused), "NOT_FOUND", "{name} {subject}");
    }
    let own = agent
        .budgets
        .get_budget(get("tenants/acme/budgets/own", ""))
        .await
        .unwrap();
    assert_eq!(own.into_inner().budget.unwrap().subject, "agent:triage");
    let flags = ["--cert", "certs/operator-acme-ops.pem", "--addr"];
    let addr = format!("https://127.0.0.1:{}", world.policyd_port);
    let cli = |args: &[&str]| {
        let output = world.run("policyd", &[args, &flags, &[&addr]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (exit, text) = cli(&["budget", "ls", "-o", "jsonl"]);
    assert_eq!(exit, 0);
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["figures"]["remaining"], "7");
    let by = [
        "--by",
        "2",
        "--until",
        "1h",
        "--reason",
        "x",
        "--subject",
        "agent:seller",
    ];
    let (exit, text) = cli(&[&["budget", "raise", "own"], by.as_slice()].concat());
    assert_eq!(exit, 0);
    assert!(
        text.contains("limit 11") && text.contains("raised by 2"),
        "{text}"
    );
    let (exit, text) = cli(&["budget", "show", "own", "--subject", "agent:triage"]);
    assert_eq!(exit, 0);
    assert!(
        text.contains("limit 9") && text.contains("left 8"),
        "{text}"
    );
}
