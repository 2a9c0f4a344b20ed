//! Usage of language models: who may report it, that it only grows, and that what nobody reports
//! counts as spent.

use std::time::Instant;

use e2e::{Actor, PATIENCE, World, code, note};
use writ_proto::pb;

const BUDGETS: &str = "[[budget]]\nid = \"tokens\"\nscope = \"agent\"\nwindow = \"day\"\n\
                       tokens = 1000\nreport_within = \"2s\"\n\
                       [[budget]]\nid = \"usd\"\nscope = \"run\"\nwindow = \"run\"\nusd = \"0.50\"\n";

fn world(reporters: &str) -> World {
    let mut world = World::prepare(&[]);
    let path = world.path("policies/acme/set.toml");
    let set = std::fs::read_to_string(&path).unwrap();
    let own = set.split("[[budget]]").next().unwrap().to_owned();
    std::fs::write(&path, own + BUDGETS).unwrap();
    let path = world.path("policyd.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        config.replace("reporters = []", &format!("reporters = [{reporters}]")),
    )
    .unwrap();
    world.start_policyd();
    world
}

fn report(agent: &str, run: &str, tokens: u64, usd_micros: u64) -> pb::ReportUsageRequest {
    pb::ReportUsageRequest {
        parent: "tenants/acme".into(),
        request_id: e2e::request_id(),
        agent: agent.into(),
        run_id: run.into(),
        tokens,
        usd_micros,
    }
}

async fn ask(agent: &mut Actor, run: &str) -> String {
    let request = pb::AuthorizeRequest {
        run_id: run.into(),
        ..Actor::request(&note("D-104"))
    };
    agent.ask_for(request).await.decision.reason_code
}

/// Asks until the answer is this one.
async fn until(agent: &mut Actor, run: &str, wanted: &str) {
    let started = Instant::now();
    loop {
        let found = ask(agent, run).await;
        if found == wanted {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{found}, not {wanted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reporter_fills_the_budgets_of_any_agent_and_an_id_counts_once() {
    // The certificate of connectord stands for a gateway's.
    let world = world("\"connectord/main\"");
    let mut agent = world.agent().await;
    let mut gateway = world.actor("connectord").await;
    let first = report("triage", "a", 400, 200_000);
    for repeated in [false, true] {
        let answer = gateway.budgets.report_usage(first.clone()).await.unwrap();
        assert_eq!(answer.into_inner().repeated_report, repeated);
    }
    assert_eq!(ask(&mut agent, "a").await, "");
    gateway
        .budgets
        .report_usage(report("triage", "a", 0, 300_000))
        .await
        .unwrap();
    assert_eq!(
        ask(&mut agent, "a").await,
        "BUDGET_EXCEEDED",
        "the run has spent its dollars"
    );
    assert_eq!(ask(&mut agent, "b").await, "", "another run has not");
    gateway
        .budgets
        .report_usage(report("triage", "", 600, 0))
        .await
        .unwrap();
    assert_eq!(ask(&mut agent, "b").await, "BUDGET_EXCEEDED");
    let figures = world.budget("usd", "run:triage:a").await.figures.unwrap();
    assert_eq!(
        (figures.spent.as_str(), figures.limit.as_str()),
        ("0.500000", "0.500000")
    );
    let table = [
        (report("", "", 1, 0), "REQUEST_MALFORMED"),
        (report("triage", "a b", 1, 0), "REQUEST_MALFORMED"),
        (report("triage", "", u64::MAX, 0), "REQUEST_MALFORMED"),
    ];
    for (request, wanted) in table {
        let refused = gateway.budgets.report_usage(request).await.unwrap_err();
        assert_eq!(code(&refused), wanted);
    }
    // The ids of one reporter say nothing of those of another.
    let own = report("", "c", 1, 0);
    let same = pb::ReportUsageRequest {
        agent: "triage".into(),
        ..own.clone()
    };
    for (reporter, request) in [(&mut agent, own), (&mut gateway, same)] {
        let answer = reporter.budgets.report_usage(request).await.unwrap();
        assert!(!answer.into_inner().repeated_report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_is_not_reported_in_time_counts_as_spent_until_a_reporter_speaks() {
    let world = world("\"connectord/main\"");
    let mut agent = world.agent().await;
    assert_eq!(ask(&mut agent, "a").await, "");
    until(&mut agent, "a", "USAGE_UNKNOWN").await;
    // Its own word raises what is used, and does not say that this is all.
    agent
        .budgets
        .report_usage(report("", "a", 10, 0))
        .await
        .unwrap();
    assert_eq!(ask(&mut agent, "a").await, "USAGE_UNKNOWN");
    let figures = world
        .budget("tokens", "agent:triage")
        .await
        .figures
        .unwrap();
    assert_eq!(figures.spent, "10");
    let mut gateway = world.actor("connectord").await;
    gateway
        .budgets
        .report_usage(report("triage", "a", 0, 0))
        .await
        .unwrap();
    assert_eq!(ask(&mut agent, "a").await, "");
    for (request, wanted) in [
        (report("seller", "", 1, 0), "REPORTER_REQUIRED"),
        (
            pb::ReportUsageRequest {
                parent: "tenants/globex".into(),
                ..report("", "", 1, 0)
            },
            "NOT_FOUND",
        ),
    ] {
        let refused = agent.budgets.report_usage(request).await.unwrap_err();
        assert_eq!(code(&refused), wanted);
    }
    let mut operator = world.operator().await;
    let refused = operator
        .budgets
        .report_usage(report("triage", "", 1, 0))
        .await;
    assert_eq!(code(&refused.unwrap_err()), "REPORTER_REQUIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reporters_an_agents_own_report_counts_as_complete() {
    let world = world("");
    let mut agent = world.agent().await;
    for (tokens, usd_micros) in [(100_000_001, 0), (0, 10_000_000_001)] {
        let huge = report("", "a", tokens, usd_micros);
        let refused = agent.budgets.report_usage(huge).await.unwrap_err();
        assert_eq!(code(&refused), "REQUEST_MALFORMED");
    }
    assert_eq!(ask(&mut agent, "a").await, "");
    until(&mut agent, "a", "USAGE_UNKNOWN").await;
    let mut gateway = world.actor("connectord").await;
    let refused = gateway
        .budgets
        .report_usage(report("triage", "", 1, 0))
        .await;
    assert_eq!(
        code(&refused.unwrap_err()),
        "REPORTER_REQUIRED",
        "no service is named"
    );
    let flags = ["--cert", "certs/agent-acme-triage.pem", "--addr"];
    let addr = format!("https://127.0.0.1:{}", world.policyd_port);
    let report = [
        "usage", "report", "--run", "a", "--tokens", "990", "--usd", "0.1",
    ];
    let output = world.run("policyd", &[report.as_slice(), &flags, &[&addr]].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(ask(&mut agent, "a").await, "");
    agent
        .budgets
        .report_usage(self::report("", "a", 10, 0))
        .await
        .unwrap();
    let asked = [
        "authorize",
        "add_note",
        "text=x",
        "--target",
        "deal/D-104",
        "--run",
        "a",
    ];
    let asked = [asked.as_slice(), &["--reason", "x"], &flags, &[&addr]].concat();
    let output = world.run("policyd", &asked);
    assert_eq!(
        output.status.code(),
        Some(14),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
