//! The halt page from outside, request by request: what is refused, and what a halt and a resume
//! leave behind.

use std::time::Instant;

use e2e::halt_page::{PASSWORD, Visitor};
use e2e::{PATIENCE, World, stage};
use reqwest::StatusCode;
use reqwest::header::{HOST, ORIGIN};

const ALL: &[(&str, &str)] = &[("kind", "all")];

/// The scopes that are halted now, as the command line tells them.
fn halted(world: &World) -> Vec<String> {
    let output = world.run("connectord", &["halt", "status", "-o", "jsonl"]);
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .filter_map(|line| line["scope"].as_str().map(str::to_owned))
        .collect()
}

/// Waits for a record of a halt that holds some words.
async fn record(world: &World, status: &str, words: &[&str]) -> serde_json::Value {
    let started = Instant::now();
    loop {
        let records = world.records().await;
        let fits = |record: &&serde_json::Value| {
            let text = record.to_string();
            text.contains(status) && words.iter().all(|word| text.contains(word))
        };
        if let Some(found) = records.iter().find(fits) {
            return found.clone();
        }
        assert!(
            started.elapsed() < PATIENCE,
            "no {status} {words:?} in {records:#?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_halts_everything_and_an_operator_resumes_and_both_are_records() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    world.operator_of_halts("ben", &["--global"]);
    let phone = world.phone("connectord", "ada", &["--global"]).await;
    let (answer, page) = phone.halt(ALL).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(
        page.body.contains("HALTED") && page.body.contains("Acknowledged 1 of 1 in"),
        "{}",
        page.body
    );
    assert!(page.body.contains("by ada (phone)"), "{}", page.body);
    record(&world, "HALTED", &["ada (phone)", "global"]).await;

    let refused = phone
        .resume("global", "ben", "wrong password", "all is well")
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(
        refused.body.contains("operator and password do not fit"),
        "{}",
        refused.body
    );
    let refused = phone.resume("global", "ben", PASSWORD, " ").await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "no reason"
    );
    assert_eq!(halted(&world), ["global"]);
    let done = phone
        .resume("global", "ben", PASSWORD, "template was repaired")
        .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    assert!(halted(&world).is_empty());
    record(&world, "RUNNING", &["ben (phone)", "template was repaired"]).await;
    let mut agent = world.agent().await;
    let started = Instant::now();
    let asked = loop {
        // policyd hears of it a moment later.
        let asked = agent.ask(&stage("D-104", "qualified")).await;
        if !asked.decision.token.is_empty() {
            break asked;
        }
        assert!(started.elapsed() < PATIENCE, "{:?}", asked.decision);
    };
    assert!(agent.present(&asked).await.unwrap().wrote);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_changes_nothing_and_no_cookie_halts_nothing() {
    let world = World::start();
    let link = world.device("ada", &["--global"]);
    let secret = link.rsplit('/').next().unwrap().to_owned();
    let stranger = Visitor::new(&world.http("connectord"));
    // What a preview of a link does, as often as it likes.
    for _ in 0..3 {
        let page = stranger.get(&format!("/halt/d/{secret}")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.headers.get("set-cookie").is_none() && page.body.contains("Use this device"));
    }
    for path in ["/halt/set", "/halt/set?kind=all", "/halt/device"] {
        assert_eq!(
            stranger.get(path).await.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{path}"
        );
    }
    for path in ["/halt/resume", "/halt/resume?scope=global"] {
        let refused = stranger.get(path).await.status;
        assert!(refused.is_client_error(), "{path}");
    }
    let mut phone = stranger.clone();
    assert_eq!(
        phone.set_up(&link).await.status,
        StatusCode::SEE_OTHER,
        "the link still works"
    );
    assert_eq!(
        phone.clone().set_up(&link).await.status,
        StatusCode::NOT_FOUND,
        "and only once"
    );
    let seal = phone.seal().await;
    for path in [
        "/halt?done=h.9.9.1.1.00",
        "/halt/live",
        "/halt/set?kind=all",
        "/",
    ] {
        let page = phone.get(path).await;
        assert!(!page.body.contains("Acknowledged"), "{path}: {}", page.body);
    }
    assert!(halted(&world).is_empty());
    // With the seal, without the cookie.
    let form = [("kind", "all"), ("seal", seal.as_str())];
    let refused = stranger.post("/halt/set", &form).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(
        refused.body.contains("HALT_DEVICE_REQUIRED"),
        "{}",
        refused.body
    );
    let page = stranger.get("/halt").await;
    assert!(page.body.contains("RUNNING") && !page.body.contains("<button"));
    assert!(halted(&world).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_another_device_or_none_is_refused() {
    let world = World::start();
    let ada = world.phone("connectord", "ada", &["--global"]).await;
    let eve = world.phone("connectord", "eve", &["--global"]).await;
    let (own, other) = (ada.seal().await, eve.seal().await);
    let form = |seal: &str| {
        vec![
            ("kind".to_owned(), "all".to_owned()),
            ("seal".to_owned(), seal.to_owned()),
        ]
    };
    let post = |seal: &str| ada.request(true, "/halt/set").form(&form(seal));
    let localhost = ada.base.replace("127.0.0.1", "localhost");
    for (what, request) in [
        ("no origin", post(&own)),
        (
            "another origin",
            post(&own).header(ORIGIN, "http://evil.example"),
        ),
        ("the origin of nobody", post(&own).header(ORIGIN, "null")),
        (
            "another name of ours",
            post(&own).header(ORIGIN, &localhost),
        ),
        (
            "another site",
            post(&own)
                .header(ORIGIN, &ada.base)
                .header("sec-fetch-site", "cross-site"),
        ),
        (
            "a name that points at us",
            post(&own)
                .header(ORIGIN, "http://evil.example")
                .header(HOST, "evil.example"),
        ),
        (
            "the seal of another device",
            post(&other).header(ORIGIN, &ada.base),
        ),
        ("no seal", post("").header(ORIGIN, &ada.base)),
    ] {
        let refused = ada.send(request).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{what}");
        let named = refused.body.contains("CROSS_SITE") || refused.body.contains("FORM_STALE");
        assert!(named, "{what}: {}", refused.body);
    }
    assert!(halted(&world).is_empty());
    let by_address = |path: &str| ada.request(false, path).header(HOST, "192.0.2.7:7361");
    assert_eq!(
        ada.send(by_address("/halt")).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        ada.send(by_address("/readyz")).await.status,
        StatusCode::OK,
        "a probe"
    );
    let fine = ada.send(post(&own).header(ORIGIN, &ada.base)).await;
    assert_eq!(fine.status, StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_a_tenant_halts_its_own_only_and_a_revoked_one_nothing() {
    let world = World::start();
    let phone = world
        .phone("connectord", "ada", &["--tenant", "acme"])
        .await;
    for form in [
        vec![("kind", "tenant"), ("name", "globex")],
        vec![("kind", "all"), ("tenant", "globex")],
        vec![("kind", "agent"), ("name", "triage"), ("tenant", "globex")],
    ] {
        phone.halt(&form).await;
        let wrong = halted(&world)
            .iter()
            .any(|scope| !scope.starts_with("tenant:acme"));
        assert!(!wrong, "{form:?}: {:?}", halted(&world));
    }
    let (answer, _) = phone.halt(&[("kind", "tenant"), ("name", "globex")]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.body.contains("OUT_OF_REACH"), "{}", answer.body);
    let (_, page) = phone.halt(&[("kind", "action"), ("name", "refnd")]).await;
    assert!(page.body.contains("spelt right"), "{}", page.body);
    let (_, page) = phone.halt(&[("kind", "customer"), ("name", "c-7")]).await;
    assert!(!page.body.contains("spelt right"), "{}", page.body);
    assert!(halted(&world).contains(&"tenant:acme/customer:c-7".to_owned()));
    for name in ["", " ", &"x".repeat(129)] {
        let (answer, _) = phone.halt(&[("kind", "customer"), ("name", name)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
    }
    let before = halted(&world);
    let seal = phone.seal().await;
    world.told(&["halt", "devices", "revoke", "ada"]);
    let form = [("kind", "agent"), ("name", "triage"), ("seal", &seal)];
    let refused = phone.post("/halt/set", &form).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.body.contains("HALT_DEVICE_REQUIRED"));
    assert_eq!(halted(&world), before);
    // An operator of one tenant does not resume all of them.
    let all = world.phone("connectord", "ops", &["--global"]).await;
    world.operator_of_halts("amy", &["--tenant", "acme"]);
    all.halt(ALL).await;
    let refused = all.resume("global", "amy", PASSWORD, "fine").await;
    assert!(
        refused.body.contains("this belongs to more"),
        "{}",
        refused.body
    );
    let done = all.resume("tenant:acme", "amy", PASSWORD, "fine").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    assert!(halted(&world).contains(&"global".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_limited_and_never_stops_a_halt() {
    let world = World::start();
    world.operator_of_halts("ben", &["--global"]);
    let phone = world.phone("connectord", "ada", &["--global"]).await;
    phone.halt(ALL).await;
    for name in ["ben", "nobody"] {
        for _ in 0..5 {
            let refused = phone.resume("global", name, "guess guess guess", "x").await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN);
            let (known, unknown) = ("do not fit", "SIGN_IN_FAILED");
            assert!(refused.body.contains(known) || refused.body.contains(unknown));
        }
        let locked = phone.resume("global", name, PASSWORD, "x").await;
        assert_eq!(
            locked.status,
            StatusCode::TOO_MANY_REQUESTS,
            "the right one too: {name}"
        );
        assert!(locked.body.contains("too many sign-ins"), "{}", locked.body);
    }
    assert_eq!(halted(&world), ["global"]);
    let (answer, _) = phone.halt(&[("kind", "tenant"), ("name", "acme")]).await;
    assert_eq!(
        answer.status,
        StatusCode::SEE_OTHER,
        "halting asks no counter"
    );
    assert_eq!(halted(&world), ["global", "tenant:acme"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_resuming_ends_the_halt_it_was_made_for_and_no_other() {
    let world = World::start();
    world.operator_of_halts("ben", &["--global"]);
    let phone = world.phone("connectord", "ada", &["--global"]).await;
    let eve = world.phone("connectord", "eve", &["--global"]).await;
    phone.halt(ALL).await;
    let form = phone.get("/halt/resume?scope=global").await;
    let (until, seal) = (form.field("until"), form.field("seal"));
    let later = (until.parse::<i64>().unwrap() + 1).to_string();
    let filled = |until: &str, seal: &str, scope: &str| {
        [
            ("scope", scope),
            ("until", until),
            ("seal", seal),
            ("operator", "ben"),
            ("password", PASSWORD),
            ("reason", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let send = async |visitor: &Visitor, form: &[(String, String)]| {
        let request = visitor
            .request(true, "/halt/resume")
            .header(ORIGIN, &visitor.base)
            .form(form);
        visitor.send(request).await
    };
    phone.halt(&[("kind", "tenant"), ("name", "acme")]).await;
    for (visitor, form) in [
        (&eve, filled(&until, &seal, "global")),
        (&phone, filled(&later, &seal, "global")),
        (&phone, filled(&until, "00", "global")),
        (&phone, filled(&until, &seal, "tenant:acme")),
    ] {
        let refused = send(visitor, &form).await;
        assert!(
            refused.body.contains("FORM_STALE"),
            "{form:?}: {}",
            refused.body
        );
    }
    let form = filled(&until, &seal, "global");
    assert_eq!(send(&phone, &form).await.status, StatusCode::SEE_OTHER);
    // The same form again, as a browser that loads the page anew would send it, after a new halt.
    phone.halt(ALL).await;
    let refused = send(&phone, &form).await;
    assert!(refused.body.contains("FORM_STALE"), "{}", refused.body);
    assert_eq!(halted(&world), ["global", "tenant:acme"]);
}

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
        ("/", 303),
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
