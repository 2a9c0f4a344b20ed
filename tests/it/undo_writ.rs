//! The writ of an undo: signed of what was reported first, needed by everybody, replaced by an
//! operator's word alone.

use e2e::{Asked, World, code, request_id, stage};
use sqlx::SqlitePool;
use writ_proto::pb;

use super::undo::run;

fn undo_of(execution: &pb::Execution, reason: &str, unsigned: bool) -> pb::UndoRequest {
    pb::UndoRequest {
        name: execution.name.clone(),
        reason: reason.into(),
        dry_run: false,
        unsigned,
        request_id: String::new(),
    }
}

fn id(execution: &pb::Execution) -> String {
    execution.name.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_policyd_signed_is_undone_without_it_and_the_rest_on_an_operators_word() {
    let mut world = World::start();
    let seeded = world.run("connectord", &["sandbox", "seed", "--deals", "1"]);
    assert!(seeded.status.success());
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let signed = agent.carry(&stage("D-104", "qualified")).await;
    agent.signed(&signed).await;
    let asked = agent.ask(&stage("L-1", "qualified")).await;
    world.policyd.take().unwrap().kill();
    let unsigned = agent.present(&asked).await.unwrap();
    assert!(unsigned.wrote && !unsigned.undo_signed);

    for actor in [&mut agent, &mut operator] {
        let item = actor.undo(&unsigned).await;
        assert_eq!(item.reason_code, "UNDO_NOT_SIGNED");
        assert!(!item.undone);
    }
    let (_, found) = run(&world, &["executions", "ls"]);
    assert_eq!(found.matches("UNDO_NOT_SIGNED").count(), 1, "{found}");
    let plan = ["undo", "--since", "1h", "--dry-run"];
    let (_, planned) = run(&world, &plan);
    assert!(planned.contains("would undo 1 of 2"), "{planned}");
    for (actor, reason, expected) in [
        (&mut agent, "because", "OPERATOR_REQUIRED"),
        (&mut operator, " ", "REASON_REQUIRED"),
    ] {
        let refused = actor.execute.undo(undo_of(&unsigned, reason, true)).await;
        assert_eq!(code(&refused.unwrap_err()), expected);
    }
    assert_eq!(world.effects().await.len(), 2, "nothing was undone");

    let own = id(&unsigned);
    let word = [
        "undo",
        "--execution",
        &own,
        "--unsigned",
        "--reason",
        "policyd is gone",
    ];
    let (status, said) = run(&world, &word);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("UNDONE (UNDO_NOT_SIGNED)"), "{said}");
    assert!(said.contains("undid 1 of 1"), "{said}");
    assert!(
        agent.undo(&signed).await.undone,
        "by the agent, with its writ"
    );
    assert_eq!(world.effects().await.len(), 4);

    world.start_policyd();
    let (_, records) = world.settle().await;
    let told = |execution: &pb::Execution| {
        let own = |record: &&serde_json::Value| {
            record["kind"] == "undo"
                && record["status"] == "UNDONE"
                && record["record_id"] == execution.decision_id.as_str()
        };
        records.iter().find(own).unwrap()["reasons"].clone()
    };
    assert_eq!(told(&unsigned), serde_json::json!(["UNDO_NOT_SIGNED"]));
    assert_eq!(told(&signed), serde_json::json!([]));
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_edits_the_journal_does_not_choose_what_an_undo_writes() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let done = agent.carry(&stage("D-104", "qualified")).await;
    agent.signed(&done).await;
    let file = format!("sqlite://{}", world.path("connectord.db").display());
    let journal = SqlitePool::connect(&file).await.unwrap();
    let edit =
        "UPDATE execution SET body = replace(body, '\\\"new\\\"', '\\\"won\\\"') WHERE id = ?";
    let edited = sqlx::query(edit).bind(id(&done)).execute(&journal).await;
    assert_eq!(edited.unwrap().rows_affected(), 1);

    let undo = |unsigned| undo_of(&done, "a try", unsigned);
    for unsigned in [false, true] {
        let item = operator.execute.undo(undo(unsigned)).await.unwrap();
        let item = item.into_inner().item.unwrap();
        assert_eq!(item.reason_code, "UNDO_MISMATCH", "{item:?}");
        assert!(item.message.contains("values before and after"));
    }
    // A report of the edited values gets the writ of what was reported first.
    let mut connectord = world.actor("connectord").await;
    let mut changes = done.changes.clone();
    changes[0].before_json = Some("\"won\"".into());
    let forged = pb::Outcome {
        outcome_id: request_id(),
        tenant: "acme".into(),
        kind: pb::OutcomeKind::Result.into(),
        decision_id: done.decision_id.clone(),
        execution_id: id(&done),
        agent: done.agent.clone(),
        connection: done.connection.clone(),
        action: done.action.clone(),
        target: done.target.clone(),
        mode: pb::Mode::Execute.into(),
        status: "DONE".into(),
        changes,
        ..pb::Outcome::default()
    };
    let report = pb::ReportOutcomesRequest {
        outcomes: vec![forged.clone()],
    };
    let answer = connectord.records.report_outcomes(report).await.unwrap();
    let writ = answer.into_inner().undo_writs.remove(0);
    let put = "UPDATE undo_writ SET token = ? WHERE execution = ?";
    let put = sqlx::query(put).bind(writ.token).bind(id(&done));
    assert_eq!(put.execute(&journal).await.unwrap().rows_affected(), 1);
    assert_eq!(operator.undo(&done).await.reason_code, "UNDO_MISMATCH");
    let verb = "UPDATE execution SET body = json_set(body, '$.verb', 'set_status')";
    sqlx::query(verb).execute(&journal).await.unwrap();
    let item = operator.undo(&done).await;
    assert!(item.message.contains("verb"), "{item:?}");
    let gone = sqlx::query("DELETE FROM undo_writ").execute(&journal).await;
    assert_eq!(gone.unwrap().rows_affected(), 1);
    let back = "UPDATE execution SET body = json_set(body, '$.verb', 'update_fields')";
    sqlx::query(back).execute(&journal).await.unwrap();
    assert_eq!(operator.undo(&done).await.reason_code, "UNDO_NOT_SIGNED");
    assert_eq!(world.effects().await.len(), 1, "nothing was written");
}

