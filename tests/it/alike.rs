//! What is denied again and again is counted, and what an agent says of why it asks is kept.

use e2e::{Actor, World, code, refund};
use writ_proto::pb;

/// Bytes as values show them.
fn shown(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Records of alike denials within a minute.
const RECORDED: usize = 100;
const MORE: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_alike_denials_are_records_and_the_others_one_count() {
    let mut world = World::start();
    let mut agent = world.agent().await;
    let (mut denied, mut counted) = (0, 0);
    for _ in 0..RECORDED + MORE {
        let request = Actor::request(&refund("O-1", "9999"));
        match agent.authorize.authorize(request).await {
            Ok(answer) => {
                let decision = answer.into_inner().decision.unwrap();
                assert_eq!(decision.verdict, i32::from(pb::Verdict::Deny));
                denied += 1;
            }
            Err(status) => {
                assert_eq!(code(&status), "RATE_LIMITED", "{status}");
                assert!(status.message().contains("only counted"), "{status}");
                counted += 1;
            }
        }
    }
    assert_eq!((denied, counted), (RECORDED, MORE));
    // Another reason and another agent are not held up by it.
    let other = agent.ask(&refund("O-1", "1")).await;
    assert_ne!(other.decision.reason_code, "RATE_LIMITED");
    let mut second = world.actor("agent-acme-seller").await;
    let asked = second.ask(&refund("O-1", "9999")).await;
    assert_eq!(asked.decision.verdict, i32::from(pb::Verdict::Deny));

    // The count is written down at the latest when policyd ends.
    world.policyd.take().unwrap().end();
    world.start_policyd();
    let records = world.records().await;
    let counts: Vec<&serde_json::Value> = records
        .iter()
        .filter(|record| record["kind"] == "denials_counted")
        .collect();
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert_eq!(counts[0]["values"]["counted"]["denials"], MORE);
    assert_eq!(counts[0]["agent"], "triage");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_id_decided_is_answered_however_often_others_are_denied() {
    let world = World::start();
    let mut agent = world.agent().await;
    let request = Actor::request(&e2e::stage("D-104", "qualified"));
    let first = agent.ask_for(request.clone()).await.decision;
    assert!(!first.token.is_empty());
    // From now on the same is denied, and so often that it is only counted.
    let args = [
        "halt",
        "on",
        "--scope",
        "tenant:acme/action:set_stage",
        "--reason",
        "test",
    ];
    assert!(world.run("connectord", &args).status.success());
    let started = std::time::Instant::now();
    loop {
        let more = Actor::request(&e2e::stage("D-104", "proposal"));
        match agent.authorize.authorize(more).await {
            Err(status) if code(&status) == "RATE_LIMITED" => break,
            answer => drop(answer.unwrap()),
        }
        assert!(started.elapsed() < e2e::PATIENCE);
    }
    let again = agent.ask_for(request).await.decision;
    assert_eq!((again.name, again.token), (first.name, first.token));
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_that_are_only_counted_open_incidents_too() {
    let rule = "\n[[incident]]\nid = \"many\"\nactions = [\"refund\"]\ndenials = 5\nwindow = \"1s\"\nhalt = \"none\"\n";
    let world = crate::incidents::world(rule);
    let mut agent = world.agent().await;
    // One that comes again and again with one id takes no record from others.
    let request = Actor::request(&refund("O-1", "9999"));
    for _ in 0..RECORDED + MORE {
        agent.authorize.authorize(request.clone()).await.ok();
    }
    let open = async || {
        let records = world.records().await;
        let opened = |record: &&serde_json::Value| record["kind"] == "incident_opened";
        records.iter().filter(opened).count()
    };
    let before = open().await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    for _ in 0..10 {
        let denied = Actor::request(&refund("O-2", "9999"));
        agent.authorize.authorize(denied).await.ok();
    }
    assert!(open().await > before, "a burst that is only counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_refused_tokens_are_records_and_the_others_one_count() {
    let mut world = World::start();
    let mut agent = world.agent().await;
    let asked = agent.ask(&refund("O-1", "1")).await;
    for _ in 0..RECORDED + MORE {
        let mut request = Actor::execute_request(&asked);
        request.token = vec![1; 64];
        // Whoever is counted is told the same as the others.
        assert_eq!(agent.send(request).await.unwrap_err(), "TOKEN_MALFORMED");
    }
    world.connectord.take().unwrap().end();
    world.start_connectord(&e2e::program("connectord"), &[]);
    let started = std::time::Instant::now();
    loop {
        let records = world.records().await;
        let refused = records
            .iter()
            .filter(|record| record["kind"] == "token_refused");
        let notes: Vec<String> = refused.map(|record| record["values"].to_string()).collect();
        let more = format!("{MORE} more like the {RECORDED}");
        if notes.iter().any(|note| note.contains(&more)) {
            assert_eq!(notes.len(), RECORDED + 1);
            break;
        }
        assert!(started.elapsed() < e2e::PATIENCE, "{notes:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_began_it_with_what_is_kept_and_is_in_no_leaf() {
    let world = World::start();
    let mut agent = world.agent().await;
    let said = pb::Provenance {
        initiator: "ticket 4711 of ada".into(),
        prompt_sha256: vec![7; 32],
        model: "some-model-2026-11".into(),
        tool_answer: "the customer wants 10 EUR back".into(),
    };
    let request = pb::AuthorizeRequest {
        provenance: Some(said.clone()),
        ..Actor::request(&refund("O-1", "10"))
    };
    agent.ask_for(request.clone()).await;
    let cases = [
        pb::Provenance {
            initiator: "x".repeat(129),
            ..said.clone()
        },
        pb::Provenance {
            model: "x".repeat(129),
            ..said.clone()
        },
        pb::Provenance {
            prompt_sha256: vec![7; 31],
            ..said.clone()
        },
        pb::Provenance {
            tool_answer: "x".repeat(16 * 1024 + 1),
            ..said.clone()
        },
    ];
    for wrong in cases {
        let wrong = pb::AuthorizeRequest {
            provenance: Some(wrong),
            request_id: e2e::request_id(),
            ..request.clone()
        };
        assert!(agent.authorize.authorize(wrong).await.is_err());
    }
    let records = world.records().await;
    let kept = records
        .iter()
        .find_map(|record| record["values"].get("provenance"))
        .expect("it is kept");
    assert_eq!(kept["initiator"], said.initiator.as_str());
    assert_eq!(kept["model"], said.model.as_str());
    assert_eq!(kept["tool_answer"], said.tool_answer.as_str());
    assert_eq!(kept["prompt_sha256"], shown(&[7; 32]));
    let leaves = String::from_utf8_lossy(&world.export().await).into_owned();
    assert!(!leaves.contains("4711") && !leaves.contains("wants 10 EUR"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_who_began_it() {
    let world = World::start();
    std::fs::write(world.path("prompt.txt"), "be careful").unwrap();
    std::fs::write(world.path("answer.txt"), "a tool said so").unwrap();
    let addr = format!("https://localhost:{}", world.policyd_port);
    let args = [
        "authorize",
        "set_stage",
        "stage=qualified",
        "--target",
        "deal/D-104",
        "--reason",
        "asked",
        "--initiator",
        "ticket 12",
        "--model",
        "m-1",
        "--prompt",
        "prompt.txt",
        "--tool-answer",
        "answer.txt",
        "--addr",
        &addr,
        "--cert",
        "certs/agent-acme-triage.pem",
    ];
    let output = world.run("policyd", &args);
    assert!(output.status.success(), "{output:?}");
    let told = format!("{:?}", world.records().await);
    let digest = shown(&writ_proto::digest::sha256(b"be careful"));
    for part in ["ticket 12", "m-1", "a tool said so", &digest] {
        assert!(told.contains(part), "{part}");
    }
    assert!(
        !told.contains("be careful"),
        "the prompt itself is kept nowhere"
    );
}
