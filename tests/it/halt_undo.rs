//! Undo from the phone: what the last minutes wrote goes back, for who may and nobody else.

use e2e::browser::{Browser, WIDTH, chromium};
use e2e::halt_page::{Answer, PASSWORD, Visitor};
use e2e::{World, stage};
use reqwest::StatusCode;

/// A world where an agent wrote four deals: one an hour ago, one that a person changed since.
async fn wrong_writes() -> World {
    let world = World::start();
    assert!(
        world
            .run("connectord", &["sandbox", "seed", "--deals", "4"])
            .status
            .success()
    );
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    for deal in ["L-1", "L-2", "L-3", "L-4"] {
        let done = agent.carry(&stage(deal, "qualified")).await;
        agent.signed(&done).await;
        if deal == "L-1" {
            an_hour_ago(&world).await;
        }
    }
    world.person_edits("deals/L-4", "stage=lost");
    for (name, rights) in [
        ("ben", vec!["--tenant", "acme", "--undo"]),
        ("cal", vec!["--global"]),
        ("dan", vec!["--tenant", "globex", "--undo"]),
    ] {
        world.operator_of_halts(name, &rights);
    }
    world
}

async fn an_hour_ago(world: &World) {
    let url = format!("sqlite://{}", world.path("connectord.db").display());
    let journal = sqlx::SqlitePool::connect(&url).await.unwrap();
    let sql = "UPDATE execution SET created_ms = created_ms - 3600000";
    let moved = sqlx::query(sql).execute(&journal).await.unwrap();
    assert_eq!(moved.rows_affected(), 1);
}

