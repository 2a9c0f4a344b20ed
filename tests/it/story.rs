//! User stories: each ends with the check that everything adds up.

use e2e::{World, refund, stage};
use writ_proto::pb;

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing_and_a_live_write_is_undone() {
    let world = World::start();
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let mut wish = stage("D-104", "qualified");
    wish.mode = pb::Mode::DryRun;
    let asked = agent.ask(&wish).await;
    let dry = agent.present(&asked).await.unwrap();
    assert!(
        !dry.wrote && dry.sentence.starts_with("would change deal D-104"),
        "{dry:?}"
    );
    assert!(world.effects().await.is_empty());

    let early = agent.ask(&stage("D-104", "qualified")).await;
    assert_eq!(agent.present(&early).await.unwrap_err(), "DRY_RUN_ONLY");
    world.promote(&["set_stage"]).await;
    let done = agent.present(&early).await.unwrap();
    assert!(
        done.wrote,
        "a refusal before the claim does not spend the token"
    );
    assert_eq!(done.changes[0].before_json.as_deref(), Some("\"new\""));
    assert_eq!(done.changes[0].after_json.as_deref(), Some("\"qualified\""));

    let item = operator.undo(&done).await;
    assert!(item.undone, "{item:?}");
    assert_eq!(operator.undo(&done).await.reason_code, "ALREADY_UNDONE");
    assert_eq!(world.effects().await.len(), 2);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_over_a_newer_edit_is_refused_with_both_values() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    let done = agent.present(&asked).await.unwrap();
    world.person_edits("deals/D-104", "stage=proposal");
    let item = operator.undo(&done).await;
    assert_eq!(item.reason_code, "PRECONDITION_FAILED");
    assert!(
        item.message.contains("qualified") && item.message.contains("proposal"),
        "{item:?}"
    );
    let last = world.effects().await.pop().unwrap();
    assert_eq!(last["by"], "person", "nothing was overwritten");
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_writes_is_undone_last_in_first_out() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    for step in ["qualified", "proposal"] {
        let asked = agent.ask(&stage("D-104", step)).await;
        assert!(agent.present(&asked).await.unwrap().wrote);
    }
    let mut undo = async || {
        let request = pb::BatchUndoRequest {
            parent: "tenants/acme".into(),
            run_id: "test".into(),
            reason: "wrong".into(),
            ..pb::BatchUndoRequest::default()
        };
        let answer = operator.execute.batch_undo(request).await;
        let items = answer.unwrap().into_inner().items.into_iter();
        let told = items.map(|item| (item.undone, item.reason_code));
        told.collect::<Vec<_>>()
    };
    // A journal that fails in the middle takes nothing from what was undone before.
    let journal = world.journal().await;
    let breaks = "CREATE TRIGGER breaks BEFORE UPDATE ON execution BEGIN SELECT raise(ABORT, 'away') \
                  WHERE old.id = (SELECT min(id) FROM execution); END";
    sqlx::query(breaks).execute(&journal).await.unwrap();
    let away = (false, "STORE_UNAVAILABLE".to_owned());
    assert_eq!(undo().await, [(true, String::new()), away]);
    let mended = sqlx::query("DROP TRIGGER breaks").execute(&journal).await;
    mended.unwrap();
    assert_eq!(undo().await, [(true, String::new())]);
    let last = world.effects().await.pop().unwrap();
    assert!(last["change"].as_str().unwrap().contains("new"), "{last}");
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identical_retry_gets_the_first_outcome() {
    let world = World::start();
    world.promote(&["refund"]).await;
    let mut agent = world.agent().await;
    let asked = agent.ask(&refund("O-7", "49.00")).await;
    let request = e2e::Actor::execute_request(&asked);
    let first = agent.send(request.clone()).await.unwrap();
    let again = agent.send(request).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.execution, again.execution);
    assert_eq!(world.effects().await.len(), 1);
    assert_eq!(agent.present(&asked).await.unwrap_err(), "TOKEN_REPLAYED");
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_id_gives_the_same_writ_and_another_request_under_it_none() {
    let world = World::start();
    let mut agent = world.agent().await;
    let request = e2e::Actor::request(&stage("D-104", "qualified"));
    let first = agent
        .authorize
        .authorize(request.clone())
        .await
        .unwrap()
        .into_inner();
    let again = agent
        .authorize
        .authorize(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, again, "byte for byte, the token too");
    let mut other = e2e::Actor::request(&stage("D-104", "lost"));
    other.request_id = request.request_id.clone();
    let status = agent.authorize.authorize(other).await.unwrap_err();
    assert_eq!(e2e::code(&status), "REQUEST_ID_REUSED");
    let mut mode = request;
    mode.call.as_mut().unwrap().mode = pb::Mode::DryRun.into();
    let status = agent.authorize.authorize(mode).await.unwrap_err();
    assert_eq!(e2e::code(&status), "REQUEST_ID_REUSED");
    assert_eq!(world.records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_denial_and_the_wrong_tenant_give_no_token_and_a_record() {
    let world = World::start();
    let mut agent = world.agent().await;
    let mut other = stage("D-104", "qualified");
    other.tenant = "globex".into();
    let mut owner = stage("D-104", "qualified");
    (owner.action, owner.args) = ("set_owner".into(), "{\"owner\":\"U-7\"}".into());
    let table = [
        (
            refund("O-9", "900.00"),
            pb::Verdict::RequireApproval,
            "APPROVAL_REQUIRED",
        ),
        (owner, pb::Verdict::Deny, "NOT_PERMITTED"),
        (other, pb::Verdict::Deny, "FORBIDDEN"),
        (refund("O-7", "120.01"), pb::Verdict::Deny, "FORBIDDEN"),
        (
            refund("O-7", "1000.01"),
            pb::Verdict::Deny,
            "INVALID_ARGUMENTS",
        ),
    ];
    for (index, (wish, verdict, code)) in table.iter().enumerate() {
        let asked = agent.ask(wish).await;
        assert_eq!(
            asked.decision.verdict,
            i32::from(*verdict),
            "{}",
            wish.action
        );
        assert_eq!(asked.decision.reason_code, *code);
        assert!(asked.decision.token.is_empty());
        let record = world.records().await.pop().unwrap();
        // The first record is that of the policies.
        assert_eq!(record["seq"], index + 1);
        assert_eq!(record["reasons"][0], *code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_stops_writs_at_once_by_call_by_command_and_by_hand() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    let set = pb::SetHaltRequest {
        scope: "tenant:acme".into(),
        reason: "test".into(),
        ..pb::SetHaltRequest::default()
    };
    operator.halt.set_halt(set).await.unwrap();
    assert_eq!(agent.present(&asked).await.unwrap_err(), "HALTED");
    assert!(halt(&world, "off", "tenant:acme"));

    for scope in ["connection:crm/main", "action:set_stage", "agent:triage"] {
        assert!(halt(&world, "on", scope));
        assert_eq!(
            agent.present(&asked).await.unwrap_err(),
            "HALTED",
            "{scope}"
        );
        assert!(halt(&world, "off", scope));
    }
    std::fs::write(world.path("state/halt/global"), "").unwrap();
    assert_eq!(agent.present(&asked).await.unwrap_err(), "HALTED");
    std::fs::remove_file(world.path("state/halt/global")).unwrap();
    std::fs::rename(world.path("state/halt"), world.path("state/away")).unwrap();
    assert_eq!(agent.present(&asked).await.unwrap_err(), "HALT_UNKNOWN");
    std::fs::rename(world.path("state/away"), world.path("state/halt")).unwrap();
    assert!(world.effects().await.is_empty());
    // It was issued before all of these.
    assert_eq!(agent.present(&asked).await.unwrap_err(), "TOKEN_REVOKED");

    let fresh = heard(&mut agent, "qualified").await;
    assert!(agent.present(&fresh).await.unwrap().wrote);
    // A global halt raises the epoch, so a writ from before it stays dead, whatever its scope.
    let old = heard(&mut agent, "proposal").await;
    assert!(halt(&world, "on", "global") && halt(&world, "off", "global"));
    assert_eq!(agent.present(&old).await.unwrap_err(), "TOKEN_REVOKED");
    world.check_everything().await;
}

fn halt(world: &World, word: &str, scope: &str) -> bool {
    let args = ["halt", word, "--scope", scope, "--reason", "test"];
    world.run("connectord", &args).status.success()
}

/// A writ, once policyd has heard of the end of a halt.
async fn heard(agent: &mut e2e::Actor, wanted: &str) -> e2e::Asked {
    let started = std::time::Instant::now();
    loop {
        let asked = agent.ask(&stage("D-104", wanted)).await;
        if !asked.decision.token.is_empty() {
            return asked;
        }
        assert!(started.elapsed() < e2e::PATIENCE, "{:?}", asked.decision);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_with_any_byte_changed_fails_and_names_the_record() {
    let world = World::start();
    let mut agent = world.agent().await;
    for _ in 0..3 {
        agent.ask(&stage("D-104", "qualified")).await;
    }
    let bytes = world.export().await;
    let verify = |bytes: &[u8]| {
        std::fs::write(world.path("e.jsonl"), bytes).unwrap();
        world.run(
            "policyd",
            &[
                "records",
                "verify",
                "e.jsonl",
                "--trust",
                "keys/public.json",
            ],
        )
    };
    assert!(verify(&bytes).status.success());
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 40;
    for at in [second, second + 100, second + 300] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let output = verify(&changed);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("#0"), "{said}");
    }
    assert_eq!(verify(b"nonsense\n").status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_policies_take_effect_and_broken_ones_never_do() {
    let world = World::start();
    let mut agent = world.agent().await;
    // What is only tried counts against no budget.
    let mut wish = stage("D-104", "qualified");
    wish.mode = pb::Mode::DryRun;
    let verdict = |asked: &e2e::Asked| asked.decision.verdict == i32::from(pb::Verdict::Allow);
    assert!(verdict(&agent.ask(&wish).await));
    let path = world.path("policies/acme/sales.cedar");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{good}\npermit (principal, action")).unwrap();
    let started = std::time::Instant::now();
    while !world
        .policyd
        .as_ref()
        .unwrap()
        .logged()
        .contains("POLICY_RELOAD_FAILED")
    {
        assert!(started.elapsed() < e2e::PATIENCE);
        assert!(
            verdict(&agent.ask(&wish).await),
            "the last good set stays in force"
        );
    }
    let stop = "@id(\"stop\") @reason(\"stop\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") forbid (principal, action, resource);";
    std::fs::write(&path, format!("{good}\n{stop}")).unwrap();
    let started = std::time::Instant::now();
    while verdict(&agent.ask(&wish).await) {
        assert!(
            started.elapsed() < e2e::PATIENCE,
            "the new rule is not in force"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_write_of_the_same_value_is_undone_first() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let first = agent.carry(&stage("D-104", "qualified")).await;
    let between = agent.carry(&stage("D-104", "proposal")).await;
    let last = agent.carry(&stage("D-104", "qualified")).await;
    for execution in [&first, &between, &last] {
        agent.signed(execution).await;
    }
    // The record shows what the first one wrote; the last one stands on it all the same, also where
    // nobody knows whether the later ones were written.
    let journal = world.journal().await;
    let id = first.name.rsplit('/').next().unwrap();
    for (state, wrote) in [("HUMAN", "false"), ("DONE", "true")] {
        let later = "UPDATE execution SET state = ?1, \
                     body = json_set(body, '$.state', ?1, '$.wrote', json(?2)) WHERE id > ?3";
        let later = sqlx::query(later).bind(state).bind(wrote).bind(id);
        let moved = later.execute(&journal).await.unwrap();
        assert_eq!(moved.rows_affected(), 2);
        let kept = operator.undo(&first).await;
        assert_eq!(
            (kept.undone, kept.reason_code.as_str()),
            (false, "PRECONDITION_FAILED"),
            "{state}: {kept:?}"
        );
    }
    for execution in [&last, &between, &first] {
        let undone = operator.undo(execution).await;
        assert!(undone.undone, "{undone:?}");
    }
}
