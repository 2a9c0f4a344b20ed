//! The forty rows that Writ is compared by (docs/standards.md), printed with what shows each:
//! `cargo test --release -p e2e rows:: -- --nocapture`. A test that a row names must exist; the rows of the
//! command line are tried here.

use std::process::{Command, Stdio};

use e2e::{World, program, root, stage};
use serde_json::Value;

/// Number, row, and the test or place that shows it; what is not there begins with `no:`.
const ROWS: [(u8, &str, &str); 40] = [
    (1, "clone to first decision", "deploy/demo"),
    (
        2,
        "build needs nothing but cargo and a C compiler",
        "generated_code_is_current",
    ),
    (
        3,
        "the demo proves that tampering is refused",
        "deploy/demo",
    ),
    (
        4,
        "tests of policies: JUnit, coverage, exit code",
        "results_are_xml_whatever_the_names_are",
    ),
    (5, "one table of exit codes", "docs/cli.md"),
    (
        6,
        "JSON is one document",
        "every_list_is_one_json_document_and_every_failure_one_object",
    ),
    (
        7,
        "errors in JSON too",
        "every_list_is_one_json_document_and_every_failure_one_object",
    ),
    (
        8,
        "completions and man pages",
        "rules_are_laid_out_and_pages_and_completions_are_written",
    ),
    (
        9,
        "where each value of the configuration comes from",
        "a_later_layer_wins_and_is_named",
    ),
    (
        10,
        "an unknown key is told what was meant",
        "an_unknown_key_is_named_with_the_nearest_one",
    ),
    (
        11,
        "a bad reload keeps the good set, and is told",
        "changed_policies_take_effect_and_broken_ones_never_do",
    ),
    (
        12,
        "a port that is taken",
        "a_daemon_that_cannot_run_safely_says_why_and_what_to_do",
    ),
    (
        13,
        "health without other programs",
        "health_and_reflection_are_as_they_say",
    ),
    (
        14,
        "reflection v1 and v1alpha",
        "health_and_reflection_are_as_they_say",
    ),
    (
        15,
        "health flips with the store",
        "a_database_that_cannot_be_written_does_not_serve",
    ),
    (
        16,
        "a denial says why",
        "approval_denial_and_the_wrong_tenant_give_no_token_and_a_record",
    ),
    (
        17,
        "forbidden is not the same as not permitted",
        "docs/policies.md",
    ),
    (
        18,
        "every code has a page",
        "every_reason_code_is_explained_by_both_programs",
    ),
    (
        19,
        "records are always on",
        "approval_denial_and_the_wrong_tenant_give_no_token_and_a_record",
    ),
    (
        20,
        "offline verification with public keys",
        "every_decision_is_made_again_over_policy_versions_and_restarts",
    ),
    (
        21,
        "what was changed is named",
        "an_export_with_any_byte_changed_fails_and_names_the_record",
    ),
    (
        22,
        "approval bound to what is executed",
        "no: approvals are not built",
    ),
    (
        23,
        "an edit is a new decision",
        "no: approvals are not built",
    ),
    (
        24,
        "the approver is not the requester",
        "no: approvals are not built",
    ),
    (
        25,
        "what waits survives a restart",
        "no: approvals are not built",
    ),
    (
        26,
        "an MCP call never blocks for long",
        "a_daemon_that_hangs_or_is_away_is_told_in_bounded_time_and_the_bridge_goes_on",
    ),
    (
        27,
        "MCP names fit every client",
        "names_must_be_the_same_both_ways",
    ),
    (
        28,
        "stdout carries JSON-RPC only",
        "a_hostile_line_gets_a_clean_error_and_the_session_goes_on",
    ),
    (
        29,
        "an unknown verdict is a refusal",
        "an_unknown_verdict_is_a_refusal",
    ),
    (
        30,
        "dry run by default",
        "a_denial_is_a_result_a_refusal_an_error_and_nothing_is_written_by_default",
    ),
    (
        31,
        "would-have log: policy said, what happened",
        "promotion_shows_the_log_needs_a_reason_and_asks_twice_after_a_surprise",
    ),
    (
        32,
        "a halt page of 10 KB that paints within 200 ms",
        "no: 10 KB holds; the first paint was 224 ms (docs/performance.md)",
    ),
    (
        33,
        "a halt is acknowledged",
        "a_drill_names_everyone_and_fails_unless_all_answer",
    ),
    (
        34,
        "a halt store that is away halts",
        "a_store_that_cannot_be_read_is_unknown_and_nothing_is_changed",
    ),
    (
        35,
        "one customer is halted",
        "one_customer_is_halted_while_others_go_on",
    ),
    (
        36,
        "difference and evidence before approving",
        "no: approvals are not built",
    ),
    (
        37,
        "keyboard only, no script",
        "every_page_can_be_read_and_pressed_in_light_and_dark",
    ),
    (
        38,
        "an idempotent retry",
        "one_token_presented_a_thousand_times_has_one_effect",
    ),
    (
        39,
        "undo of one and of many",
        "fifty_wrong_writes_are_undone_by_one_command_and_a_drifted_record_is_left",
    ),
    (
        40,
        "AuthZEN evaluation(s) and metadata",
        "a_batch_keeps_its_order_and_ends_as_it_says",
    ),
];

