//! The halt page from outside, request by request: what is refused, and what a halt and a resume
//! leave behind.

use std::time::Instant;

use e2e::halt_page::{PASSWORD, Visitor};
use e2e::{PATIENCE, World, stage};
use reqwest::StatusCode;
use reqwest::header::{HOST, ORIGIN};

pub(super) const ALL: &[(&str, &str)] = &[("kind", "all")];

/// The scopes that are halted now, as the command line tells them.
pub(super) fn halted(world: &World) -> Vec<String> {
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
pub(super) async fn record(world: &World, status: &str, words: &[&str]) -> serde_json::Value {
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
    assert!(agent.carry(&stage("D-104", "qualified")).await.wrote);
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
    let again = phone.clone().set_up(&link).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "and only once");
    assert!(again.body.contains("HALT_LINK_INVALID"), "{}", again.body);
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