/// Fills in the form as it was given out, but for some fields.
async fn send(phone: &Visitor, changed: &[(&str, &str)]) -> Answer {
    let form = phone.get("/halt/undo").await;
    let (at, seal) = (form.field("at"), form.field("seal"));
    let mut fields = vec![
        ("at", at.as_str()),
        ("seal", seal.as_str()),
        ("tenant", "acme"),
        ("minutes", "15"),
        ("reason", "wrong template"),
        ("operator", "ben"),
        ("password", PASSWORD),
    ];
    for (name, value) in changed {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    phone.post("/halt/undo", &fields).await
}

async fn told(phone: &Visitor, answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    phone.get(answer.header("location")).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_undoes_the_last_minutes_from_a_phone() {
    let world = wrong_writes().await;
    let phone = world.phone("connectord", "ada", &["--global"]).await;
    assert!(phone.get("/halt").await.body.contains("/halt/undo"));
    let wrote = world.effects().await.len();

    let first = send(&phone, &[]).await;
    let page = told(&phone, &first).await;
    assert!(page.contains("Undone 2 of 3 in"), "{page}");
    assert!(page.contains("1 not undone"), "{page}");
    assert_eq!(world.effects().await.len(), wrote + 2);
    // What is done is done; what was changed since still is; older writes stand.
    let again = send(&phone, &[]).await;
    assert!(told(&phone, &again).await.contains("Undone 0 of 1 in"));
    let older = send(&phone, &[("minutes", "240")]).await;
    assert!(told(&phone, &older).await.contains("Undone 1 of 2 in"));

    let (_, records) = world.settle().await;
    let undone = records.iter().filter(|record| record["kind"] == "undo");
    let by_ben = undone.filter(|record| record["values"]["by"] == "ben (phone)");
    let done = by_ben.filter(|record| record["status"] == "UNDONE");
    assert_eq!(done.count(), 3, "{records:#?}");
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_taps_at_once_and_a_doubt_are_told_as_they_are() {
    let world = wrong_writes().await;
    let phone = world.phone("connectord", "ada", &["--global"]).await;
    let wrote = world.effects().await.len();
    // Each write waits, so that the second tap comes while the first is under way.
    world.fault("slow", "10", "300");
    let (first, second) = tokio::join!(send(&phone, &[]), send(&phone, &[]));
    let mut statuses = [first.status, second.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::SEE_OTHER, StatusCode::CONFLICT]);
    for answer in [first, second] {
        if answer.status == StatusCode::SEE_OTHER {
            let page = told(&phone, &answer).await;
            assert!(page.contains("Undone 2 of 3 in"), "{page}");
        } else {
            assert!(answer.body.contains("is under way"), "{}", answer.body);
        }
    }
    assert_eq!(world.effects().await.len(), wrote + 2);
    world.fault("slow", "0", "0");

    // A write of which nobody knows whether it happened is not passed over in silence.
    let mut agent = world.agent().await;
    agent.carry(&stage("L-2", "qualified")).await;
    world.settle().await;
    let url = format!("sqlite://{}", world.path("connectord.db").display());
    let journal = sqlx::SqlitePool::connect(&url).await.unwrap();
    let doubt = "UPDATE execution SET state = 'HUMAN', body = replace(body, '\"DONE\"', \
                 '\"HUMAN\"') WHERE id = (SELECT max(id) FROM execution)";
    sqlx::query(doubt).execute(&journal).await.unwrap();
    let page = told(&phone, &send(&phone, &[]).await).await;
    assert!(page.contains("Undone 0 of 1 in"), "{page}");
    assert!(page.contains("1 in doubt"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_undoes_anything() {
    let world = wrong_writes().await;
    let phone = world.phone("connectord", "ada", &["--global"]).await;
    let other = world.phone("connectord", "eve", &["--global"]).await;
    let globex = world
        .phone("connectord", "gus", &["--tenant", "globex"])
        .await;
    let wrote = world.effects().await.len();

    let now = e2e::now_seconds().to_string();
    let old = (e2e::now_seconds() - 601).to_string();
    let of_other = other.get("/halt/undo").await.field("seal");
    for (what, changed, status, words) in [
        (
            "no reason",
            vec![("reason", " ")],
            422,
            "a reason is required",
        ),
        (
            "a wrong password",
            vec![("password", "wrong horse battery")],
            403,
            "do not fit",
        ),
        (
            "who may only resume",
            vec![("operator", "cal")],
            403,
            "add him with --undo",
        ),
        (
            "who may undo elsewhere",
            vec![("operator", "dan")],
            403,
            "Not undone",
        ),
        (
            "no such tenant",
            vec![("tenant", "nobody")],
            403,
            "OUT_OF_REACH",
        ),
        (
            "any time",
            vec![("minutes", "100000")],
            422,
            "REQUEST_MALFORMED",
        ),
        ("no seal", vec![("seal", "")], 403, "FORM_STALE"),
        (
            "another time",
            vec![("at", now.as_str()), ("seal", "00")],
            403,
            "FORM_STALE",
        ),
        ("an old form", vec![("at", old.as_str())], 403, "FORM_STALE"),
        (
            "a form of another device",
            vec![("seal", of_other.as_str())],
            403,
            "FORM_STALE",
        ),
    ] {
        let answer = send(&phone, &changed).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.body);
        assert!(answer.body.contains(words), "{what}: {}", answer.body);
        assert!(!answer.body.contains(PASSWORD), "{what}");
    }
    let answer = send(&globex, &[]).await;
    assert_eq!(
        answer.status,
        StatusCode::FORBIDDEN,
        "a device of another tenant"
    );
    let stranger = Visitor::new(&world.http("connectord"));
    assert_eq!(
        stranger.get("/halt/undo").await.status,
        StatusCode::FORBIDDEN
    );
    let _alone = world.halt_server();
    let mut there = Visitor::new(&world.http("halt-server"));
    there.set_up(&world.device("fay", &["--global"])).await;
    assert!(!there.get("/halt").await.body.contains("/halt/undo"));
    assert_eq!(there.get("/halt/undo").await.status, StatusCode::NOT_FOUND);
    // Five failed sign-ins for a name end the trying, whatever comes after them.
    for _ in 0..5 {
        send(&phone, &[("password", "wrong horse battery")]).await;
    }
    let answer = send(&phone, &[]).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.effects().await.len(), wrote);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumb_undoes_the_last_minutes() {
    let world = wrong_writes().await;
    let link = world.device("ada", &["--tenant", "acme"]);
    let base = format!("http://{}", world.http("connectord"));
    let browser = Browser::start(&chromium());
    let mut tab = browser.tab().await;
    let secret = link.rsplit('/').next().unwrap();
    tab.goto(&format!("{base}/halt/d/{secret}")).await;
    tab.follow("button").await;
    tab.follow("a[href='/halt/undo']").await;
    let wide = tab.value("document.documentElement.scrollWidth").await;
    assert!(wide.as_u64().unwrap() <= u64::from(WIDTH), "{wide}");
    tab.picture("undo").await;
    tab.fill("#why", "wrong template").await;
    tab.fill("#operator", "ben").await;
    tab.fill("#password", PASSWORD).await;
    tab.follow("form button").await;
    let text = tab.text().await;
    assert!(text.contains("Undone 2 of 3 in"), "{text}");
    tab.picture("undone").await;
}
