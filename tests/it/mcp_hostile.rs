//! The bridge under attack and in bad weather: hostile lines, daemons that hang or are away, and
//! everybody else on its loopback.

use std::process::Command;
use std::time::Instant;

use e2e::{McpBridge, PATIENCE, Process, World, program};
use reqwest::StatusCode;
use serde_json::{Value as Json, json};

const TRIAGE: &str = "agent-acme-triage";
const OLD: &str = "2025-06-18";

/// Line, code of the error, and the id it comes back under.
type Hostile = (String, i64, Json);

fn call(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":"h","method":"tools/call","params":{{"name":"get_decision","arguments":{arguments}}}}}"#
    )
}

fn hostile() -> Vec<Hostile> {
    let of = |line: &str, code: i64, id: Json| (line.to_owned(), code, id);
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    vec![
        of("{", -32700, Json::Null),
        of("\u{1}\u{2}", -32700, Json::Null),
        of(
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}"#,
            -32700,
            Json::Null,
        ),
        of(
            r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#,
            -32600,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":1,"METHOD":"tools/list"}"#,
            -32600,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":1,"method":"Tools/List"}"#,
            -32601,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call "}"#,
            -32601,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{}}"#,
            -32601,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/list","params":{}}"#,
            -32601,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/templates/list","params":{}}"#,
            -32601,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"x"},"argument":{"name":"a","value":"b"}}}"#,
            -32601,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Execute_Action"}}"#,
            -32602,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"set_stage","arguments":{}}}"#,
            -32602,
            json!(1),
        ),
        of(
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#,
            -32600,
            Json::Null,
        ),
        (call("{}"), -32602, json!("h")),
        (
            call(r#"{"decision_id":"../../etc/passwd"}"#),
            -32602,
            json!("h"),
        ),
        (
            call(r#"{"decision_id":"01940000-0000-7000-8000-000000000001","token":"x"}"#),
            -32602,
            json!("h"),
        ),
        (
            call(
                r#"{"decision_id":"01940000-0000-7000-8000-000000000001","decision\u005fid":"01940000-0000-7000-8000-000000000002"}"#,
            ),
            -32700,
            json!("h"),
        ),
        (
            call(r#"{"decision_id":"01940000-0000-7000-8000-000000000001","wait_ms":-1}"#),
            -32602,
            json!("h"),
        ),
        (call(&deep), -32700, json!("h")),
        (
            call(&format!("\"{}\"", "a".repeat(100_000))),
            -32600,
            json!("h"),
        ),
        (call("[]"), -32602, json!("h")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_line_gets_a_clean_error_and_the_session_goes_on() {
    let world = World::start();
    let mut bridge = world.mcp_of(TRIAGE, OLD, &[]);
    for (line, code, id) in hostile() {
        bridge.send(&line);
        let answer = bridge.receive();
        let start: String = line.chars().take(120).collect();
        assert_eq!(answer["error"]["code"], code, "{start}: {answer}");
        assert_eq!(answer["id"], id, "{start}: {answer}");
        let tools = bridge.request("tools/list", json!({}));
        assert!(tools["result"]["tools"].is_array(), "after {start}");
    }
    // Noise before the handshake does not end a session either.
    let mut early = world.mcp(TRIAGE, &[]);
    early.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    early.send(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    early.send("not JSON");
    assert_eq!(early.receive()["error"]["code"], -32700);
    early.send(r#"{"jsonrpc":"2.0","id":5,"method":"tools/list"}"#);
    assert_eq!(
        early.receive()["error"]["code"],
        -32602,
        "no handshake, no revision"
    );
    let hello = json!({"protocolVersion": OLD, "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}});
    assert_eq!(
        early.request("initialize", hello)["result"]["protocolVersion"],
        OLD
    );
    assert!(world.effects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_revision_is_told_which_are_served() {
    let world = World::start();
    let mut bridge = world.mcp_of(TRIAGE, "2999-01-01", &[]);
    let answer = bridge.request("tools/list", json!({}));
    assert_eq!(answer["error"]["code"], -32022, "{answer}");
    let served = json!(["2025-06-18", "2025-11-25", "2026-07-28"]);
    assert_eq!(answer["error"]["data"]["supported"], served);
    let mut bridge = world.mcp_of(TRIAGE, "2026-07-28", &[]);
    let answer = bridge.request("server/discover", json!({}));
    assert_eq!(answer["result"]["supportedVersions"], served, "{answer}");
    let tools = bridge.request("tools/list", json!({}));
    assert_eq!(tools["result"]["resultType"], "complete");
    assert_eq!(tools["result"]["cacheScope"], "private");
}

fn signal(process: &Process, name: &str) {
    let id = process.id().to_string();
    let sent = Command::new("kill").args([name, &id]).status().unwrap();
    assert!(sent.success());
    let started = Instant::now();
    while name == "-STOP" && !stands(&id) {
        assert!(started.elapsed() < PATIENCE, "it goes on");
    }
}

/// Whether every thread of a process is stopped: one that still runs would answer.
fn stands(id: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let mut stats = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")));
    stats.all(|stat| stat.is_ok_and(|stat| stat.rsplit(") ").next().unwrap().starts_with('T')))
}

fn asked(bridge: &mut McpBridge) -> Json {
    let ask = json!({"action": "set_stage", "target_id": "D-104",
        "arguments": {"stage": "qualified"}});
    bridge.tool("request_authorization", ask)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_hangs_or_is_away_is_told_in_bounded_time_and_the_bridge_goes_on() {
    let mut world = World::start();
    let mut bridge = world.mcp_of(TRIAGE, OLD, &[]);
    let decision = asked(&mut bridge)["structuredContent"]["decision_id"].clone();
    let by_id = json!({"decision_id": decision});
    // policyd hangs in the middle: the harness waits no longer than a test may.
    signal(world.policyd.as_ref().unwrap(), "-STOP");
    let told = asked(&mut bridge);
    assert_eq!(told["isError"], true);
    assert_eq!(
        told["structuredContent"]["reason_code"], "UNAVAILABLE",
        "{told}"
    );
    let again = told["structuredContent"]["request_id"].clone();
    assert!(
        again.is_string(),
        "so that the request can be repeated: {told}"
    );
    let look = json!({"decision_id": decision, "wait_ms": 60_000});
    assert_eq!(bridge.refused("get_decision", look), "UNAVAILABLE");
    signal(world.policyd.as_ref().unwrap(), "-CONT");
    assert_eq!(asked(&mut bridge)["structuredContent"]["verdict"], "ALLOW");
    // connectord hangs, then it is gone, then it is back.
    signal(world.connectord.as_ref().unwrap(), "-STOP");
    assert_eq!(
        bridge.refused("execute_action", by_id.clone()),
        "UNAVAILABLE"
    );
    world.kill_connectord();
    assert_eq!(bridge.refused("list_actions", json!({})), "UNAVAILABLE");
    assert_eq!(
        bridge.refused("undo_action", json!({"execution_id": decision})),
        "UNAVAILABLE"
    );
    world.start_connectord(&program("connectord"), &[]);
    let fresh = asked(&mut bridge)["structuredContent"]["decision_id"].clone();
    let done = bridge.ok("execute_action", json!({"decision_id": fresh}));
    assert_eq!(done["wrote"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_longer_than_allowed_ends_in_time() {
    let world = World::start();
    let mut bridge = world.mcp_of(TRIAGE, OLD, &[]);
    let ask = json!({"action": "refund", "target_id": "O-9", "mode": "execute",
        "arguments": {"amount": {"currency": "EUR", "value": 900}}, "reason": "broken"});
    let waits = bridge.ok("request_authorization", ask);
    // A minute is asked for, and no call is to block longer than 20 s.
    let look = json!({"decision_id": waits["decision_id"], "wait_ms": 60_000});
    let started = std::time::Instant::now();
    assert_eq!(bridge.ok("get_decision", look)["state"], "PENDING");
    let waited = started.elapsed();
    assert!(waited < std::time::Duration::from_secs(25), "{waited:?}");
}

pub(crate) fn http_bridge(world: &World) -> (Process, u16, String) {
    let port = e2e::free_port();
    let mut args: Vec<String> = vec!["mcp".into(), "--http".into(), format!("127.0.0.1:{port}")];
    args.extend(["--http-secret-file".into(), "mcp.secret".into()]);
    args.extend(world.mcp_flags(TRIAGE));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let process = Process::start(
        world.folder.path(),
        "mcp-http",
        &program("policyd"),
        &args,
        &[],
    );
    let secret = std::fs::read_to_string(world.path("mcp.secret")).unwrap();
    (process, port, secret)
}

/// Posts a list request with these headers beside the usual ones; the status and the body.
async fn post(port: u16, headers: &[(&str, &str)], body: &str) -> (StatusCode, String) {
    let mut request = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{port}/mcp"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", OLD)
        .body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_only_who_has_the_secret_and_names_us_is_served() {
    let world = World::start();
    let (_process, port, secret) = http_bridge(&world);
    let (bearer, list) = (
        format!("Bearer {secret}"),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#,
    );
    let key = ("authorization", bearer.as_str());
    let (status, body) = post(port, &[key], list).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.contains("request_authorization"), "{body}");
    let own = format!("http://localhost:{port}");
    assert_eq!(
        post(port, &[key, ("origin", &own)], list).await.0,
        StatusCode::OK
    );
    // A session id, stolen or made up, opens nothing: there are none.
    let stolen = ("mcp-session-id", "01940000-0000-7000-8000-000000000001");
    assert_eq!(
        post(port, &[stolen], list).await.0,
        StatusCode::UNAUTHORIZED
    );
    let (unauthorized, forbidden) = (StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN);
    // A token of somebody else's authorization server is not ours.
    let foreign = "Bearer eyJhbGciOiJub25lIn0.eyJhdWQiOiJ3cml0In0.";
    let short = bearer[..bearer.len() - 1].to_owned();
    let table: [(&[(&str, &str)], StatusCode); 8] = [
        (&[], unauthorized),
        (&[("authorization", foreign)], unauthorized),
        (&[("authorization", &short)], unauthorized),
        (&[("authorization", secret.as_str())], unauthorized),
        (&[key, ("host", "evil.example")], forbidden),
        (&[key, ("host", "localhost:1")], forbidden),
        (&[key, ("origin", "http://evil.example")], forbidden),
        (&[key, ("origin", "null")], forbidden),
    ];
    for (headers, expected) in table {
        let (status, body) = post(port, headers, list).await;
        assert_eq!(status, expected, "{headers:?}: {body}");
    }
    for (body, expected) in [
        ("{", StatusCode::BAD_REQUEST),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#,
            StatusCode::BAD_REQUEST,
        ),
    ] {
        assert_eq!(post(port, &[key], body).await.0, expected, "{body}");
    }
    let long = "x".repeat(100_000);
    assert_eq!(
        post(port, &[key], &long).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"request_authorization","arguments":{"action":"set_stage","target_id":"D-104","arguments":{"stage":"qualified"}}}}"#;
    let (_, body) = post(port, &[key], ask).await;
    assert!(body.contains("\"verdict\":\"ALLOW\""), "{body}");
    for addr in ["0.0.0.0:0", "192.0.2.1:7370"] {
        let mut args = vec!["mcp", "--http", addr];
        let flags = world.mcp_flags(TRIAGE);
        args.extend(flags.iter().map(String::as_str));
        let output = world.run("policyd", &args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("loopback"),
            "{said}"
        );
    }
}
