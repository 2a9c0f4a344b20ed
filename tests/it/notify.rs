//! What people are told: sent until it is taken, given up aloud, and free of secrets.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::receiver::{Act, Receiver};
use e2e::{PATIENCE, World, refund};
use hmac::{Hmac, KeyInit as _, Mac as _};
use writ_proto::pb;
use writ_proto::pb::notice_service_client::NoticeServiceClient;

const TOKEN: &str = "xoxb-canary-token";
const OK: Act = Act::Say(200, "", "{\"ok\":true}");

/// A world whose policyd tells somebody; everything is logged. Through the proxy that it is offered nobody would
/// hear of anything.
fn world(notify: &str, secrets: &[(&str, &str)]) -> World {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut world = World::prepare(&[
        ("RUST_LOG", "trace"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("NO_PROXY", ""),
    ]);
    for (name, secret) in secrets {
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600);
        let mut file = file.open(world.path(name)).unwrap();
        std::io::Write::write_all(&mut file, secret.as_bytes()).unwrap();
    }
    configure(&world, notify);
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world
}

/// Puts a section in place of the one that `init` wrote, which is the last.
fn configure(world: &World, notify: &str) {
    let path = world.path("policyd.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let (others, _) = config.split_once("\n[notify]").unwrap();
    std::fs::write(&path, format!("{others}\n{notify}")).unwrap();
}

/// A decision that waits for a person.
async fn approval(world: &World) {
    let mut agent = world.agent().await;
    let asked = agent.ask(&refund("O-9", "600.00")).await;
    let verdict = i32::from(pb::Verdict::RequireApproval);
    assert_eq!(asked.decision.verdict, verdict, "{:?}", asked.decision);
}

pub(super) async fn notices(world: &World) -> Vec<pb::Notice> {
    let channel = world.policyd_channel("operator-acme-ops").await;
    let request = pb::ListNoticesRequest {
        parent: "tenants/acme".into(),
        page_size: 100,
    };
    let mut client = NoticeServiceClient::new(channel);
    let answer = client.list_notices(request);
    answer.await.unwrap().into_inner().notices
}

/// Waits until a notice stands as it should.
async fn until(world: &World, state: pb::NoticeState) -> pb::Notice {
    let started = Instant::now();
    loop {
        let found = notices(world).await;
        if let Some(notice) = found.iter().find(|notice| notice.state == i32::from(state)) {
            return notice.clone();
        }
        assert!(started.elapsed() < PATIENCE, "{found:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_to_slack_until_slack_says_that_it_has_it() {
    let slack = Receiver::start(&[
        Act::Say(200, "", "{\"ok\":false,\"error\":\"not_in_channel\"}"),
        Act::Say(429, "retry-after: 2\r\n", ""),
        Act::Say(500, "", "ok"),
        Act::Cut,
        OK,
    ])
    .await;
    let notify = format!(
        "[notify]\ntries = 9\n[notify.slack]\ntoken_file = \"slack.secret\"\nchannel = \"#ops\"\n\
         api_url = \"{}/api\"\n",
        slack.url()
    );
    let world = world(&notify, &[("slack.secret", TOKEN)]);
    approval(&world).await;
    let notice = until(&world, pb::NoticeState::Delivered).await;
    assert_eq!(
        (notice.tries, notice.sinks.as_slice()),
        (5, &["slack".to_owned()][..])
    );
    let got = slack.got();
    assert_eq!(got.len(), 5);
    assert!(
        got[2].when - got[1].when >= Duration::from_secs(2),
        "Retry-After"
    );
    for message in &got {
        assert_eq!(message.path, "/api/chat.postMessage");
        assert_eq!(message.header("authorization"), format!("Bearer {TOKEN}"));
        let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["channel"], "#ops");
        assert!(message.body.contains("refund") && message.body.contains("triage"));
        for private in ["600", "O-9", "the customer asked", TOKEN] {
            assert!(
                !message.body.contains(private),
                "{private}: {}",
                message.body
            );
        }
    }
    let log = world.policyd.as_ref().unwrap().logged();
    assert!(
        log.contains("a notice was delivered"),
        "the log has everything"
    );
    assert!(!log.contains(TOKEN), "a secret is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_is_given_up_aloud_and_the_url_stays_secret() {
    let slack = Receiver::start(&[Act::Say(302, "location: http://127.0.0.1:9/\r\n", "")]).await;
    let url = format!("{}/services/canary-hook", slack.url());
    let notify = "[notify]\ntries = 2\n[notify.slack]\nwebhook_file = \"slack.secret\"\n";
    let world = world(notify, &[("slack.secret", &url)]);
    approval(&world).await;
    let notice = until(&world, pb::NoticeState::Dead).await;
    assert_eq!((notice.tries, slack.got().len()), (2, 2));
    assert_eq!(notice.error, "slack: status 302, not ok");
    let port = format!("https://127.0.0.1:{}", world.policyd_port);
    let cert = "certs/operator-acme-ops.pem";
    let args = [
        "notices", "ls", "--addr", &port, "--cert", cert, "--state", "dead",
    ];
    let output = world.run("policyd", &args);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        shown.contains("dead") && shown.contains("after 2 tries"),
        "{shown}"
    );
    let log = world.policyd.as_ref().unwrap().logged();
    assert!(log.contains("a notice was given up"), "{log}");
    assert!(!log.contains("canary-hook"), "a secret is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_and_one_that_is_away_does_not_hold_up_the_other() {
    let (slack, hook) = (
        Receiver::start(&[Act::Say(200, "", "ok")]).await,
        Receiver::start(&[Act::Silence, Act::Say(503, "", ""), Act::Say(204, "", "")]).await,
    );
    let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
    let notify = format!(
        "[notify.slack]\nwebhook_file = \"slack.secret\"\n\
         [notify.webhook]\nurl = \"{}/in\"\nsecret_file = \"hook.secret\"\n",
        hook.url()
    );
    let url = format!("{}/services/x", slack.url());
    let world = world(&notify, &[("slack.secret", &url), ("hook.secret", &secret)]);
    approval(&world).await;
    approval(&world).await;
    let notice = until(&world, pb::NoticeState::Delivered).await;
    assert_eq!(slack.got().len(), 1, "who has it does not get it again");
    assert_eq!(notice.repeats, 1, "said twice within the window, sent once");
    assert_eq!(notices(&world).await.len(), 1);
    let got = hook.got();
    assert_eq!((got.len(), notice.tries), (3, 3));
    for message in &got {
        let (id, time) = (
            message.header("webhook-id"),
            message.header("webhook-timestamp"),
        );
        assert!(notice.name.ends_with(id), "{id}");
        let signed = format!("{id}.{time}.{}", message.body);
        let mac = Hmac::<sha2::Sha256>::new_from_slice(&[7; 32]).unwrap();
        let mac = mac.chain_update(signed.as_bytes()).finalize().into_bytes();
        let wanted = format!("v1,{}", STANDARD.encode(mac));
        assert_eq!(message.header("webhook-signature"), wanted);
        let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["type"], "writ.approval_waiting");
    }
}

#[test]
fn a_sink_that_cannot_be_used_ends_the_start() {
    let table = [
        ("http://hooks.example/in", 0o600, "loopback only"),
        ("https://10.0.0.1/in", 0o600, "a private address"),
        ("https://hooks.example/in", 0o644, "KEY_FILE_MODE"),
    ];
    for (url, mode, wanted) in table {
        let world = World::prepare(&[]);
        let path = world.path("hook.secret");
        std::fs::write(&path, format!("whsec_{}", STANDARD.encode([7; 32]))).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&path, mode).unwrap();
        let hook = format!("[notify.webhook]\nurl = \"{url}\"\nsecret_file = \"hook.secret\"\n");
        configure(&world, &hook);
        let output = world.run("policyd", &["server"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(wanted), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_policies_and_halts_are_told() {
    let world = World::start();
    let path = world.path("policies/acme/broken.cedar");
    std::fs::write(&path, "permit (principal, action, resource)").unwrap();
    let mut operator = world.operator().await;
    let request = pb::SetHaltRequest {
        scope: "agent:seller".into(),
        reason: "a test".into(),
        ..pb::SetHaltRequest::default()
    };
    operator.halt.set_halt(request).await.unwrap();
    let started = Instant::now();
    loop {
        let found = notices(&world).await;
        let kind = |kind: &str| found.iter().find(|notice| notice.kind == kind);
        if let (Some(reload), Some(halt)) = (kind("policy_reload_failed"), kind("halt_set")) {
            assert_eq!(reload.fields[1].value, "POLICY_INVALID");
            let scope = &halt.fields[1].value;
            assert!(scope.ends_with("agent:seller"), "{scope}");
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{found:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
