//! What an agent says of its own doubts: policies see it, and a person may be asked.

use e2e::{Actor, World, stage};
use serde_json::json;
use writ_proto::pb;

fn asked(confidence: Option<u32>, uncertain: &[&str]) -> pb::AuthorizeRequest {
    let evidence = pb::Evidence {
        r#type: "email".into(),
        id: "m-1".into(),
        quote: "please move it".into(),
        uncertain_fields: uncertain.iter().map(|name| (*name).to_owned()).collect(),
        ..pb::Evidence::default()
    };
    pb::AuthorizeRequest {
        confidence_percent: confidence,
        evidence: vec![evidence],
        ..Actor::request(&stage("D-104", "qualified"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_sure_is_sent_to_a_person() {
    let world = World::start();
    let mut agent = world.agent().await;
    for (confidence, uncertain, verdict) in [
        (None, vec![], pb::Verdict::Allow),
        (Some(100), vec![], pb::Verdict::Allow),
        (Some(80), vec![], pb::Verdict::Allow),
        (Some(79), vec![], pb::Verdict::RequireApproval),
        (Some(0), vec![], pb::Verdict::RequireApproval),
        (Some(100), vec!["stage"], pb::Verdict::RequireApproval),
    ] {
        let told = agent.ask_for(asked(confidence, &uncertain)).await.decision;
        let what = format!("{confidence:?} {uncertain:?}");
        assert_eq!(told.verdict, i32::from(verdict), "{what}");
        assert_eq!(
            told.token.is_empty(),
            verdict != pb::Verdict::Allow,
            "{what}"
        );
    }
    for (confidence, uncertain) in [(Some(101), vec![]), (None, vec!["colour"])] {
        let refused = agent
            .authorize
            .authorize(asked(confidence, &uncertain))
            .await;
        assert_eq!(e2e::code(&refused.unwrap_err()), "REQUEST_MALFORMED");
    }
    // The same request cannot be made surer afterwards.
    let unsure = asked(Some(10), &[]);
    let surer = pb::AuthorizeRequest {
        confidence_percent: Some(99),
        ..unsure.clone()
    };
    let first = agent.ask_for(unsure).await.decision;
    let again = agent.ask_for(surer).await.decision;
    assert_eq!(again.name, first.name);
    assert_eq!(again.verdict, i32::from(pb::Verdict::RequireApproval));
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_and_the_trace_come_through_the_command_line_and_the_bridge() {
    let world = World::start();
    let addr = format!("https://localhost:{}", world.policyd_port);
    let told = |doubt: &[&str]| {
        let mut args = vec![
            "authorize",
            "set_stage",
            "stage=qualified",
            "--target",
            "deal/D-104",
        ];
        args.extend(["--addr", &addr, "--cert", "certs/agent-acme-triage.pem"]);
        args.extend([
            "--key",
            "keys/agent-acme-triage-tls.pem",
            "--reason",
            "asked by mail",
        ]);
        args.extend(doubt);
        world.run("policyd", &args).status.code()
    };
    assert_eq!(told(&[]), Some(0));
    assert_eq!(told(&["--confidence", "60"]), Some(11));
    assert_eq!(told(&["--uncertain", "stage"]), Some(11));
    assert_eq!(told(&["--confidence", "101"]), Some(2));

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (tools, call) in [
        (
            "generic",
            json!({"action": "set_stage", "target_id": "D-104"}),
        ),
        ("per-card", json!({"target_id": "D-104"})),
    ] {
        let mut bridge = world.mcp_of("agent-acme-triage", "2025-06-18", &["--tools", tools]);
        let name = if tools == "generic" {
            "request_authorization"
        } else {
            "set_stage"
        };
        for (doubt, verdict) in [
            (json!({}), "ALLOW"),
            (json!({"confidence": 60}), "REQUIRE_APPROVAL"),
            (
                json!({"confidence": 90, "uncertain": ["stage"]}),
                "REQUIRE_APPROVAL",
            ),
        ] {
            let mut arguments = call.clone();
            arguments["arguments"] = json!({"stage": "qualified"});
            for (name, value) in doubt.as_object().unwrap() {
                arguments[name] = value.clone();
            }
            let meta = json!({"traceparent": format!("00-{trace}-00f067aa0ba902b7-01")});
            let params = json!({"name": name, "arguments": arguments, "_meta": meta});
            let answer = bridge.request("tools/call", params);
            let told = &answer["result"]["structuredContent"];
            assert_eq!(told["verdict"], verdict, "{tools} {doubt}: {answer}");
        }
        bridge.hang_up();
    }
    let request = pb::ListRecordsRequest {
        parent: "tenants/acme".into(),
        page_size: 100,
        ..pb::ListRecordsRequest::default()
    };
    let mut operator = world.operator().await;
    let listed = operator.records.list_records(request).await.unwrap();
    let trace = hex::decode(trace).unwrap();
    let is_traced =
        |record: &&pb::Record| record.leaf.windows(trace.len()).any(|part| part == trace);
    let traced = listed.into_inner().records;
    assert_eq!(traced.iter().filter(is_traced).count(), 6);
}
