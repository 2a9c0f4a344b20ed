//! The bridge as an agent sees it: tools, verdicts, executions, undo, and what must never show.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use e2e::{McpBridge, World};
use regex::Regex;
use serde_json::{Value as Json, json};
use writ_proto::pb;

const TRIAGE: &str = "agent-acme-triage";
const OLD: &str = "2025-06-18";
const REVISIONS: [&str; 3] = [OLD, "2025-11-25", "2026-07-28"];

fn id(told: &Json, name: &str) -> String {
    told[name]
        .as_str()
        .unwrap_or_else(|| panic!("{told}"))
        .to_owned()
}

fn names(bridge: &mut McpBridge) -> Vec<String> {
    let answer = bridge.request("tools/list", json!({}));
    let tools = answer["result"]["tools"].as_array().unwrap().clone();
    let shape = Regex::new("^[a-z0-9_]{1,64}$").unwrap();
    for tool in &tools {
        assert!(shape.is_match(tool["name"].as_str().unwrap()), "{tool}");
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["type"], "object", "{tool}");
        }
        assert!(tool["description"].is_string() && tool["annotations"].is_object());
    }
    let name = |tool: &Json| tool["name"].as_str().unwrap().to_owned();
    tools.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_each_revision_lists_asks_previews_executes_and_undoes() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    for revision in REVISIONS {
        let mut bridge = world.mcp_of(TRIAGE, revision, &[]);
        let expected = [
            "list_actions",
            "request_authorization",
            "get_decision",
            "cancel_request",
            "preview_action",
            "execute_action",
            "undo_action",
        ];
        assert_eq!(names(&mut bridge), expected, "{revision}");
        let listed = bridge.ok("list_actions", json!({}));
        let actions = listed["actions"].as_array().unwrap();
        let stage = actions.iter().find(|a| a["name"] == "set_stage").unwrap();
        assert_eq!(stage["rollout"], "live");
        assert_eq!(
            stage["conditions"]["stage"],
            json!(["new", "qualified", "proposal"])
        );
        let refund = actions.iter().find(|a| a["name"] == "refund").unwrap();
        let value = &refund["arguments_schema"]["properties"]["amount"]["properties"]["value"];
        assert_eq!(value["maximum"], 1000, "{refund}");
        assert_eq!(value["minimum"].to_string(), "0.01", "exact");
        let decision = bridge.asked("D-104", "qualified", "execute");
        let by_id = json!({"decision_id": decision});
        let preview = bridge.ok("preview_action", by_id.clone());
        assert_eq!(preview["untrusted"], true);
        assert_eq!(preview["changes"][0]["after"], "qualified", "{preview}");
        let done = bridge.ok("execute_action", by_id.clone());
        assert_eq!(
            (&done["wrote"], &done["untrusted"]),
            (&json!(true), &json!(true))
        );
        let again = bridge.ok("execute_action", by_id.clone());
        assert_eq!(
            again["execution_id"], done["execution_id"],
            "one decision, one write"
        );
        assert_eq!(again["replayed"], true);
        let undo = json!({"execution_id": done["execution_id"], "reason": "a mistake"});
        assert_eq!(bridge.ok("undo_action", undo.clone())["undone"], true);
        assert_eq!(bridge.refused("undo_action", undo), "ALREADY_UNDONE");
        bridge.hang_up();
    }
    assert_eq!(world.effects().await.len(), 2 * REVISIONS.len());
    let (_, records) = world.settle().await;
    let undone = records.iter().filter(|record| record["kind"] == "undo");
    assert!(undone.clone().count() >= REVISIONS.len());
    assert!(undone.clone().all(|record| record["agent"] == "triage"));
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_a_result_a_refusal_an_error_and_nothing_is_written_by_default() {
    let world = World::start();
    let mut bridge = world.mcp_of(TRIAGE, OLD, &[]);
    let ask = json!({"action": "set_stage", "target_id": "D-104",
        "arguments": {"stage": "qualified"}});
    let dry = bridge.ok("request_authorization", ask);
    let by_id = json!({"decision_id": dry["decision_id"]});
    let planned = bridge.ok("execute_action", by_id);
    assert_eq!(
        (&planned["wrote"], &planned["mode"]),
        (&json!(false), &json!("dry_run"))
    );
    // Not promoted: the decision allows, the hands refuse.
    let live = bridge.asked("D-104", "qualified", "execute");
    let refused = bridge.tool("execute_action", json!({"decision_id": live}));
    let told = &refused["structuredContent"];
    // The words of a refusal may come from the system of record.
    assert_eq!(
        (&refused["isError"], &told["untrusted"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(told["reason_code"], "DRY_RUN_ONLY");
    let denied = bridge.ok(
        "request_authorization",
        json!({"action": "set_owner", "target_id": "D-104", "arguments": {"owner": "U-1"}}),
    );
    assert_eq!(
        (&denied["verdict"], &denied["executable"]),
        (&json!("DENY"), &json!(false))
    );
    assert_eq!(denied["reason_code"], "NOT_PERMITTED");
    let by_id = json!({"decision_id": denied["decision_id"]});
    assert_eq!(bridge.refused("execute_action", by_id), "NOT_PERMITTED");
    let unknown = json!({"action": "drop_table", "target_id": "D-104", "arguments": {}});
    assert_eq!(
        bridge.refused("request_authorization", unknown),
        "UNKNOWN_ACTION"
    );
    let nobody = json!({"decision_id": "01940000-0000-7000-8000-000000000001"});
    assert_eq!(bridge.refused("execute_action", nobody), "NOT_FOUND");
    // The same request under the same id is decided once.
    let twice = json!({"action": "add_note", "target_id": "D-104", "arguments": {"text": "x"},
        "request_id": "01940000-0000-7000-8000-00000000000a"});
    let first = bridge.ok("request_authorization", twice.clone());
    assert_eq!(bridge.ok("request_authorization", twice), first);
    assert!(world.effects().await.is_empty());
    let flags = world.mcp_flags("operator-acme-ops");
    let mut args = vec!["mcp"];
    args.extend(flags.iter().map(String::as_str));
    let output = world.run("policyd", &args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("AGENT_REQUIRED"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_is_polled_and_can_be_taken_back_for_good() {
    let world = World::start();
    let mut bridge = world.mcp_of(TRIAGE, OLD, &[]);
    let ask = json!({"action": "refund", "target_id": "O-9", "mode": "execute",
        "arguments": {"amount": {"currency": "EUR", "value": 900.00}}, "reason": "broken",
        "request_id": "01940000-0000-7000-8000-00000000000b"});
    let waits = bridge.ok("request_authorization", ask.clone());
    assert_eq!(
        (&waits["verdict"], &waits["state"]),
        (&json!("REQUIRE_APPROVAL"), &json!("PENDING"))
    );
    assert_eq!(waits["poll_after_ms"], 15_000);
    let by_id = json!({"decision_id": waits["decision_id"]});
    let look = json!({"decision_id": waits["decision_id"], "wait_ms": 700});
    assert_eq!(bridge.ok("get_decision", look)["state"], "PENDING");
    assert_eq!(
        bridge.refused("execute_action", by_id.clone()),
        "APPROVAL_REQUIRED"
    );
    let mut other = world.mcp_of("agent-acme-seller", OLD, &[]);
    assert_eq!(other.refused("cancel_request", by_id.clone()), "NOT_FOUND");
    for _ in 0..2 {
        assert_eq!(
            bridge.ok("cancel_request", by_id.clone())["state"],
            "CANCELLED"
        );
    }
    for told in [
        bridge.ok("get_decision", by_id.clone()),
        bridge.ok("request_authorization", ask),
    ] {
        assert_eq!(told["state"], "CANCELLED", "{told}");
        assert!(told.get("poll_after_ms").is_none());
    }
    let allowed = bridge.asked("D-104", "qualified", "dry_run");
    let by_id = json!({"decision_id": allowed});
    assert_eq!(bridge.refused("cancel_request", by_id), "DECISION_FINAL");
    let (_, records) = world.settle().await;
    let cancelled: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "decision_cancelled")
        .collect();
    assert_eq!(cancelled.len(), 1, "{cancelled:#?}");
    assert_eq!(cancelled[0]["record_id"], waits["decision_id"]);
    assert_eq!(
        (&cancelled[0]["agent"], &cancelled[0]["version"]),
        (&json!("triage"), &json!(2))
    );
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_of_a_card_asks_and_executes_in_one_call() {
    let world = World::start();
    let mut bridge = world.mcp_of(TRIAGE, "2026-07-28", &["--tools", "per-card"]);
    let listed = names(&mut bridge);
    assert_eq!(
        listed[..5].join(" "),
        "list_actions get_decision cancel_request execute_action undo_action"
    );
    let cards: Vec<&str> = listed[5..].iter().map(String::as_str).collect();
    assert!(
        cards.is_sorted() && cards.contains(&"set_stage"),
        "{cards:?}"
    );
    let call = |stage: &str, mode: &str| {
        json!({"target_id": "D-104", "arguments": {"stage": stage}, "mode": mode,
            "reason": "asked by mail"})
    };
    let dry = bridge.ok("set_stage", call("qualified", "dry_run"));
    assert_eq!(
        (&dry["verdict"], &dry["wrote"]),
        (&json!("ALLOW"), &json!(false))
    );
    let refused = bridge.tool("set_stage", call("qualified", "execute"));
    assert_eq!(refused["isError"], true);
    assert_eq!(refused["structuredContent"]["reason_code"], "DRY_RUN_ONLY");
    let outside = bridge.ok("set_stage", call("paradise", "dry_run"));
    assert_eq!(
        (&outside["verdict"], &outside["reason_code"]),
        (&json!("DENY"), &json!("INVALID_ARGUMENTS"))
    );
    let waits = bridge.ok("set_stage", call("won", "execute"));
    assert_eq!(
        (&waits["verdict"], &waits["executable"]),
        (&json!("REQUIRE_APPROVAL"), &json!(false))
    );
    world.promote(&["set_stage"]).await;
    let done = bridge.ok("set_stage", call("qualified", "execute"));
    assert_eq!(done["wrote"], true, "{done}");
    assert_eq!(world.effects().await.len(), 1);
    let generic = bridge.request(
        "tools/call",
        json!({"name": "request_authorization", "arguments": {}}),
    );
    assert_eq!(generic["error"]["code"], -32602);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_undoes_only_its_own_and_not_while_it_is_halted() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let mut bridge = world.mcp_of(TRIAGE, OLD, &[]);
    let decision = bridge.asked("D-104", "qualified", "execute");
    let done = bridge.ok("execute_action", json!({"decision_id": decision}));
    let execution = id(&done, "execution_id");
    let undo = json!({"execution_id": execution, "reason": "a mistake"});
    for other in ["agent-acme-seller", "agent-globex-triage"] {
        let mut other = world.mcp_of(other, OLD, &[]);
        assert_eq!(other.refused("undo_action", undo.clone()), "NOT_FOUND");
    }
    let ready = bridge.asked("D-104", "proposal", "execute");
    let mut operator = world.operator().await;
    let halt = |scope: &str| pb::SetHaltRequest {
        scope: scope.to_owned(),
        reason: "test".into(),
        ..pb::SetHaltRequest::default()
    };
    operator.halt.set_halt(halt("agent:triage")).await.unwrap();
    assert_eq!(bridge.refused("undo_action", undo.clone()), "HALTED");
    let by_id = json!({"decision_id": ready});
    assert_eq!(bridge.refused("preview_action", by_id.clone()), "HALTED");
    assert_eq!(bridge.refused("execute_action", by_id), "HALTED");
    // The bridge asked first: connectord was shown no token that it would have recorded as refused.
    let (_, records) = world.settle().await;
    assert!(
        records
            .iter()
            .all(|record| record["kind"] != "token_refused")
    );
    assert_eq!(world.effects().await.len(), 1);
    // A halt stops agents; an operator goes on undoing.
    let listed = world.executions().await;
    let wrote = listed.iter().find(|one| one.wrote).unwrap();
    assert!(operator.undo(wrote).await.undone);
    let clear = pb::ClearHaltRequest {
        scope: "agent:triage".into(),
        reason: "test".into(),
    };
    operator.halt.clear_halt(clear).await.unwrap();
    assert_eq!(bridge.refused("undo_action", undo), "ALREADY_UNDONE");
    // What a person edited since is not overwritten. policyd hears of the end of a halt a little later.
    let started = std::time::Instant::now();
    let decision = loop {
        let decision = bridge.asked("D-104", "qualified", "execute");
        let by_id = json!({"decision_id": decision});
        if bridge.ok("get_decision", by_id)["executable"] == true {
            break decision;
        }
        assert!(started.elapsed() < e2e::PATIENCE, "policyd still halts");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let done = bridge.ok("execute_action", json!({"decision_id": decision}));
    world.person_edits("deals/D-104", "stage=proposal");
    let undo = json!({"execution_id": done["execution_id"]});
    assert_eq!(bridge.refused("undo_action", undo), "PRECONDITION_FAILED");
    // An unreadable halt store is a halt.
    let ready = bridge.asked("D-104", "qualified", "execute");
    let folder = world.path("state/halt");
    std::fs::rename(&folder, world.path("state/away")).unwrap();
    let by_id = json!({"decision_id": ready});
    assert_eq!(bridge.refused("execute_action", by_id), "HALT_UNKNOWN");
    std::fs::rename(world.path("state/away"), &folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_ever_leaves_the_bridge_but_to_connectord() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let mut bridge = world.mcp_of(TRIAGE, OLD, &[]);
    let decision = bridge.asked("D-104", "qualified", "execute");
    let mut agent = world.agent().await;
    let name = format!("tenants/acme/decisions/{decision}");
    let found = agent
        .authorize
        .get_decision(pb::GetDecisionRequest { name });
    let token = found.await.unwrap().into_inner().decision.unwrap().token;
    assert!(token.len() > 100);
    let by_id = json!({"decision_id": decision});
    bridge.ok("get_decision", by_id.clone());
    bridge.ok("preview_action", by_id.clone());
    // Another bridge of the same agent, as after a restart, executes by the same handle.
    let mut second = world.mcp_of(TRIAGE, OLD, &[]);
    assert_eq!(second.ok("execute_action", by_id.clone())["wrote"], true);
    assert_eq!(bridge.ok("execute_action", by_id)["replayed"], true);
    let mut all = String::new();
    for bridge in [bridge, second] {
        let (said, logged) = bridge.hang_up();
        assert!(
            !logged.contains("qualified"),
            "no arguments in a log either"
        );
        all.push_str(&said.join("\n"));
        all.push_str(&logged);
    }
    // Any run of it in any spelling: the middle of the token is nothing but its claims and signature.
    for start in [0, 1, 2, token.len() / 2, token.len() - 48] {
        let part = &token[start..start + 36];
        let spellings = [
            hex::encode(part),
            hex::encode_upper(part),
            STANDARD_NO_PAD.encode(part),
            URL_SAFE_NO_PAD.encode(part),
            String::from_utf8_lossy(part).into_owned(),
            format!("{part:?}").trim_matches(['[', ']']).to_owned(),
            format!("{part:?}")
                .replace(' ', "")
                .trim_matches(['[', ']'])
                .to_owned(),
            part.escape_ascii().to_string(),
        ];
        for spelling in spellings {
            assert!(!all.contains(&spelling), "the token shows as {spelling}");
        }
    }
    let lines = all.lines().filter(|line| line.starts_with('{'));
    assert!(lines.count() >= 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_works_and_what_does_not() {
    let mut world = World::start();
    let run = |world: &World| {
        let flags = world.mcp_flags(TRIAGE);
        let mut args = vec!["mcp", "doctor", "-o", "jsonl"];
        args.extend(flags.iter().map(String::as_str));
        let output = world.run("policyd", &args);
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (output.status.code(), lines.collect::<Vec<Json>>())
    };
    let mut whole = vec!["mcp", "doctor", "-o", "json"];
    let flags = world.mcp_flags(TRIAGE);
    whole.extend(flags.iter().map(String::as_str));
    let whole: Json = serde_json::from_slice(&world.run("policyd", &whole).stdout).unwrap();
    assert_eq!(whole.as_array().unwrap().len(), 4, "one document");
    let (code, lines) = run(&world);
    let checks: Vec<_> = lines
        .iter()
        .map(|line| line["check"].as_str().unwrap())
        .collect();
    assert_eq!(checks, ["certificate", "policyd", "connectord", "tools"]);
    assert!(
        lines.iter().all(|line| line["result"] == "ok") && code == Some(0),
        "{lines:#?}"
    );
    assert!(lines[3]["message"].as_str().unwrap().starts_with("7 tools"));
    std::fs::write(world.path("state/halt/global"), "").unwrap();
    let (code, lines) = run(&world);
    assert_eq!((code, &lines[2]["reason"]), (Some(0), &json!("HALTED")));
    world.kill_connectord();
    let (code, lines) = run(&world);
    assert_eq!(
        (code, &lines[2]["reason"]),
        (Some(5), &json!("PEER_UNREACHABLE")),
        "{lines:#?}"
    );
}
