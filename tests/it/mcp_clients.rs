//! Clients that are not ours: the official inspector and the official Python client, and what
//! their users paste into their configuration.

use std::process::{Command, Output};

use e2e::{World, root};
use serde_json::Value as Json;

const TRIAGE: &str = "agent-acme-triage";

/// Whether `tests/services/mcp install` was run; the full tests/run does it.
fn installed() -> bool {
    let there = root().join("target/services/mcp/venv/bin/python").exists();
    if !there {
        eprintln!("SKIPPED: no MCP clients; tests/services/mcp install makes them");
    }
    there
}

fn service(world: &World, args: &[&str]) -> Output {
    let output = Command::new(root().join("tests/services/mcp"))
        .args(args)
        .current_dir(world.folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A configuration of the inspector that starts a bridge.
fn configure(world: &World, more: &[&str]) -> String {
    let mut args = vec!["mcp".to_owned()];
    args.extend(world.mcp_flags(TRIAGE));
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    let server = serde_json::json!({"mcpServers": {"writ": {
        "type": "stdio", "command": e2e::program("policyd"), "args": args,
        "cwd": world.folder.path()}}});
    let path = world.path("inspector.json");
    std::fs::write(&path, server.to_string()).unwrap();
    path.display().to_string()
}

fn inspect(world: &World, config: &str, args: &[&str]) -> Json {
    let mut all = vec!["inspector", "--cli", "--config", config, "--server", "writ"];
    all.extend(args);
    let output = service(world, &all);
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_lists_asks_polls_and_executes() {
    if !installed() {
        return;
    }
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let config = configure(&world, &[]);
    let tools = inspect(&world, &config, &["--method", "tools/list", "--strict"]);
    assert_eq!(tools["tools"].as_array().unwrap().len(), 7, "{tools}");
    let call = |tool: &str, pairs: &[&str]| {
        let mut args = vec!["--method", "tools/call", "--tool-name", tool];
        args.extend(pairs.iter().flat_map(|pair| ["--tool-arg", *pair]));
        inspect(&world, &config, &args)["structuredContent"].clone()
    };
    let asked = call(
        "request_authorization",
        &[
            "action=set_stage",
            "target_id=D-104",
            "arguments={\"stage\":\"qualified\"}",
            "mode=execute",
            "reason=asked by mail",
        ],
    );
    assert_eq!(asked["verdict"], "ALLOW", "{asked}");
    // Each call of the inspector is a bridge of its own: the handle outlives it.
    let id = format!("decision_id={}", asked["decision_id"].as_str().unwrap());
    assert_eq!(call("get_decision", &[&id])["executable"], true);
    let done = call("execute_action", &[&id]);
    assert_eq!(done["wrote"], true, "{done}");
    assert_eq!(world.effects().await.len(), 1);
    let config = configure(&world, &["--tools", "per-card"]);
    let tools = inspect(&world, &config, &["--method", "tools/list", "--strict"]);
    assert!(tools["tools"].as_array().unwrap().len() > 7, "{tools}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_passes_but_for_what_is_listed_with_a_reason() {
    if !installed() {
        return;
    }
    let world = World::start();
    let (_bridge, port, secret) = crate::mcp_hostile::http_bridge(&world);
    let url = format!("http://127.0.0.1:{port}/mcp");
    let output = tokio::task::block_in_place(|| {
        Command::new(root().join("tests/services/mcp"))
            .args(["conformance", &url])
            .env("WRIT_BRIDGE_SECRET", secret)
            .current_dir(world.folder.path())
            .output()
            .unwrap()
    });
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = told.split("=== SUMMARY ===").nth(1).unwrap_or(&told);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{summary} {error}");
    for passed in [
        "server-initialize",
        "ping",
        "tools-list",
        "dns-rebinding-protection",
    ] {
        assert!(
            summary.contains(&format!("{passed}:")),
            "{passed} was not run: {summary}"
        );
    }
}

const PYTHON: &str = r#"
import asyncio, json, sys
from jsonschema import Draft202012Validator
from mcp import Client, StdioServerParameters

async def main(mode, command, *args):
    server = StdioServerParameters(command=command, args=list(args))
    async with Client(server, mode=mode) as client:
        tools = (await client.list_tools()).tools
        for tool in tools:
            Draft202012Validator.check_schema(tool.input_schema)
            Draft202012Validator.check_schema(tool.output_schema)
        async def call(name, **arguments):
            result = await client.call_tool(name, arguments)
            return result.is_error, result.structured_content
        failed, asked = await call("set_stage", target_id="D-104", mode="execute",
            arguments={"stage": "qualified"}, reason="asked by mail")
        assert not failed and asked["verdict"] == "ALLOW" and asked["wrote"], asked
        failed, undone = await call("undo_action", execution_id=asked["execution_id"])
        assert not failed and undone["undone"], undone
        failed, waits = await call("refund", target_id="O-9", mode="execute",
            arguments={"amount": {"currency": "EUR", "value": 900.00}}, reason="broken")
        assert not failed and waits["verdict"] == "REQUIRE_APPROVAL", waits
        failed, polled = await call("get_decision", decision_id=waits["decision_id"], wait_ms=600)
        assert not failed and polled["state"] == "PENDING", polled
        failed, refused = await call("execute_action", decision_id=waits["decision_id"])
        assert failed and refused["reason_code"] == "APPROVAL_REQUIRED", refused
        failed, taken = await call("cancel_request", decision_id=waits["decision_id"])
        assert not failed and taken["state"] == "CANCELLED", taken
        print(json.dumps({"tools": len(tools), "version": client.protocol_version}))

asyncio.run(main(*sys.argv[1:]))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_asks_polls_executes_and_undoes_in_both_generations() {
    if !installed() {
        return;
    }
    let world = World::start();
    world.promote(&["set_stage"]).await;
    std::fs::write(world.path("client.py"), PYTHON).unwrap();
    let program = e2e::program("policyd").display().to_string();
    let flags = world.mcp_flags(TRIAGE);
    for (mode, revision) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        let mut args = vec![
            "python",
            "client.py",
            mode,
            &program,
            "mcp",
            "--tools",
            "per-card",
        ];
        args.extend(flags.iter().map(String::as_str));
        let output = service(&world, &args);
        let told: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["version"], revision, "{told}");
        assert!(told["tools"].as_u64().unwrap() > 7, "{told}");
    }
    assert_eq!(world.effects().await.len(), 4);
    world.check_everything().await;
}

/// Client, file of the example, and whether it replaces variables.
const EXAMPLES: [(&str, &str, bool); 4] = [
    ("claude-code", "claude-code.mcp.json", true),
    ("claude-desktop", "claude_desktop_config.json", false),
    ("cursor", "cursor.mcp.json", false),
    ("vscode", "vscode.mcp.json", false),
];

#[test]
fn what_is_printed_for_a_client_is_the_example_and_names_no_secret() {
    for (client, file, replaces) in EXAMPLES {
        let output = Command::new(e2e::program("policyd"))
            .args(["mcp", "print", "--client", client])
            .args(["--cert", "/srv/writ/certs/agent-acme-triage.pem"])
            .args(["--cacert", "/srv/writ/certs/ca.pem"])
            .args(["--program", "policyd"])
            .env_remove("POLICYD_ADDR")
            .env_remove("CONNECTORD_ADDR")
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let path = root().join("deploy/examples/mcp").join(file);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &printed).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            printed,
            "{file}; UPDATE=1 rewrites it"
        );
        let json: Json = serde_json::from_str(&printed).unwrap();
        let key = if client == "vscode" {
            "servers"
        } else {
            "mcpServers"
        };
        let entry = &json[key]["writ"];
        let args = entry["args"].to_string();
        assert!(
            args.contains("/srv/writ/keys/agent-acme-triage-tls.pem"),
            "{args}"
        );
        // A variable is written only where the client replaces it, and only in its one spelling.
        assert_eq!(printed.contains("${POLICYD_ADDR:-"), replaces, "{printed}");
        assert!(!printed.replace("${", "").contains('$'), "{printed}");
    }
}