fn sources() -> String {
    fn walk(folder: &std::path::Path, out: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "pb" {
                walk(&path, out);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                out.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut all = String::new();
    for folder in ["crates", "tests/it"] {
        walk(&root().join(folder), &mut all);
    }
    all
}

#[test]
fn every_row_names_what_shows_it() {
    let all = sources();
    let mut yes = 0;
    for (number, row, shown) in ROWS {
        let there = match shown.strip_prefix("no: ") {
            Some(_) => false,
            None if shown.contains('/') => root().join(shown).is_file(),
            None => all.contains(&format!("fn {shown}(")),
        };
        assert!(
            there || shown.starts_with("no: "),
            "row {number}: {shown} is not there"
        );
        yes += usize::from(there);
        println!(
            "{number:>2}  {:<3}  {row}  ({shown})",
            if there { "yes" } else { "no" }
        );
    }
    println!("{yes} of {}", ROWS.len());
}

/// stdout and stderr of a command, apart.
fn apart(world: &World, name: &str, args: &[&str], cert: &str) -> (String, String) {
    let output = Command::new(program(name))
        .current_dir(world.folder.path())
        .args(args)
        .args(["-o", "json"])
        .env("WRIT_CERT", cert)
        .env(
            "POLICYD_ADDR",
            format!("https://localhost:{}", world.policyd_port),
        )
        .env(
            "CONNECTORD_ADDR",
            format!("https://localhost:{}", world.connectord_port),
        )
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_one_json_document_and_every_failure_one_object() {
    let world = World::start();
    let mut agent = world.agent().await;
    let mut wish = stage("D-104", "qualified");
    wish.mode = writ_proto::pb::Mode::DryRun;
    for _ in 0..2 {
        let asked = agent.ask(&wish).await;
        agent.present(&asked).await.unwrap();
    }
    let operator = "certs/operator-acme-ops.pem";
    let lists: [(&str, &[&str]); 17] = [
        ("policyd", &["decisions", "ls"]),
        ("policyd", &["records", "ls"]),
        ("policyd", &["incidents", "ls"]),
        ("policyd", &["notices", "ls"]),
        ("policyd", &["budget", "ls"]),
        ("policyd", &["keys", "ls"]),
        ("policyd", &["story", "deal/D-104"]),
        ("policyd", &["config", "show"]),
        ("policyd", &["check"]),
        ("policyd", &["test"]),
        ("connectord", &["executions", "ls"]),
        ("connectord", &["executions", "ls", "--action", "nothing"]),
        ("connectord", &["actions", "ls"]),
        ("connectord", &["wouldhave", "ls"]),
        ("connectord", &["creds", "ls"]),
        ("connectord", &["config", "show"]),
        ("connectord", &["halt", "status", "--cert", operator]),
    ];
    for (name, args) in lists {
        let (out, err) = apart(&world, name, args, operator);
        let document: Value = serde_json::from_str(&out)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {out}{err}"));
        assert!(document.is_array(), "{args:?}: {out}");
    }
    let (out, _) = apart(&world, "policyd", &["health"], operator);
    assert!(serde_json::from_str::<Value>(&out).unwrap().is_object());
    for (name, args) in [
        ("policyd", &["decisions", "show", "nonsense"][..]),
        ("policyd", &["explain", "NOPE_NOPE_NOPE"]),
        ("policyd", &["check", "policies/acme"]),
        (
            "policyd",
            &["authorize", "set_stage", "x", "--target", "D-104"],
        ),
        ("policyd", &["decisions", "ls", "--set", "a.b=1"]),
        ("connectord", &["executions", "show", "nonsense"]),
        ("connectord", &["undo", "--action", "set_stage"]),
        (
            "connectord",
            &["creds", "add", "crm/mian", "--file", "keys/sandbox.secret"],
        ),
    ] {
        let (out, err) = apart(&world, name, args, operator);
        let error: Value =
            serde_json::from_str(&err).unwrap_or_else(|error| panic!("{args:?}: {error}: {err}"));
        assert!(
            error["reason"].is_string() && error["message"].is_string(),
            "{args:?}: {err}"
        );
        assert_eq!(out, "", "{args:?}");
    }
    let rotate = [
        "creds",
        "rotate",
        "crm/mian",
        "--file",
        "keys/sandbox.secret",
    ];
    let (_, err) = apart(&world, "connectord", &rotate, operator);
    assert!(
        err.contains("UNKNOWN_CONNECTION") && err.contains("crm/main"),
        "{err}"
    );
    // A name that matches nothing is told, and undoes nothing in silence.
    let args = [
        "undo", "--since", "15m", "--action", "set_stge", "--reason", "x", "--yes",
    ];
    let (out, _) = apart(&world, "connectord", &args, operator);
    assert!(out.contains("\"of\":0"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_as_they_say() {
    use tonic_reflection::pb::{v1, v1alpha};
    let mut world = World::prepare(&[]);
    let path = world.path("policyd.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replacen("reflection = false", "reflection = true", 1),
    )
    .unwrap();
    world.start_policyd();
    let operator = "certs/operator-acme-ops.pem";
    let (out, err) = apart(&world, "policyd", &["health"], operator);
    assert!(
        out.contains("SERVING") && !out.contains("NOT_"),
        "{out}{err}"
    );
    let channel = world
        .channel("operator-acme-ops", world.policyd_port)
        .await
        .unwrap();
    let mut newer = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut answer = newer
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = format!("{:?}", answer.message().await.unwrap());
    assert!(answer.contains("writ.v1.AuthorizationService"), "{answer}");
    let mut older = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut answer = older
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = format!("{:?}", answer.message().await.unwrap());
    assert!(answer.contains("writ.v1.AuthorizationService"), "{answer}");
    world.policyd.take().unwrap().kill();
    let (_, err) = apart(&world, "policyd", &["health"], operator);
    assert!(err.contains("PEER_UNREACHABLE"), "{err}");
}
