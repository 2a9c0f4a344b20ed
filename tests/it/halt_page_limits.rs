//! The halt page at its limits: what is on disk, hostile bodies, a store that is away, a page server alone.

use std::time::Instant;

use e2e::halt_page::{PASSWORD, Visitor};
use e2e::{PATIENCE, World, stage};
use reqwest::StatusCode;
use reqwest::header::ORIGIN;

use super::halt_page::{ALL, halted, record};

#[tokio::test(flavor = "multi_thread")]
async fn only_digests_are_on_disk_and_every_answer_has_its_headers() {
    let world = World::start();
    world.operator_of_halts("ben", &["--global"]);
    let link = world.device("ada", &["--global"]);
    let mut phone = Visitor::new(&world.http("connectord"));
    let answer = phone.set_up(&link).await;
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let secret = phone
        .cookie
        .clone()
        .unwrap()
        .split_once('=')
        .unwrap()
        .1
        .to_owned();
    let link_secret = link.rsplit('/').next().unwrap();
    assert_eq!((secret.len(), link_secret.len()), (64, 64), "256 bits each");
    for entry in std::fs::read_dir(world.path("state/halt")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for hidden in [secret.as_str(), link_secret, PASSWORD] {
            assert!(!text.contains(hidden), "{} holds {hidden}", path.display());
        }
    }
    assert!(
        !world
            .connectord
            .as_ref()
            .unwrap()
            .logged()
            .contains(&secret)
    );
    let ls = world.run("connectord", &["halt", "devices", "ls"]);
    let ls = String::from_utf8(ls.stdout).unwrap();
    assert!(
        ls.contains("ada  global  added") && !ls.contains(&secret),
        "{ls}"
    );
    for (path, status) in [
        ("/halt", 200),
        ("/", 200),
        ("/nowhere", 404),
        ("/halt/set", 405),
        ("/livez", 200),
        ("/readyz", 200),
    ] {
        let answer = phone.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        for (name, part) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'sha256-",
            ),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
        ] {
            assert!(
                answer.header(name).contains(part),
                "{path}: {name}: {}",
                answer.header(name)
            );
        }
        assert!(!answer.body.contains("<script"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_shaped() {
    let world = World::start();
    let phone = world.phone("connectord", "ada", &["--global"]).await;
    let seal = phone.seal().await;
    let long = "x".repeat(8 * 1_024);
    let form = [
        ("kind", "all"),
        ("seal", seal.as_str()),
        ("reason", long.as_str()),
    ];
    let refused = phone.post("/halt/set", &form).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        refused.body.contains("REQUEST_TOO_LARGE"),
        "{}",
        refused.body
    );
    let form = [("kind", "all"), ("seal", seal.as_str()), ("else", "x")];
    assert_eq!(
        phone.post("/halt/set", &form).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let json = phone.request(true, "/halt/set").header(ORIGIN, &phone.base);
    let json = json.json(&serde_json::json!({"kind": "all", "seal": seal}));
    assert_eq!(
        phone.send(json).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "only forms"
    );
    assert!(halted(&world).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_read_is_unknown_and_nothing_is_changed() {
    let world = World::start();
    let phone = world.phone("connectord", "ada", &["--global"]).await;
    let seal = phone.seal().await;
    assert_eq!(phone.get("/readyz").await.status, StatusCode::OK);
    std::fs::rename(world.path("state/halt"), world.path("state/away")).unwrap();
    let page = phone.get("/halt").await;
    assert!(
        page.body.contains("UNKNOWN") && !page.body.contains("<button"),
        "{}",
        page.body
    );
    let ready = phone.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(phone.get("/livez").await.status, StatusCode::OK);
    let refused = phone
        .post("/halt/set", &[("kind", "all"), ("seal", &seal)])
        .await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.body.contains("HALT_UNKNOWN"), "{}", refused.body);
    assert!(
        !world.path("state/halt").exists(),
        "an empty store would say that all runs"
    );
    std::fs::rename(world.path("state/away"), world.path("state/halt")).unwrap();
    assert_eq!(phone.get("/readyz").await.status, StatusCode::OK);
    assert!(phone.get("/halt").await.body.contains("RUNNING"));
    // What is in the store and cannot be read.
    std::fs::write(world.path("state/halt/epoch"), "nonsense").unwrap();
    assert!(phone.get("/halt").await.body.contains("UNKNOWN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_server_halts_while_everything_else_is_down() {
    let mut world = World::start();
    world.promote(&["set_stage"]).await;
    let asked = world.agent().await.ask(&stage("D-104", "qualified")).await;
    let server = world.halt_server();
    let phone = world.phone("halt-server", "ada", &["--global"]).await;
    drop(world.policyd.take());
    world.kill_connectord();
    let form = [
        ("kind", "tenant"),
        ("name", "acme"),
        ("reason", "nobody at home"),
    ];
    let (answer, page) = phone.halt(&form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(
        page.body.contains("Everything of tenant acme"),
        "{}",
        page.body
    );
    assert_eq!(halted(&world), ["tenant:acme"]);
    drop(server);
    // Who comes back obeys, and tells who halted and why.
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    let refused = world.agent().await.present(&asked).await;
    assert_eq!(refused.unwrap_err(), "HALTED");
    record(&world, "HALTED", &["ada (phone)", "nobody at home"]).await;
    assert!(world.effects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_redis_every_page_shares_devices_operators_and_halts() {
    if !e2e::redis::installed() {
        return;
    }
    let redis = e2e::redis::Redis::start();
    let mut world = World::prepare(&[]);
    let store = format!("halt.store={}", redis.url());
    world.overrides = vec![store.clone()];
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    let program = e2e::program("connectord");
    let args = ["halt-server", "--addr", "127.0.0.1:0", "--set", &store];
    let _server = e2e::Process::start(world.folder.path(), "halt-server", &program, &args, &[]);
    let armed = ["halt", "arm", "--reason", "new", "--set", &store];
    world.told(&armed);
    let added = world.told(&["halt", "devices", "add", "ada", "--global", "--set", &store]);
    let mut phone = Visitor::new(&world.http("halt-server"));
    let answer = phone.set_up(added["link"].as_str().unwrap()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    std::fs::write(world.path("password"), PASSWORD).unwrap();
    world.told(&[
        "halt",
        "operators",
        "add",
        "ben",
        "--global",
        "--password-file",
        "password",
        "--set",
        &store,
    ]);
    let started = Instant::now();
    while phone.get("/halt").await.body.contains("UNKNOWN") {
        assert!(
            started.elapsed() < PATIENCE,
            "nobody heard that it is armed"
        );
    }
    let (_, page) = phone.halt(ALL).await;
    assert!(page.body.contains("Acknowledged 1 of 1"), "{}", page.body);
    record(&world, "HALTED", &["ada (phone)"]).await;
    // The other server knows the cookie, the seal and the password.
    let mut there = phone.clone();
    there.base = format!("http://{}", world.http("connectord"));
    let done = there.resume("global", "ben", PASSWORD, "all is well").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    record(&world, "RUNNING", &["ben (phone)", "all is well"]).await;
    let seal = phone.seal().await;
    redis.cut();
    let refused = phone
        .post("/halt/set", &[("kind", "all"), ("seal", &seal)])
        .await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    let started = Instant::now();
    while !phone.get("/halt").await.body.contains("UNKNOWN") {
        assert!(
            started.elapsed() < PATIENCE,
            "a Redis that is gone is not known"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_policyd_dead_the_page_halts_and_resumes() {
    let mut world = World::start();
    world.operator_of_halts("ben", &["--global"]);
    let phone = world.phone("connectord", "ada", &["--global"]).await;
    drop(world.policyd.take());
    let (_, page) = phone.halt(ALL).await;
    assert!(page.body.contains("Acknowledged 1 of 1"), "{}", page.body);
    let done = phone.resume("global", "ben", PASSWORD, "fine again").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    world.start_policyd();
    record(&world, "HALTED", &["ada (phone)"]).await;
    record(&world, "RUNNING", &["ben (phone)", "fine again"]).await;
}

/// The code blocks of a document that start with a word.
fn blocks(text: &str, start: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.strip_prefix(start))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_server_needs_no_more_than_its_document_says() {
    let world = World::prepare(&[]);
    let text = std::fs::read_to_string(e2e::root().join("docs/halt-page.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["certs", "keys", "state/halt"] {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    for (from, to) in [
        ("certs/connectord.pem", "certs/halt.pem"),
        ("keys/connectord-tls.pem", "keys/halt-tls.pem"),
    ] {
        std::fs::copy(world.path(from), folder.path().join(to)).unwrap();
    }
    let config = blocks(&text, "toml\n").pop().unwrap();
    std::fs::write(folder.path().join("halt.toml"), config).unwrap();
    let commands = blocks(&text, "\n").concat();
    assert_eq!(commands.lines().count(), 3, "{commands}");
    for line in commands.lines().take(2) {
        let mut command = std::process::Command::new(e2e::program("connectord"));
        command
            .args(line.split_whitespace().skip(1))
            .args(["--config", "halt.toml"]);
        command
            .current_dir(folder.path())
            .stdin(std::process::Stdio::piped());
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Who asks for no password may have ended already.
        let _unread = std::io::Write::write_all(&mut stdin, PASSWORD.as_bytes());
        drop(stdin);
        assert!(child.wait().unwrap().success(), "{line}");
    }
    let args: Vec<&str> = commands
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .skip(1)
        .collect();
    let args = [args.as_slice(), &["--addr", "127.0.0.1:0"]].concat();
    let program = e2e::program("connectord");
    let server = e2e::Process::start(folder.path(), "halt-server", &program, &args, &[]);
    let ready = std::fs::read_to_string(folder.path().join("halt-server.ready")).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let page = client.get(format!("https://{}/halt", ready["http"].as_str().unwrap()));
    let page = page.send().await.unwrap();
    assert!(page.headers().contains_key("strict-transport-security"));
    assert!(
        page.text().await.unwrap().contains("RUNNING"),
        "{}",
        server.logged()
    );
}

#[test]
fn passwords_and_names_are_checked_and_plaintext_stays_on_the_machine() {
    let world = World::prepare(&[]);
    let refused = |args: &[&str], code: &str| {
        let output = world.run("connectord", args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(code),
            "{args:?}: {said}"
        );
    };
    let short = world.path("short");
    std::fs::write(&short, "too short").unwrap();
    let short = short.display().to_string();
    refused(
        &[
            "halt",
            "operators",
            "add",
            "ben",
            "--global",
            "--password-file",
            &short,
        ],
        "at least 12",
    );
    refused(&["halt", "operators", "add", "ben"], "--global");
    refused(
        &["halt", "devices", "add", "a b", "--global"],
        "REQUEST_MALFORMED",
    );
    refused(&["halt", "devices", "revoke", "nobody"], "NOT_FOUND");
    refused(&["halt-server", "--addr", "0.0.0.0:0"], "http_plaintext");
    world.device("ada", &["--global"]);
    refused(&["halt", "devices", "add", "ada", "--global"], "already");
}
