//! Who answers a drill, who is told of a halt, and what the command line does.

use std::time::Instant;

use e2e::{PATIENCE, World, code, free_port};
use serde_json::Value as Json;
use writ_proto::pb;

use super::halt::{set, up};

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_names_everyone_and_fails_unless_all_answer() {
    let world = World::start();
    let journal = format!("sqlite://{}", world.path("other.db").display());
    let other = World::replica_with(&world, free_port(), &[format!("store.url={journal}")]);
    let drill = || {
        let output = world.run("connectord", &["halt", "drill", "-o", "jsonl"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let first: Json = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        (
            output.status.success(),
            first["answered"].clone(),
            first["connectors"].clone(),
        )
    };
    assert_eq!(drill(), (true, 2.into(), 2.into()));
    let pid = other.id().to_string();
    let signal = |name: &str| {
        let status = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(status.unwrap().success());
    };
    signal("-STOP");
    assert_eq!(drill(), (false, 1.into(), 2.into()));
    signal("-CONT");
    assert_eq!(drill(), (true, 2.into(), 2.into()));
    // By a connectord, as an operator sees it.
    let mut operator = world.operator().await;
    let probe = pb::ProbeHaltRequest {
        nonce: "7f3a".into(),
        patience: None,
    };
    let answer = operator.halt.probe_halt(probe).await.unwrap().into_inner();
    assert_eq!(
        answer
            .members
            .iter()
            .filter(|member| member.answered)
            .count(),
        2
    );
    // An operator of one tenant learns who answered, and nothing of what is done for others.
    let mut stranger = world.actor("operator-globex-ops").await;
    let probe = pb::ProbeHaltRequest {
        nonce: "7f3b".into(),
        patience: None,
    };
    let answer = stranger.halt.probe_halt(probe).await.unwrap().into_inner();
    let hides = |one: &pb::HaltMember| one.host.is_empty() && one.pid == 0 && one.generation == 0;
    assert_eq!((answer.members.len(), answer.generation), (2, 0));
    assert!(answer.members.iter().all(hides), "{answer:?}");
    // Who ended is not waited for.
    other.kill();
    let started = Instant::now();
    while drill() != (true, 1.into(), 1.into()) {
        assert!(started.elapsed() < PATIENCE, "the dead one stays");
    }
    let nobody = tempfile::tempdir().unwrap();
    let store = format!("file://{}", nobody.path().display());
    let alone = world.run("connectord", &["halt", "drill", "--store", &store]);
    assert!(!alone.status.success(), "nobody is not everybody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_told_at_once_of_what_concerns_it() {
    let mut world = World::prepare(&[]);
    world.overrides = vec!["halt.global_operators=[]".into()];
    let world = up(world);
    let mut agent = world.agent().await;
    let mut stream = agent
        .halt
        .watch_halts(pb::WatchHaltsRequest {})
        .await
        .unwrap()
        .into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.known && first.halts.is_empty() && !first.heartbeat);
    let mut theirs = world.actor("operator-globex-ops").await;
    set(&mut theirs, "tenant:globex").await.unwrap();
    let mut ours = world.operator().await;
    set(&mut ours, "tenant:acme").await.unwrap();
    let next = loop {
        let message = stream.message().await.unwrap().unwrap();
        if !message.heartbeat {
            break message;
        }
    };
    let scopes: Vec<&str> = next.halts.iter().map(|halt| halt.scope.as_str()).collect();
    assert_eq!(
        scopes,
        ["tenant:acme"],
        "another tenant's halt is no news here"
    );
    // Streams are bounded, and give their place back.
    let mut streams = Vec::new();
    let refused = loop {
        match ours.halt.watch_halts(pb::WatchHaltsRequest {}).await {
            Ok(stream) => streams.push(stream),
            Err(status) => break code(&status),
        }
        assert!(streams.len() < 100, "no bound");
    };
    assert_eq!(refused, "RATE_LIMITED");
    drop(streams);
    let started = Instant::now();
    while ours
        .halt
        .watch_halts(pb::WatchHaltsRequest {})
        .await
        .is_err()
    {
        assert!(started.elapsed() < PATIENCE, "no place was given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_refuses_what_is_no_scope_and_resumes_only_with_a_reason() {
    let world = World::start();
    let run = |args: &[&str]| {
        let output = world.run("connectord", args);
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    for (scope, reason) in [
        ("planet:earth", "REQUEST_MALFORMED"),
        ("tenant:nosuch", "UNKNOWN_TENANT"),
        ("tenant:nosuch/agent:x", "UNKNOWN_TENANT"),
    ] {
        let (done, told) = run(&["halt", "on", "--scope", scope]);
        assert!(!done && told.contains(reason), "{scope}: {told}");
    }
    // As far as it came is told, and what is left.
    let known = ["--scope", "tenant:acme/run:r-1"];
    let left = [
        "--scope",
        "tenant:nosuch/agent:x",
        "--scope",
        "tenant:globex",
    ];
    let (done, told) = run(&[&["halt", "on"], &known[..], &left].concat());
    let not = "NOT SET: tenant:nosuch/agent:x and the 1 scope after it";
    let is_set = || world.path("state/halt/tenant:acme%2Frun:r-1").exists();
    assert!(!done && is_set() && told.contains(not), "{told}");
    let (done, told) = run(&[&["halt", "off", "--reason", "well"], &known[..], &left].concat());
    let not = "NOT RESUMED: tenant:nosuch/agent:x and the 1 scope after it";
    assert!(!done && !is_set() && told.contains(not), "{told}");
    let two = [
        "--scope",
        "tenant:acme/agent:triage",
        "--scope",
        "tenant:globex",
    ];
    assert!(run(&[&["halt", "on"], &two[..]].concat()).0);
    let (done, told) = run(&[&["halt", "off"], &two[..]].concat());
    assert!(!done && told.contains("--reason"), "{told}");
    assert!(run(&[&["halt", "off", "--reason", "mended"], &two[..]].concat()).0);
    // As an operator of one tenant, by a connectord.
    let cert = [
        "--addr",
        &format!("https://localhost:{}", world.connectord_port),
        "--cert",
        "certs/operator-globex-ops.pem",
        "--key",
        "keys/operator-globex-ops-tls.pem",
    ];
    let (done, told) = run(&[&["halt", "on"], &cert[..]].concat());
    assert!(!done && told.contains("GLOBAL_OPERATOR_REQUIRED"), "{told}");
    let own = ["halt", "on", "--scope", "agent:triage"];
    assert!(run(&[&own[..], &cert[..]].concat()).0);
    assert!(
        world
            .path("state/halt/tenant:globex%2Fagent:triage")
            .exists()
    );
    // What ended is told as it is stored, with what goes on; the key lies beside the certificate.
    let off = || {
        let own = ["halt", "off", "--scope", "agent:triage", "--reason", "well"];
        let output = world.run("connectord", &[&own[..], &cert[..4]].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let told = off();
    let ended = "RUNNING tenant:globex/agent:triage";
    assert!(told.contains(ended) && !told.contains("still"), "{told}");
    assert!(run(&["halt", "on"]).0);
    let told = off();
    let ended = "NOT_SET tenant:globex/agent:triage";
    let still = told.contains("still halted by global");
    assert!(told.contains(ended) && still, "{told}");
    assert!(told.contains("halted: global (name"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_of_what_is_misspelt_is_set_and_said_to_be_odd() {
    let world = World::start();
    let addr = format!("https://localhost:{}", world.connectord_port);
    let halt = |scope: &str| {
        let args = [
            "halt",
            "on",
            "--addr",
            &addr,
            "--cert",
            "certs/operator-acme-ops.pem",
        ];
        let output = world.run("connectord", &[&args[..], &["--scope", scope]].concat());
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    for (scope, code, odd) in [
        ("action:set_stage", Some(0), None),
        ("action:set_stge", Some(1), Some("did you mean `set_stage`")),
        (
            "connection:crm/man",
            Some(1),
            Some("did you mean `crm/main`"),
        ),
        // An agent may be one that has not written yet; what is not only ours may be known elsewhere.
        ("agent:trige", Some(0), Some("no call of an agent `trige`")),
        ("customer:C-1", Some(0), None),
    ] {
        let (exit, said) = halt(scope);
        assert_eq!(exit, code, "{scope}: {said}");
        let word = if code == Some(0) { "HALTED " } else { "SET " };
        assert!(said.starts_with(word), "{scope}: {said}");
        match odd {
            Some(why) => assert!(said.contains(why), "{scope}: {said}"),
            None => assert!(!said.contains("WARNING"), "{scope}: {said}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policyd_halts_runs_and_agents_of_one_tenant_and_resumes_nothing() {
    let world = World::start();
    let mut policyd = world.actor("policyd").await;
    let mut attempts = Vec::new();
    for (scope, cause) in [
        ("tenant:acme/run:r-1", "budget"),
        ("tenant:acme/agent:triage", "incident"),
        ("tenant:acme/agent:triage", "whim"),
        ("tenant:acme/agent:triage", ""),
        ("tenant:acme/customer:C-1", "budget"),
        ("tenant:acme", "budget"),
        ("agent:triage", "budget"),
        ("global", "budget"),
        ("tenant:nosuch/run:r-1", "budget"),
    ] {
        let request = pb::SetHaltRequest {
            scope: scope.into(),
            cause: cause.into(),
            reason: "over".into(),
            ..pb::SetHaltRequest::default()
        };
        let answer = policyd.halt.set_halt(request).await;
        attempts.push(answer.map_or_else(|status| code(&status), |_| "OK".to_owned()));
    }
    let malformed = "REQUEST_MALFORMED";
    let operator = "OPERATOR_REQUIRED";
    assert_eq!(
        attempts,
        [
            "OK",
            "OK",
            malformed,
            malformed,
            operator,
            operator,
            operator,
            operator,
            "UNKNOWN_TENANT"
        ]
    );
    let request = pb::ClearHaltRequest {
        scope: "tenant:acme/run:r-1".into(),
        reason: "x".into(),
    };
    let status = policyd.halt.clear_halt(request).await.unwrap_err();
    assert_eq!(code(&status), "OPERATOR_REQUIRED");
    let mut ours = world.operator().await;
    let seen = ours.halt.list_halts(pb::ListHaltsRequest {}).await.unwrap();
    let by: Vec<String> = seen
        .into_inner()
        .halts
        .into_iter()
        .map(|halt| halt.by)
        .collect();
    assert_eq!(by, ["incident", "budget"]);
    // Nobody else speaks for policyd.
    let request = pb::SetHaltRequest {
        scope: "agent:triage".into(),
        cause: "budget".into(),
        ..pb::SetHaltRequest::default()
    };
    let status = ours.halt.set_halt(request).await.unwrap_err();
    assert_eq!(code(&status), malformed);
    let mut connectord = world.actor("connectord").await;
    let status = set(&mut connectord, "tenant:acme/agent:triage")
        .await
        .unwrap_err();
    assert_eq!(status, operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_filled_its_room_halts_the_whole_of_itself_and_nobody_else_is_short() {
    let world = World::start();
    for number in 0..1_000 {
        let flag = format!("state/halt/tenant:acme%2Fcustomer:c-{number}");
        std::fs::write(world.path(&flag), "").unwrap();
    }
    let (mut ours, mut theirs) = (
        world.operator().await,
        world.actor("operator-globex-ops").await,
    );
    let full = set(&mut ours, "tenant:acme/customer:one-more").await;
    assert_eq!(full.unwrap_err(), "RATE_LIMITED");
    for known in ["tenant:acme/customer:c-7", "tenant:acme"] {
        set(&mut ours, known).await.unwrap();
    }
    let part = set(&mut theirs, "tenant:globex/customer:x").await;
    assert_eq!(part.unwrap().scope, "tenant:globex/customer:x");
}

#[test]
fn the_bench_of_halts_runs_as_the_documents_say() {
    let world = World::prepare(&[]);
    let bench = ["halts", "--flips", "3", "--callers", "2"];
    let output = world.run("bench", &bench);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("set to last new effect, p99"),
        "{said}{failed}"
    );
}