#[test]
fn what_is_printed_starts_this_program_with_the_authority_beside_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    let print = || {
        let certificate = ["--client", "cursor", "--cert", "certs/a.pem"];
        Command::new(e2e::program("policyd"))
            .args(["mcp", "print"])
            .args(certificate)
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let refused = print();
    let told = String::from_utf8(refused.stderr).unwrap();
    let named = told.contains("certs/ca.pem is not there");
    assert!(!refused.status.success() && named, "{told}");
    std::fs::create_dir(&certs).unwrap();
    std::fs::write(certs.join("ca.pem"), "").unwrap();
    let json: Json = serde_json::from_slice(&print().stdout).unwrap();
    let entry = &json["mcpServers"]["writ"];
    let own = e2e::program("policyd").canonicalize().unwrap();
    assert_eq!(entry["command"], own.display().to_string());
    let authority = entry["args"][2].as_str().unwrap();
    assert!(authority.starts_with('/') && authority.ends_with("/certs/ca.pem"));
    // What is here is looked at.
    std::fs::write(certs.join("a.pem"), "").unwrap();
    assert!(!print().status.success());
}

#[test]
fn what_is_printed_for_http_has_the_secret_of_the_bridge() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("mcp.secret");
    let output = Command::new(e2e::program("policyd"))
        .args(["mcp", "print", "--client", "cursor", "--cert", "x.pem"])
        .args(["--http", "127.0.0.1:7370", "--http-secret-file"])
        .arg(&secret)
        .output()
        .unwrap();
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    let entry = &json["mcpServers"]["writ"];
    assert_eq!(entry["url"], "http://127.0.0.1:7370/mcp");
    let shown = entry["headers"]["Authorization"].as_str().unwrap();
    let kept = std::fs::read_to_string(&secret).unwrap();
    assert_eq!(shown, format!("Bearer {kept}"));
}
