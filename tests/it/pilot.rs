//! The pilot: promoted into, small while it lasts, widened only by a calm time.

use e2e::{Actor, PATIENCE, Wish, World, program, stage};
use writ_proto::pb;

use super::rollout::present;
use super::undo::run;

const PILOT: &str = "[pilot]\nrecords_per_day = 2\nwiden_after = \"1d\"\nwiden_records = 2\n";
const NAME: &str = "[args.name]\ntype = \"text\"\nmax_chars = 80\noptional = true\n";
/// More than the calm time of the pilot.
const TWO_DAYS_MS: i64 = 2 * 24 * 3_600 * 1_000;

/// A running world where two cards have a pilot.
fn piloted() -> World {
    let mut world = World::prepare(&[]);
    for (action, more) in [
        ("set_stage", format!("{NAME}{PILOT}")),
        ("log_deal", PILOT.into()),
    ] {
        let path = world.path(&format!("policies/acme/actions/{action}.toml"));
        let card = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{card}\n{more}")).unwrap();
    }
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world
}

async fn shift(operator: &mut Actor, action: &str, to: pb::Rollout) -> Result<i32, String> {
    let request = pb::SetActionRolloutRequest {
        name: format!("tenants/acme/actions/{action}"),
        rollout: to.into(),
        reason: "looks good".into(),
        ..pb::SetActionRolloutRequest::default()
    };
    let answer = operator.execute.set_action_rollout(request).await;
    let answer = answer.map_err(|status| e2e::code(&status))?.into_inner();
    Ok(answer.action.unwrap().rollout)
}

async fn rollout(operator: &mut Actor, action: &str) -> i32 {
    let name = format!("tenants/acme/actions/{action}");
    let request = pb::GetActionRequest { name };
    let answer = operator.execute.get_action(request).await.unwrap();
    answer.into_inner().action.unwrap().rollout
}

fn log(line: &str) -> Wish {
    Wish {
        action: "log_deal".into(),
        args: format!(r#"{{"log":"{line}"}}"#),
        ..stage("D-104", "")
    }
}

/// Two days go by: what was promoted was promoted two days earlier.
async fn two_days_later(world: &World) {
    let url = format!("sqlite://{}", world.path("connectord.db").display());
    let journal = sqlx::SqlitePool::connect(&url).await.unwrap();
    let moved = sqlx::query("UPDATE rollout SET set_ms = set_ms - ?")
        .bind(TWO_DAYS_MS)
        .execute(&journal)
        .await
        .unwrap();
    assert_eq!(moved.rows_affected(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pilot_is_small_and_goes_live_by_itself_only_after_a_calm_time() {
    let world = piloted();
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let pilot = i32::from(pb::Rollout::Pilot);
    for action in ["set_stage", "log_deal"] {
        let skipped = shift(&mut operator, action, pb::Rollout::Live).await;
        assert_eq!(skipped.unwrap_err(), "PILOT_FIRST");
        let step = run(
            &world,
            &["actions", "promote", action, "--reason", "small first"],
        );
        assert!(step.1.contains("dry_run -> pilot"), "{step:?}");
    }
    let none = shift(&mut operator, "fill_phone", pb::Rollout::Pilot).await;
    assert_eq!(none.unwrap_err(), "REQUEST_MALFORMED");
    let shown = run(&world, &["actions", "show", "set_stage"]).1;
    let limits =
        "pilot: 2 records a day, 1 fields at a time, live after 24 calm hours with 2 records";
    assert!(shown.contains(limits), "{shown}");

    let both = Wish {
        args: r#"{"stage":"qualified","name":"Acme"}"#.into(),
        ..stage("D-104", "")
    };
    assert_eq!(present(&mut agent, &both).await.unwrap_err(), "PILOT_LIMIT");
    for to in ["qualified", "proposal"] {
        assert!(
            present(&mut agent, &stage("D-104", to))
                .await
                .unwrap()
                .wrote
        );
    }
    let third = present(&mut agent, &stage("D-104", "lost")).await;
    assert_eq!(third.unwrap_err(), "BUDGET_EXCEEDED");
    assert!(present(&mut agent, &log("one")).await.unwrap().wrote);
    let wrong = present(&mut agent, &log("two")).await.unwrap();
    assert!(operator.undo(&wrong).await.undone);
    assert_eq!(rollout(&mut operator, "set_stage").await, pilot);

    // One is calm, the other had to be undone. They are looked at in the order of their names.
    two_days_later(&world).await;
    let started = std::time::Instant::now();
    while rollout(&mut operator, "set_stage").await == pilot {
        assert!(started.elapsed() < PATIENCE);
    }
    let live = i32::from(pb::Rollout::Live);
    assert_eq!(rollout(&mut operator, "set_stage").await, live);
    assert_eq!(rollout(&mut operator, "log_deal").await, pilot);
    assert!(present(&mut agent, &both).await.unwrap().wrote);
    assert!(
        present(&mut agent, &stage("D-104", "lost"))
            .await
            .unwrap()
            .wrote
    );

    let (_, records) = world.settle().await;
    let last = records
        .iter()
        .rfind(|record| record["kind"] == "rollout_changed");
    assert_eq!(last.unwrap()["status"], "live");
    let widened = shift(&mut operator, "log_deal", pb::Rollout::Live).await;
    assert_eq!(widened, Ok(live), "an operator may widen at any time");
    world.check_everything().await;
}
