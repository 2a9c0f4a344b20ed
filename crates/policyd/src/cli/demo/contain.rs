//! The steps about containment: what a card refuses, ceilings, one halted customer, the drill, and
//! the undo of fifty wrong writes.

use writ_proto::pb;

use super::Row;
use super::actor::Wish;
use super::processes::broken;
use super::story::Story;
use crate::error::AppError;
use crate::output::plural;

/// Wrong writes of the agent that misbehaves.
const WRONG: usize = 50;
/// Holds that the card allows for one customer and day.
const HOLDS_MAX: usize = 5;
const DRIFTED: &str = "deals/L-7";

const LOG: Wish = Wish {
    tenant: "acme",
    action: "log_deal",
    target: ("deal", "L-1"),
    args: r#"{"log":"the buyer called"}"#,
    mode: pb::Mode::Execute,
};
const HOLD: Wish = Wish {
    action: "hold_order",
    target: ("order", "O-11"),
    args: r#"{"order_number":"2026-0011","email":"ada@example.com","hold":"asked by the buyer"}"#,
    ..LOG
};
const PHONE: Wish = Wish {
    action: "fill_phone",
    target: ("contact", "C-3"),
    args: r#"{"phone":"+31 6 1234"}"#,
    ..LOG
};

impl<F: FnMut(usize, &Row)> Story<'_, F> {
    /// From dry run to live, with the log in view, and what cards refuse although policy allows.
    pub(super) async fn cards(&mut self) -> Result<(), AppError> {
        self.connectord(&["sandbox", "seed", "--deals", "50"])
            .await?;
        let dry = Wish {
            mode: pb::Mode::DryRun,
            ..LOG
        };
        self.write("log_deal deal L-1", dry, |e| !e.wrote).await?;
        let log = self.promote("log_deal").await?;
        let seen = format!(
            "live; would-have log: {}, {} surprises",
            plural(log.would_have_rows, "row"),
            log.surprises
        );
        let expected = log.would_have_rows == 1 && log.surprises == 0;
        self.row(
            "promote log_deal with its log in view",
            "-",
            &seen,
            expected,
        );
        self.promote("hold_order").await?;
        self.promote("fill_phone").await?;
        self.stopped(
            "hold the order that two signals name",
            HOLD,
            "TARGET_AMBIGUOUS",
        )
        .await?;
        self.stopped(
            "fill the phone of a contact that has one",
            PHONE,
            "FIELD_NOT_EMPTY",
        )
        .await?;
        let capped = Wish {
            target: ("order", "O-8"),
            args: r#"{"order_number":"2026-0007","email":"ben@example.com","hold":"asked by the buyer"}"#,
            ..HOLD
        };
        for _ in 0..HOLDS_MAX {
            let asked = self.agent.ask(capped).await?;
            let held = self.agent.execute(&asked).await?;
            held.map_err(|code| broken(&format!("a hold was refused: {code}")))?;
        }
        self.stopped(
            "a sixth hold for one customer in a day",
            capped,
            "BUDGET_EXCEEDED",
        )
        .await
    }

    /// Something policy allows and connectord's own card does not.
    async fn stopped(&mut self, asks: &str, wish: Wish, code: &str) -> Result<(), AppError> {
        let asked = self.agent.ask(wish).await?;
        let (happened, stopped) = match self.agent.execute(&asked).await? {
            Ok(_) => ("EXECUTED".to_owned(), false),
            Err(found) => (format!("REFUSED {found}"), found == code),
        };
        let expected = stopped && asked.verdict() == "ALLOW";
        self.row(asks, &asked.said(), &happened, expected);
        Ok(())
    }

    /// One customer is halted, the others go on, and every connectord answers a drill.
    pub(super) async fn one_customer(&mut self) -> Result<(), AppError> {
        let set = pb::SetHaltRequest {
            scope: "customer:C-1".to_owned(),
            reason: "a complaint".to_owned(),
            ..pb::SetHaltRequest::default()
        };
        let halted = self.operator.halt.set_halt(set).await;
        halted.map_err(|error| broken(&error))?;
        // policyd does not know whose deal L-3 is; connectord reads it in the record.
        let theirs = Wish {
            target: ("deal", "L-3"),
            ..LOG
        };
        self.stopped(
            "halt customer C-1, then log a deal of theirs",
            theirs,
            "HALTED",
        )
        .await?;
        self.write("the same for another customer", LOG, |e| e.wrote)
            .await?;
        let clear = pb::ClearHaltRequest {
            scope: "customer:C-1".to_owned(),
            reason: "settled".to_owned(),
        };
        let cleared = self.operator.halt.clear_halt(clear).await;
        cleared.map_err(|error| broken(&error))?;
        let drill = self.connectord(&["halt", "drill"]).await?;
        let line = drill.lines().find(|line| line.starts_with("drill:"));
        let line = line.unwrap_or("no answer").to_owned();
        let expected = line.contains("1 of 1");
        self.row("halt drill", "-", &line, expected);
        Ok(())
    }

    /// An agent goes wrong: found, undone by one command, one record left to a person.
    pub(super) async fn fifty(&mut self) -> Result<(), AppError> {
        self.agent.run = "wrong-50";
        for deal in 1..=WRONG {
            let target = format!("L-{deal}");
            let asked = self.agent.ask_on(LOG, &target).await?;
            let wrote = self.agent.execute(&asked).await?;
            wrote.map_err(|code| broken(&format!("{target} was refused: {code}")))?;
        }
        self.edit(DRIFTED, "log=seen by a person").await?;
        let start = std::time::Instant::now();
        let request = pb::BatchUndoRequest {
            parent: "tenants/acme".to_owned(),
            run_id: "wrong-50".to_owned(),
            reason: "wrong deals".to_owned(),
            page_size: 100,
            ..pb::BatchUndoRequest::default()
        };
        let batch = self.operator.execute.batch_undo(request).await;
        let batch = batch.map_err(|error| broken(&error))?.into_inner();
        let done = batch.items.iter().filter(|item| item.undone).count();
        let left: Vec<&str> = batch
            .items
            .iter()
            .filter(|item| !item.undone)
            .map(|item| item.reason_code.as_str())
            .collect();
        let happened = format!(
            "undid {done} of {} in {} ms; refused: {}",
            batch.items.len(),
            start.elapsed().as_millis(),
            left.join(", ")
        );
        let expected = batch.items.len() == WRONG
            && left == ["PRECONDITION_FAILED"]
            && done == WRONG.saturating_sub(1);
        self.row(
            "undo a run of 50, one edited by a person",
            "-",
            &happened,
            expected,
        );
        self.stopped("log_deal, which its card has demoted", LOG, "DRY_RUN_ONLY")
            .await
    }
}
