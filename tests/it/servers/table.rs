//! A plain table of PostgreSQL behind its system file.

use e2e::{Wish, World};
use serde_json::{Value as Json, json};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

use super::super::halt::set;
use super::super::rollout::present;
use super::{undone, wish, world_with};

/// A world with one table behind it, its database, and the role that connectord logs in as.
pub(super) async fn table() -> Option<(World, sqlx::PgPool, String)> {
    let Some(server) = e2e::postgres::server() else {
        println!("SKIPPED: WRIT_TEST_POSTGRES names no server");
        return None;
    };
    let url = e2e::postgres::fresh_database(&server).await;
    let admin = sqlx::PgPool::connect(&url).await.unwrap();
    let role = format!("writ_hands_{}", e2e::request_id().replace('-', ""));
    let make = format!(
        "CREATE TABLE ticket (id int PRIMARY KEY, status text NOT NULL, amount numeric(12,2), due timestamptz, tags text[], meta jsonb, secret text);
         INSERT INTO ticket VALUES (7, 'open', 12.50, '2026-11-28T10:00:00+01', ARRAY['b','a'], '{{\"x\":1e30}}', 's'), (8, 'open', 1, NULL, NULL, NULL, 's');
         CREATE TABLE ticket_line (ticket int, nr int, price numeric(12,2), labels jsonb, PRIMARY KEY (ticket, nr));
         INSERT INTO ticket_line VALUES (7, 1, 5, '[\"b\", \"a\"]'), (7, 2, 5, NULL), (8, 1, 5, '[]');
         CREATE TABLE intake (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL, amount numeric(12,2), due timestamptz,
           state text NOT NULL DEFAULT 'waiting', writ_key uuid NOT NULL UNIQUE, CONSTRAINT no_spam CHECK (what <> 'spam'));
         CREATE ROLE {role} LOGIN PASSWORD 'pw-of-a-test';
         GRANT SELECT ON ticket TO {role}; GRANT UPDATE (status, amount, due, tags) ON ticket TO {role};
         GRANT SELECT ON ticket_line TO {role}; GRANT UPDATE (price, labels) ON ticket_line TO {role};
         GRANT SELECT ON intake TO {role}; GRANT INSERT (what, amount, due, writ_key) ON intake TO {role};
         CREATE ROLE {role}_r NOLOGIN; GRANT SELECT ON ticket, ticket_line, intake TO {role}_r; GRANT {role}_r TO {role};"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(make))
        .execute(&admin)
        .await
        .unwrap();
    let base = url.replace("postgres://writ@", &format!("postgres://{role}@"));
    let line = (
        "line",
        "verb = \"update_fields\"\ntarget = \"line\"\n[caps]\nrecords_per_day = 50\n[args.price]\ntype = \"decimal\"\ndecimals = 2\nmin = \"0\"\nmax = \"1000\"\n[args.labels]\ntype = \"list\"\nmax_items = 5\noptional = true\n[args.labels.of]\ntype = \"text\"\nmax_chars = 20\n",
    );
    let ticket = (
        "ticket",
        "verb = \"update_fields\"\ntarget = \"ticket\"\n[caps]\nrecords_per_day = 50\n[args.status]\ntype = \"choice\"\nvalues = [\"open\", \"closed\"]\noptional = true\n[args.amount]\ntype = \"decimal\"\ndecimals = 2\nmin = \"0\"\nmax = \"1000\"\noptional = true\n[args.due]\ntype = \"timestamp\"\nmin = \"2020-01-01\"\nmax = \"2035-01-01\"\noptional = true\n[args.tags]\ntype = \"list\"\nmax_items = 5\noptional = true\n[args.tags.of]\ntype = \"text\"\nmax_chars = 20\n",
    );
    let intake = (
        "take_in",
        "verb = \"insert_staging\"\ntarget = \"intake\"\n[caps]\nrecords_per_day = 50\n[args.what]\ntype = \"text\"\nmax_chars = 50\n[args.amount]\ntype = \"decimal\"\ndecimals = 2\nmin = \"0\"\nmax = \"1000\"\noptional = true\n[args.due]\ntype = \"timestamp\"\nmin = \"2020-01-01\"\nmax = \"2035-01-01\"\noptional = true\n",
    );
    let cards = [intake, line, ticket];
    let reader = format!("driver = \"postgres\"\nread_as = \"{role}_r\"");
    let change = |text: String| text.replace("driver = \"postgres\"", &reader);
    let world = world_with(("db/main", "table", base), "pw-of-a-test", &cards, change);
    Some((world, admin, role))
}

fn change(id: &str, args: Json) -> Wish {
    wish("db/main", "ticket", ("ticket", id), args)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_changes_one_row_of_its_version_or_nothing() {
    let Some((world, admin, _)) = table().await else {
        return;
    };
    let mut agent = world.agent().await;
    let row = async |sql: &'static str| -> String {
        sqlx::query_scalar(sql).fetch_one(&admin).await.unwrap()
    };

    let all = json!({"status": "closed", "amount": 99.9, "due": "2026-12-01T00:00:00Z", "tags": ["z", "y"]});
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..change("7", all.clone())
    };
    assert_eq!(
        present(&mut agent, &dry).await.unwrap().state,
        i32::from(State::Done)
    );
    assert_eq!(
        row("SELECT status FROM ticket WHERE id = 7").await,
        "open",
        "the same statement, rolled back"
    );
    let done = present(&mut agent, &change("7", all)).await.unwrap();
    assert!(done.wrote && !done.seen_other, "{done:?}");
    assert_eq!(row("SELECT concat_ws('|', status, amount, due AT TIME ZONE 'UTC', tags, secret) FROM ticket WHERE id = 7").await, "closed|99.90|2026-12-01 00:00:00|{y,z}|s");
    assert_eq!(
        row("SELECT status FROM ticket WHERE id = 8").await,
        "open",
        "no other row"
    );
    let back = undone(&world, &mut agent, &done).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(
        row(
            "SELECT concat_ws('|', status, amount, due AT TIME ZONE 'UTC') FROM ticket WHERE id = 7"
        )
        .await,
        "open|12.50|2026-11-28 09:00:00"
    );

    let done = present(&mut agent, &change("7", json!({"status": "closed"})))
        .await
        .unwrap();
    sqlx::query("UPDATE ticket SET status = 'open' WHERE id = 7")
        .execute(&admin)
        .await
        .unwrap();
    let kept = undone(&world, &mut agent, &done).await;
    assert_eq!(
        (kept.undone, kept.reason_code.as_str()),
        (false, "PRECONDITION_FAILED")
    );

    // Somebody holds the row: nothing is written, and it is said why.
    let mut held = admin.begin().await.unwrap();
    sqlx::query("UPDATE ticket SET secret = 't' WHERE id = 8")
        .execute(&mut *held)
        .await
        .unwrap();
    let waited = present(&mut agent, &change("8", json!({"status": "closed"})))
        .await
        .unwrap();
    assert_eq!(
        (waited.wrote, waited.reason_code.as_str()),
        (false, "SYSTEM_UNAVAILABLE"),
        "{waited:?}"
    );
    held.rollback().await.unwrap();
    let missing = present(&mut agent, &change("9", json!({"status": "closed"})))
        .await
        .unwrap();
    assert_eq!(missing.reason_code, "TARGET_NOT_FOUND");
    let alias = present(&mut agent, &change("007", json!({"status": "closed"})))
        .await
        .unwrap();
    assert_eq!(
        (alias.wrote, alias.reason_code.as_str()),
        (false, "TARGET_MISMATCH"),
        "{alias:?}"
    );
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_two_columns_name_is_changed_and_none_of_its_neighbours() {
    let Some((world, admin, _)) = table().await else {
        return;
    };
    let mut agent = world.agent().await;
    let rows = async || -> String {
        let all = "SELECT string_agg(concat_ws(' ', ticket, nr, price, labels), '|' ORDER BY ticket, nr) FROM ticket_line";
        sqlx::query_scalar(all).fetch_one(&admin).await.unwrap()
    };
    let before = "7 1 5.00 [\"b\", \"a\"]|7 2 5.00|8 1 5.00 []";
    assert_eq!(rows().await, before);
    let line = |id: &str, args: Json| wish("db/main", "line", ("line", id), args);
    let args = json!({"price": 7.25, "labels": ["x", "a \"quoted\" one"]});
    let done = present(&mut agent, &line("7-1", args)).await.unwrap();
    assert!(done.wrote && !done.seen_other, "{done:?}");
    let after = "7 1 7.25 [\"x\", \"a \\\"quoted\\\" one\"]|7 2 5.00|8 1 5.00 []";
    assert_eq!(rows().await, after);
    let back = undone(&world, &mut agent, &done).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(rows().await, before);
    let missing = present(&mut agent, &line("8-2", json!({"price": 1}))).await;
    assert_eq!(missing.unwrap().reason_code, "TARGET_NOT_FOUND");
    let nobody = present(&mut agent, &line("7", json!({"price": 1}))).await;
    assert!(nobody.is_err() || nobody.is_ok_and(|done| !done.wrote));
    assert_eq!(rows().await, before);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_do_more_or_less_than_the_cards_need_is_named() {
    let Some((world, admin, role)) = table().await else {
        return;
    };
    let mut agent = world.agent().await;
    let doctor = || String::from_utf8(world.run_connected(&["doctor"]).stdout).unwrap();
    let said = doctor();
    assert!(said.contains("ok    connection db/main"), "{said}");
    let more = format!("GRANT DELETE ON ticket TO {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(more))
        .execute(&admin)
        .await
        .unwrap();
    assert!(
        doctor().contains("DELETE on public.ticket"),
        "a login that could do more"
    );
    let less = format!(
        "REVOKE DELETE ON ticket FROM {role}; REVOKE UPDATE (amount) ON ticket FROM {role}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(less))
        .execute(&admin)
        .await
        .unwrap();
    assert!(
        doctor().contains("lacks what its cards need: UPDATE (amount) on public.ticket"),
        "a login that cannot do what the cards need"
    );
    let denied = present(&mut agent, &change("7", json!({"amount": 5})))
        .await
        .unwrap();
    assert_eq!(denied.reason_code, "SYSTEM_DENIED", "{denied:?}");
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_more_rights_changes_nothing_and_rows_are_read_as_the_role_that_only_reads() {
    let Some((mut world, admin, role)) = table().await else {
        return;
    };
    let run = async |sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&admin)
            .await
            .unwrap();
    };
    let mut agent = world.agent().await;
    let open = || change("8", json!({"status": "open", "amount": 2}));
    assert!(present(&mut agent, &open()).await.unwrap().wrote);
    run(format!("REVOKE SELECT ON ticket FROM {role}_r")).await;
    let unread = present(&mut agent, &open()).await.unwrap();
    assert_eq!(unread.reason_code, "SYSTEM_DENIED", "{unread:?}");
    run(format!(
        "GRANT SELECT ON ticket TO {role}_r; CREATE TABLE other (id int)"
    ))
    .await;
    // Each of these is more than the file needs, whichever way the login has it.
    let boss = format!("{role}_boss");
    run(format!(
        "CREATE ROLE {boss} NOLOGIN; GRANT DELETE ON ticket TO {boss}"
    ))
    .await;
    for (grant, revoke, name) in [
        (
            format!("GRANT DELETE ON ticket TO {role}"),
            format!("REVOKE DELETE ON ticket FROM {role}"),
            "DELETE on public.ticket",
        ),
        (
            format!("GRANT {boss} TO {role}"),
            format!("REVOKE {boss} FROM {role}"),
            "DELETE on public.ticket",
        ),
        (
            format!("GRANT UPDATE (secret) ON ticket TO {role}"),
            format!("REVOKE UPDATE (secret) ON ticket FROM {role}"),
            "UPDATE (secret) on public.ticket",
        ),
        (
            format!("GRANT INSERT ON other TO {role}"),
            format!("REVOKE INSERT ON other FROM {role}"),
            "INSERT on public.other",
        ),
        (
            format!("ALTER TABLE other OWNER TO {role}"),
            "ALTER TABLE other OWNER TO CURRENT_USER".to_owned(),
            "OWNER of public.other",
        ),
        (
            format!("ALTER ROLE {role} CREATEDB"),
            format!("ALTER ROLE {role} NOCREATEDB"),
            "CREATEDB",
        ),
        (
            format!("GRANT pg_read_all_settings TO {role}"),
            format!("REVOKE pg_read_all_settings FROM {role}"),
            "pg_read_all_settings",
        ),
    ] {
        run(grant).await;
        let probed = world.run_connected(&["probe", "db/main"]);
        let said = String::from_utf8_lossy(&probed.stdout).into_owned();
        assert!(
            said.contains("CREDENTIAL_TOO_WIDE") && said.contains(name),
            "{name}: {said}"
        );
        run(revoke).await;
        let probed = world.run_connected(&["probe", "db/main"]);
        assert!(
            probed.status.success(),
            "{}",
            String::from_utf8_lossy(&probed.stdout)
        );
    }
    run(format!("GRANT DELETE ON ticket TO {role}")).await;
    world.kill_connectord();
    world.start_connectord(&e2e::program("connectord"), &[]);
    let mut agent = world.agent().await;
    assert_eq!(
        present(&mut agent, &open()).await.unwrap_err(),
        "CREDENTIAL_TOO_WIDE"
    );
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..open()
    };
    assert_eq!(
        present(&mut agent, &dry).await.unwrap_err(),
        "CREDENTIAL_TOO_WIDE"
    );
}

/// Waits until connectord waits for a lock.
async fn waits(admin: &sqlx::PgPool) {
    let started = std::time::Instant::now();
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'writ-connectord' AND wait_event_type = 'Lock'",
        )
        .fetch_one(admin)
        .await
        .unwrap();
        if waiting > 0 {
            return;
        }
        assert!(started.elapsed() < e2e::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changed_while_its_lock_was_waited_for_is_left_alone() {
    let Some((world, admin, _)) = table().await else {
        return;
    };
    let mut agent = world.agent().await;
    let mut held = admin.begin().await.unwrap();
    sqlx::query("UPDATE ticket SET amount = 77 WHERE id = 7")
        .execute(&mut *held)
        .await
        .unwrap();
    let call = tokio::spawn(async move {
        let close = change("7", json!({"status": "closed"}));
        present(&mut agent, &close).await.unwrap()
    });
    waits(&admin).await;
    held.commit().await.unwrap();
    let stale = call.await.unwrap();
    assert_eq!(
        (stale.wrote, stale.reason_code.as_str()),
        (false, "PRECONDITION_FAILED"),
        "{stale:?}"
    );
    let shown: String = sqlx::query_scalar("SELECT status FROM ticket WHERE id = 7")
        .fetch_one(&admin)
        .await
        .unwrap();
    assert_eq!(shown, "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_while_a_lock_is_waited_for_stops_the_write() {
    let Some((world, admin, _)) = table().await else {
        return;
    };
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    // Held, and not changed: afterwards the row is the one that was looked at.
    let mut held = admin.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM ticket WHERE id = 7 FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let call = tokio::spawn(async move {
        let close = change("7", json!({"status": "closed"}));
        present(&mut agent, &close).await
    });
    waits(&admin).await;
    set(&mut operator, "tenant:acme").await.unwrap();
    held.rollback().await.unwrap();
    let halted = call.await.unwrap();
    let code = halted.map_or_else(|code| code, |done| done.reason_code);
    assert_eq!(code, "HALTED");
    let shown: String = sqlx::query_scalar("SELECT status FROM ticket WHERE id = 7")
        .fetch_one(&admin)
        .await
        .unwrap();
    assert_eq!(shown, "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_staged_once_under_the_key_of_its_call() {
    let Some((mut world, admin, _)) = table().await else {
        return;
    };
    let mut agent = world.agent().await;
    let rows = async || -> String {
        let all = "SELECT coalesce(string_agg(concat_ws(' ', what, amount, due AT TIME ZONE 'UTC', state), '|' ORDER BY id), '') FROM intake";
        sqlx::query_scalar(all).fetch_one(&admin).await.unwrap()
    };
    let stage = |args: Json| wish("db/main", "take_in", ("intake", "-"), args);
    let args = json!({"what": "a \"quoted\" wish", "amount": 7.5});
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..stage(args.clone())
    };
    let tried = present(&mut agent, &dry).await.unwrap();
    assert_eq!(
        (tried.state(), rows().await),
        (State::Done, String::new()),
        "{tried:?}"
    );
    let asked = agent.ask(&stage(args)).await;
    let done = agent.present(&asked).await.unwrap();
    assert!(done.wrote && !done.created_id.is_empty(), "{done:?}");
    assert_eq!(
        rows().await,
        "a \"quoted\" wish 7.50 waiting",
        "what was not given has the default of the table"
    );
    // The key is that of the decision, so the row itself says who made it.
    let key: String = sqlx::query_scalar("SELECT writ_key::text FROM intake")
        .fetch_one(&admin)
        .await
        .unwrap();
    assert!(
        asked.decision.name.ends_with(&key),
        "{key} {}",
        asked.decision.name
    );
    let refused = present(&mut agent, &stage(json!({"what": "spam"})))
        .await
        .unwrap();
    assert!(
        !refused.wrote && refused.message.contains("no_spam"),
        "{refused:?}"
    );
    // A process that dies right after the COMMIT finds its row again, and adds no second one.
    world.kill_connectord();
    let point = [("CONNECTORD_CRASH_AT", "after_write")];
    world.start_connectord(&e2e::failpoint_connectord(), &point);
    let mut agent = world.agent().await;
    let asked = agent.ask(&stage(json!({"what": "twice?"}))).await;
    let mut caller = agent.clone();
    let call = tokio::spawn(async move { caller.present(&asked).await });
    let started = std::time::Instant::now();
    while rows().await.matches("waiting").count() < 2 {
        assert!(started.elapsed() < e2e::PATIENCE, "the row is committed");
    }
    let reached = || {
        world
            .connectord
            .as_ref()
            .unwrap()
            .logged()
            .contains("crash point after_write")
    };
    while !reached() {
        assert!(
            started.elapsed() < e2e::PATIENCE,
            "the crash point is reached"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    world.kill_connectord();
    call.await.unwrap().unwrap_err();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world.settle().await;
    assert_eq!(
        rows().await,
        "a \"quoted\" wish 7.50 waiting|twice? waiting"
    );
    let ended = world.executions().await;
    let ended = ended
        .iter()
        .filter(|one| one.action == "take_in" && one.wrote);
    assert_eq!(ended.count(), 2);
    let said = String::from_utf8(world.run_connected(&["doctor"]).stdout).unwrap();
    assert!(said.contains("ok    connection db/main"), "{said}");
}
