//! The pilot: promoted into, small while it lasts, widened only by a calm time.

use e2e::{Actor, PATIENCE, Wish, World, failpoint_connectord, program, refund, stage};
use writ_proto::pb;

use super::pauses::logs;
use super::rollout::present;
use super::rollout::promoted::{change, pending};
use super::undo::run;

const PILOT: &str = "[pilot]\nrecords_per_day = 2\nwiden_after = \"1d\"\nwiden_records = 2\n";
const NAME: &str = "[args.name]\ntype = \"text\"\nmax_chars = 80\noptional = true\n";
/// More than the calm time of the pilot.
const TWO_DAYS_MS: i64 = 2 * 24 * 3_600 * 1_000;

const DEMOTE: &str = "[demote]\nundone = \"20%\"\nof_last = 4\n";

const PILOTED: [&str; 6] = [
    "add_note",
    "fill_phone",
    "hold_order",
    "log_deal",
    "refund",
    "set_stage",
];

fn card(world: &World, action: &str) -> std::path::PathBuf {
    world.path(&format!("policies/acme/actions/{action}.toml"))
}

/// A running world where some cards have a pilot.
fn piloted() -> World {
    piloted_by(&program("connectord"), &[])
}

fn piloted_by(connectord: &std::path::Path, env: &[(&'static str, &str)]) -> World {
    let mut world = World::prepare(&[]);
    for action in PILOTED {
        let more = match action {
            "set_stage" => format!("{NAME}{PILOT}{DEMOTE}"),
            "hold_order" => PILOT.replacen("= 2", "= 3", 1),
            _ => PILOT.to_owned(),
        };
        let path = card(&world, action);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\n{more}")).unwrap();
    }
    let seeded = world.run("connectord", &["sandbox", "seed", "--deals", "4"]);
    assert!(seeded.status.success());
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(connectord, env);
    world
}

async fn shift(operator: &mut Actor, action: &str, to: pb::Rollout) -> Result<i32, String> {
    let request = pb::SetActionRolloutRequest {
        name: format!("tenants/acme/actions/{action}"),
        rollout: to.into(),
        reason: "looks good".into(),
        accept_unseen: true,
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

fn log(deal: &str) -> Wish {
    Wish {
        action: "log_deal".into(),
        args: r#"{"log":"called"}"#.into(),
        ..stage(deal, "")
    }
}

/// Since when what an action does counts.
async fn begun(world: &World, action: &str) -> i64 {
    let journal = world.journal().await;
    let begun = sqlx::query_scalar("SELECT set_ms FROM rollout WHERE action = ?");
    begun.bind(action).fetch_one(&journal).await.unwrap()
}

/// Two days go by: what was promoted was promoted two days earlier.
async fn two_days_later(world: &World) {
    let journal = world.journal().await;
    let moved = sqlx::query("UPDATE rollout SET set_ms = set_ms - ?")
        .bind(TWO_DAYS_MS)
        .execute(&journal)
        .await
        .unwrap();
    assert_eq!(usize::try_from(moved.rows_affected()), Ok(PILOTED.len()));
}

/// A write before the calm time of which nobody could tell what became, which is with a person.
async fn with_a_person(world: &World, execution: &pb::Execution) {
    let doubt = "UPDATE execution SET state = 'HUMAN', created_ms = created_ms - ?, \
                 body = json_set(body, '$.state', 'HUMAN') WHERE id = ?";
    let doubt = sqlx::query(doubt)
        .bind(TWO_DAYS_MS * 3 / 4)
        .bind(execution.name.rsplit('/').next().unwrap());
    let doubt = doubt.execute(&world.journal().await).await.unwrap();
    assert_eq!(doubt.rows_affected(), 1);
}

/// Every piloted action in its pilot.
async fn open(world: &World, operator: &mut Actor) {
    for action in PILOTED {
        let skipped = shift(operator, action, pb::Rollout::Live).await;
        assert_eq!(skipped.unwrap_err(), "PILOT_FIRST");
        let promote = [
            "actions",
            "promote",
            action,
            "--reason",
            "small first",
            "--accept-unseen",
        ];
        let step = run(world, &promote);
        assert!(step.1.contains("dry_run -> pilot"), "{step:?}");
    }
}

fn both(deal: &str) -> Wish {
    Wish {
        args: r#"{"stage":"qualified","name":"Acme"}"#.into(),
        ..stage(deal, "")
    }
}

fn hold(order: &str, number: &str, email: &str) -> Wish {
    Wish {
        action: "hold_order".into(),
        target: ("order".into(), order.into()),
        args: format!(r#"{{"order_number":"{number}","email":"{email}","hold":"asked"}}"#),
        ..stage("", "")
    }
}

async fn wrote(agent: &mut Actor, wish: &Wish) -> pb::Execution {
    let done = present(agent, wish).await.unwrap();
    assert!(done.wrote, "{done:?}");
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pilot_takes_few_records_a_day_and_one_field_at_a_time() {
    let mut world = piloted();
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    open(&world, &mut operator).await;
    let none = shift(&mut operator, "tidy_contact", pb::Rollout::Pilot).await;
    assert_eq!(none.unwrap_err(), "REQUEST_MALFORMED");
    let shown = run(&world, &["actions", "show", "set_stage"]).1;
    let limits =
        "pilot: 2 records a day, 1 fields at a time, live after 24 calm hours with 2 records";
    assert!(shown.contains(limits), "{shown}");
    let refused = present(&mut agent, &both("L-1")).await;
    assert_eq!(refused.unwrap_err(), "PILOT_LIMIT");
    for deal in ["L-1", "L-2"] {
        wrote(&mut agent, &stage(deal, "qualified")).await;
    }
    let third = present(&mut agent, &stage("L-3", "qualified")).await;
    assert_eq!(third.unwrap_err(), "BUDGET_EXCEEDED");
    let live = i32::from(pb::Rollout::Live);
    let widened = shift(&mut operator, "set_stage", pb::Rollout::Live).await;
    assert_eq!(widened, Ok(live), "an operator may widen at any time");
    wrote(&mut agent, &both("L-3")).await;
    world.check_everything().await;

    // Who takes it back to the pilot begins anew, however long ago it was promoted.
    world.kill_connectord();
    two_days_later(&world).await;
    world.start_connectord(&program("connectord"), &[]);
    let demote = ["actions", "demote", "set_stage", "--reason", "too fast"];
    assert!(run(&world, &demote).1.contains("live -> pilot"));
    let begun = begun(&world, "set_stage").await;
    assert!(
        e2e::now_seconds() * 1_000 - begun < TWO_DAYS_MS / 2,
        "{begun}"
    );
}

/// Two pilots that wrote enough: one has an older doubt, one a card that nobody promoted.
async fn unsettled(world: &World, agent: &mut Actor, operator: &mut Actor) {
    let doubt = wrote(agent, &hold("O-9", "2026-0009", "ben@example.com")).await;
    with_a_person(world, &doubt).await;
    for wish in [
        hold("O-7", "2026-0007", "ada@example.com"),
        hold("O-8", "2026-0007", "ben@example.com"),
        refund("O-7", "1.00"),
        refund("O-8", "1.00"),
    ] {
        wrote(agent, &wish).await;
    }
    let file = "policies/acme/actions/refund.toml";
    change(
        world,
        file,
        "records_per_day = 100",
        "records_per_day = 101",
    );
    pending(operator, "refund", "records_per_day").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_demotes_a_pilot_while_it_is_looked_at_wins() {
    let pause = ("CONNECTORD_PAUSE_AT", "before_widening=6000");
    let world = piloted_by(&failpoint_connectord(), &[pause]);
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    open(&world, &mut operator).await;
    for deal in ["L-1", "L-2"] {
        wrote(&mut agent, &stage(deal, "qualified")).await;
    }
    two_days_later(&world).await;
    logs(&world, "pause point before_widening", 0).await;
    let dry_run = i32::from(pb::Rollout::DryRun);
    let demoted = shift(&mut operator, "set_stage", pb::Rollout::DryRun).await;
    assert_eq!(demoted, Ok(dry_run));
    logs(&world, "an action that is due could not be moved", 0).await;
    assert_eq!(rollout(&mut operator, "set_stage").await, dry_run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pilot_goes_live_by_itself_only_after_a_calm_time() {
    let world = piloted();
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let phone = |contact: &str| Wish {
        action: "fill_phone".into(),
        target: ("contact".into(), contact.into()),
        args: r#"{"phone":"+31 6 1234"}"#.into(),
        ..stage("", "")
    };
    let mut dry = phone("C-1");
    dry.mode = pb::Mode::DryRun;
    let odd = present(&mut agent, &dry).await.unwrap();
    open(&world, &mut operator).await;
    // One is halted, one has a surprise that was marked after the promotion, one had to be undone,
    // one has a doubt that is with a person, one has a wider card now, one is calm.
    let mark = pb::MarkSurpriseRequest {
        name: odd.name,
        surprise: "not his number".into(),
    };
    operator.execute.mark_surprise(mark).await.unwrap();
    for wish in [
        phone("C-1"),
        phone("C-2"),
        log("L-1"),
        stage("L-1", "qualified"),
    ] {
        wrote(&mut agent, &wish).await;
    }
    let wrong = wrote(&mut agent, &log("L-2")).await;
    assert!(operator.undo(&wrong).await.undone);
    wrote(&mut agent, &stage("L-2", "qualified")).await;

    let note = |deal: &str| Wish {
        action: "add_note".into(),
        args: r#"{"text":"called"}"#.into(),
        ..stage(deal, "")
    };
    for deal in ["L-1", "L-2"] {
        wrote(&mut agent, &note(deal)).await;
    }
    let halt = ["halt", "on", "--scope", "action:add_note"];
    assert_eq!(run(&world, &halt).0, Some(0));

    unsettled(&world, &mut agent, &mut operator).await;

    // They are looked at in the order of their names.
    two_days_later(&world).await;
    let (pilot, live) = (i32::from(pb::Rollout::Pilot), i32::from(pb::Rollout::Live));
    let started = std::time::Instant::now();
    while rollout(&mut operator, "set_stage").await == pilot {
        assert!(started.elapsed() < PATIENCE);
    }
    for (action, at) in [
        ("set_stage", live),
        ("log_deal", pilot),
        ("fill_phone", pilot),
        ("add_note", pilot),
        ("hold_order", pilot),
        ("refund", pilot),
    ] {
        assert_eq!(rollout(&mut operator, action).await, at, "{action}");
    }
    loop {
        let records = world.records().await;
        let moves = records.iter();
        let mut moves = moves.filter(|record| record["kind"] == "rollout_changed");
        if moves.next_back().unwrap()["status"] == "live" {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the move is a record");
    }

    // What the pilot wrote still counts for the rates: one of four undone is more than 20 %.
    wrote(&mut agent, &both("L-3")).await;
    let last = wrote(&mut agent, &both("L-4")).await;
    assert!(operator.undo(&last).await.undone);
    let dry_run = i32::from(pb::Rollout::DryRun);
    assert_eq!(rollout(&mut operator, "set_stage").await, dry_run);
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pilot_whose_card_lost_its_limits_writes_nothing() {
    let mut world = piloted();
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    open(&world, &mut operator).await;
    wrote(&mut agent, &log("L-1")).await;
    let path = card(&world, "log_deal");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(PILOT, "")).unwrap();
    world.kill_connectord();
    world.start_connectord(&program("connectord"), &[]);
    let mut agent = world.agent().await;
    let started = std::time::Instant::now();
    // Until policyd has read the card too, its writs are for another one.
    let refused = loop {
        let refused = present(&mut agent, &log("L-1")).await.unwrap_err();
        if refused != "CARD_MISMATCH" {
            break refused;
        }
        assert!(started.elapsed() < PATIENCE);
    };
    assert_eq!(refused, "DRY_RUN_ONLY");
}