/// An outcome as connectord would report it, of a write that never was.
fn made_up(asked: &Asked, fields: &[&str]) -> pb::Outcome {
    let decision = asked.decision.name.rsplit('/').next().unwrap();
    let change = |field: &&str| pb::FieldChange {
        field: (*field).to_owned(),
        before_json: Some("\"won\"".into()),
        after_json: Some("\"qualified\"".into()),
    };
    pb::Outcome {
        outcome_id: request_id(),
        tenant: "acme".into(),
        kind: pb::OutcomeKind::Result.into(),
        decision_id: decision.to_owned(),
        execution_id: request_id(),
        agent: "triage".into(),
        connection: asked.call.connection.clone(),
        action: asked.call.action.clone(),
        target: asked.call.target.clone(),
        mode: pb::Mode::Execute.into(),
        status: "DONE".into(),
        changes: fields.iter().map(change).collect(),
        ..pb::Outcome::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policyd_signs_the_undo_of_what_a_decision_allowed_and_a_card_knows() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut connectord) = (world.agent().await, world.actor("connectord").await);
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    type Change = fn(&mut pb::Outcome);
    let changes: [(&str, &[&str], Change); 13] = [
        ("another field", &["owner"], |_| {}),
        ("a field beside", &["stage", "owner"], |_| {}),
        ("a field twice", &["stage", "stage"], |_| {}),
        ("no field", &[], |_| {}),
        ("a dry run", &["stage"], |own| {
            own.mode = pb::Mode::DryRun.into()
        }),
        ("no decision", &["stage"], |own| {
            own.decision_id = request_id()
        }),
        ("another agent", &["stage"], |own| {
            own.agent = "seller".into()
        }),
        ("another action", &["stage"], |own| {
            own.action = "log_deal".into()
        }),
        ("elsewhere", &["stage"], |own| {
            own.connection = "crm/x".into()
        }),
        ("another record", &["stage"], |own| {
            own.target.as_mut().unwrap().id = "D-88".into();
        }),
        ("an undo", &["stage"], |own| {
            own.kind = pb::OutcomeKind::Undo.into()
        }),
        ("a failure", &["stage"], |own| own.status = "FAILED".into()),
        ("a value that cannot be read", &["stage"], |own| {
            own.changes[0].before_json = Some("not JSON".into());
        }),
    ];
    let mut report = async |outcome: pb::Outcome| {
        let outcomes = vec![outcome];
        let request = pb::ReportOutcomesRequest { outcomes };
        let answer = connectord.records.report_outcomes(request).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!(answer.accepted_outcome_ids.len(), 1, "{answer:?}");
        answer.undo_writs
    };
    for (what, fields, change) in changes {
        let mut outcome = made_up(&asked, fields);
        change(&mut outcome);
        assert_eq!(report(outcome).await, [], "{what}");
    }
    let first = made_up(&asked, &["stage"]);
    assert_eq!(report(first.clone()).await.len(), 1);
    assert_eq!(
        report(first).await.len(),
        1,
        "again, as after a lost answer"
    );
    let other = report(made_up(&asked, &["stage"])).await;
    assert_eq!(other, [], "the decision was spent by another execution");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_what_an_undo_would_write() {
    let mut world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let done = agent.carry(&stage("D-104", "qualified")).await;
    agent.signed(&done).await;
    let (status, planned) = run(&world, &["undo", "--since", "1h", "--dry-run"]);
    let change = r#"stage: "qualified" -> "new""#;
    let whose = format!("{}  deal/D-104  set_stage by triage  20", id(&done));
    let end = format!("  would put back {change}");
    let told = |line: &str| line.starts_with(&whose) && line.ends_with(&end);
    assert!(planned.lines().any(told), "{planned}");
    assert_eq!(status, Some(0), "{planned}");
    let (_, mistyped) = run(&world, &["undo", "--run", "r-0"]);
    let nothing = "no live write of acme matches --run r-0";
    assert!(mistyped.contains(nothing), "{mistyped}");

    // The same records at another address are not those that were written.
    world.sandbox_port = e2e::free_port();
    world.start_sandbox();
    world.kill_connectord();
    world.start_connectord(&e2e::program("connectord"), &[]);
    let kept = world.operator().await.undo(&done).await;
    assert_eq!(kept.reason_code, "UNDO_IMPOSSIBLE", "{kept:?}");
    assert!(kept.message.contains("leads elsewhere"), "{kept:?}");
    assert_eq!(world.effects().await.len(), 1, "nothing arrived");
}
