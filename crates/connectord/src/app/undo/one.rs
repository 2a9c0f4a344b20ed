//! The undo of one execution.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use writ_proto::Reason;

use super::super::order::Order;
use super::super::outcome::{Kind, Outcome};
use super::super::write::{Came, Draft, changes};
use super::super::{App, AppError};
use super::foreseen::Foreseen;
use super::writ::PATIENCE;
use super::{Undone, in_doubt};
use crate::domain::execution::{Attempt, Execution, Proof, State};
use crate::domain::gate::Refusal;
use crate::domain::image::Image;
use crate::domain::plan::Plan;
use crate::domain::undo;
use crate::domain::undo_writ::UndoPermit;
use crate::store::{Filter, Journal, Readers};
use crate::system::{Leave, Prepared, System, Wanted};
use crate::{clock, crash, ids};

/// Most later executions on the same record that are looked through at once, and how often.
const LATER_MAX: u32 = 1_000;
const LATER_PAGES_MAX: u32 = 20;

/// An undo that may be written.
struct Ready {
    permit: UndoPermit,
    system: Arc<System>,
    plan: Plan,
    prepared: Prepared,
    before: Image,
}

impl App {
    /// Undoes one execution. An identical call that comes again gets what the first one came to.
    ///
    /// # Errors
    /// `NOT_FOUND`, or the journal is away. A refusal is inside the answer.
    pub async fn undo(&self, order: &Order, id: &str) -> Result<Undone, AppError> {
        let found = self.journal.execution(&order.tenant, id).await?;
        let own = |execution: &Execution| {
            let agent = order.agent.as_ref();
            agent.is_none_or(|agent| *agent == execution.agent && execution.undo_of.is_empty())
        };
        // What another agent did is told apart from what is not there by nobody.
        let execution = found.filter(own);
        let execution = execution.ok_or_else(|| AppError::no_execution(&order.tenant, id))?;
        let until = Instant::now() + PATIENCE;
        Box::pin(self.undo_one(order, execution, (until, &Foreseen::default()))).await
    }

    /// Halts stop an agent, not an operator.
    fn check_order(&self, order: &Order, execution: &Execution) -> Result<(), Refusal> {
        match &order.agent {
            Some(agent) => self.check_undo(execution, agent),
            None => Ok(()),
        }
    }

    /// What this very call came to earlier, if it was made: before anything that time can change.
    async fn earlier_undo(
        &self,
        order: &Order,
        execution: &Execution,
    ) -> Result<Option<Undone>, AppError> {
        let same = |attempt: &&Attempt| {
            !order.request.is_empty() && attempt.request == order.request && attempt.by == order.by
        };
        let Some(attempt) = execution.undo_attempts.iter().rev().find(same) else {
            return Ok(None);
        };
        let own = self
            .journal
            .execution(&execution.tenant, &attempt.execution)
            .await?;
        let own = own.ok_or_else(|| AppError::of(Reason::StoreCorrupt))?;
        Ok(Some(Undone::of_attempt(execution.clone(), &own)))
    }

    /// An attempt of which nobody knows yet whether it happened; another one would write beside it.
    async fn open_attempt(&self, execution: &Execution) -> Result<Option<Refusal>, AppError> {
        let Some(last) = execution.undo_attempts.last() else {
            return Ok(None);
        };
        let own = self
            .journal
            .execution(&execution.tenant, &last.execution)
            .await?;
        let open = own.filter(|own| !own.state.is_final() || own.state == State::Human);
        Ok(open.as_ref().map(in_doubt))
    }

    pub(super) async fn undo_one(
        &self,
        order: &Order,
        execution: Execution,
        (until, foreseen): (Instant, &Foreseen),
    ) -> Result<Undone, AppError> {
        if let Some(earlier) = self.earlier_undo(order, &execution).await? {
            return Ok(earlier);
        }
        if let Some(open) = self.open_attempt(&execution).await? {
            return Ok(Undone::refused(execution, open));
        }
        let planned = match self.check_order(order, &execution) {
            Ok(()) => self.undo_plan(order, &execution, (until, foreseen)).await,
            Err(refusal) => Err(refusal),
        };
        let ready = match planned {
            Ok(ready) => ready,
            Err(refusal) => {
                if !order.dry_run {
                    self.report_refused(order, &execution, &refusal).await?;
                }
                return Ok(Undone::refused(execution, refusal));
            }
        };
        let mut answer = Undone {
            execution: Box::new(execution.clone()),
            undone: false,
            refusal: None,
            changes: changes(&ready.plan.fields),
            unsigned: !ready.permit.is_signed(),
            replayed: false,
        };
        if order.dry_run {
            // A system can rehearse only on the record as it stands.
            if foreseen.changes_record_of(&answer.execution) {
                return Ok(answer);
            }
            let rehearsed = ready.system.rehearse(&ready.plan, &ready.prepared).await;
            if let Err(error) = rehearsed {
                answer.refusal = Some(error.into());
            }
            return Ok(answer);
        }
        let looked = clock::now();
        answer.refusal = Box::pin(self.write_undo(order, execution, (&ready, looked))).await?;
        answer.undone = answer.refusal.is_none();
        Ok(answer)
    }

    /// Writes the undo; the refusal says why the record does not carry its earlier values.
    async fn write_undo(
        &self,
        order: &Order,
        execution: Execution,
        (ready, looked): (&Ready, DateTime<Utc>),
    ) -> Result<Option<Refusal>, AppError> {
        let mut own = self.undo_intent(order, &execution, (&ready.permit, &ready.plan));
        let digest = ready.system.digest(&own.object, &own.verb);
        own.system_digest = hex::encode(digest);
        own.place = hex::encode(ready.system.place());
        own.account = ready.system.account();
        // A pause counts from here on; what was prepared is looked at again right before the write.
        own.sent_ms = looked.timestamp_millis();
        // Writing the target too makes a second undo of it, begun before, come too late.
        let mut target = execution;
        target.begin_attempt(Attempt {
            request: order.request.clone(),
            by: order.by.clone(),
            execution: own.id.clone(),
        });
        self.journal
            .save(&mut [&mut own, &mut target], vec![])
            .await?;
        crash::point("undo_after_intent").await;
        let still = || {
            undo::check_standing(&target, clock::now().timestamp_millis())?;
            self.check_order(order, &target)
        };
        let draft = Draft {
            leave: Leave::Undo(&ready.permit),
            system: &ready.system,
            plan: &ready.plan,
            prepared: &ready.prepared,
            before: &ready.before,
            has_record: true,
            points: "undo_",
        };
        let came = self.send(&mut own, &draft, &still).await;
        let refusal = match came {
            Came::Done => {
                self.undone(order, &ready.permit, own, target).await?;
                None
            }
            Came::Not(refusal) => {
                refusal.reason.code().clone_into(&mut own.reason_code);
                own.message.clone_from(&refusal.detail);
                self.end(own, State::Failed, Kind::Undo).await?;
                Some(refusal)
            }
            Came::Doubt(why) => {
                own.message = why;
                Reason::OutcomeUnknown
                    .code()
                    .clone_into(&mut own.reason_code);
                let own = self.end(own, State::InDoubt, Kind::Undo).await?;
                Some(in_doubt(&own))
            }
        };
        crash::point("undo_after_finish").await;
        Ok(refusal)
    }

    /// Journals and reports an undo that the record shows.
    async fn undone(
        &self,
        order: &Order,
        permit: &UndoPermit,
        mut own: Execution,
        mut target: Execution,
    ) -> Result<(), AppError> {
        own.state = State::Done;
        target.undone_by.clone_from(&own.id);
        let mut outcome = Outcome::of_execution(Kind::Undo, &own, "UNDONE");
        (outcome.by, outcome.note) = (order.by.clone(), order.reason.clone());
        if !permit.is_signed() {
            let code = Reason::UndoNotSigned.code();
            code.clone_into(&mut outcome.reason_code);
        }
        self.journal
            .save(&mut [&mut own, &mut target], vec![outcome.report()])
            .await
            .map_err(|_| AppError::of(Reason::OutcomeUnknown))?;
        tracing::info!(
            execution = target.id,
            tenant = target.tenant,
            action = target.action,
            by = order.by,
            undo = own.id,
            "undone"
        );
        self.after_trouble(&target).await;
        Ok(())
    }

    async fn undo_plan(
        &self,
        order: &Order,
        execution: &Execution,
        (until, foreseen): (Instant, &Foreseen),
    ) -> Result<Ready, Refusal> {
        let now = clock::now().timestamp_millis();
        undo::check_standing(execution, now)?;
        // The verb is not in the writ: it chooses the calls by which fields are set.
        let card = self.card(&execution.tenant, &execution.action).ok();
        if card.is_some_and(|card| card.verb.name() != execution.verb) {
            let detail = "the verb of the card is another one than that of the write";
            return Err(Refusal::new(Reason::UndoImpossible, detail));
        }
        let permit = self.undo_permit(order, execution, until).await?;
        let system = self.system(&execution.tenant, &execution.connection)?;
        if !execution.place.is_empty() && execution.place != hex::encode(system.place()) {
            let detail = "the connection leads elsewhere than when this was written";
            return Err(Refusal::new(Reason::UndoImpossible, detail));
        }
        self.check_system_file(order, execution, &system).await?;
        if !system.restores(&execution.object, &execution.verb) {
            let detail = "the system file says that this verb is not undone";
            return Err(Refusal::new(Reason::UndoImpossible, detail));
        }
        let pages = (LATER_MAX, readers_of(order.agent.is_some()));
        Self::check_last(&self.journal, (execution, foreseen), pages).await?;
        let written = execution
            .changes
            .iter()
            .map(|change| change.field.clone())
            .collect();
        let wanted = Wanted {
            written,
            seen: Vec::new(),
        };
        let before = system
            .read(&execution.object, &execution.target, &wanted)
            .await?;
        let before = foreseen.applied_to(execution, before);
        let plan = undo::plan(execution, now, &before)?;
        // What an earlier undo of the chain would change cannot be looked at yet.
        let prepared = if foreseen.changes_record_of(execution) {
            Prepared::default()
        } else {
            system.prepare(&plan).await?
        };
        Ok(Ready {
            permit,
            system,
            plan,
            prepared,
            before,
        })
    }

    /// What the system file says of the verb is what it said at the write, or what was promoted since. An operator, who
    /// sees the plan, may undo by what nobody promoted yet; an agent may not.
    async fn check_system_file(
        &self,
        order: &Order,
        execution: &Execution,
        system: &System,
    ) -> Result<(), Refusal> {
        let now = hex::encode(system.digest(&execution.object, &execution.verb));
        let known = execution.system_digest.is_empty() || execution.system_digest == now;
        if known || order.agent.is_none() {
            return Ok(());
        }
        let set = self
            .journal
            .rollout_now(&execution.tenant, &execution.action)
            .await;
        let set = set.map_err(|error| {
            let error = AppError::from(error);
            Refusal::new(error.reason, error.public)
        })?;
        if set.is_some_and(|set| set.system == now) {
            return Ok(());
        }
        let (action, verb) = (&execution.action, &execution.verb);
        let detail = format!(
            "the system file does `{verb}` otherwise than at the write, and nobody promoted that: an operator undoes it, or promotes {action} again"
        );
        Err(Refusal::new(Reason::UndoImpossible, detail))
    }

    /// Last in, first out: a later write of ours to the same field stands on this one, also where
    /// it left the same value again.
    async fn check_last(
        journal: &Journal,
        (execution, foreseen): (&Execution, &Foreseen),
        (page, readers): (u32, Readers),
    ) -> Result<(), Refusal> {
        let mut filter = Filter {
            target: Some(execution.target.clone()),
            execute: Some(true),
            since_ms: Some(execution.created_ms),
            limit: page,
            readers,
            ..Filter::default()
        };
        let stands_on = |own: &&Execution| {
            let shares = |change: &crate::domain::execution::Change| {
                execution
                    .changes
                    .iter()
                    .any(|earlier| earlier.field == change.field)
            };
            let same = own.connection == execution.connection && own.object == execution.object;
            (super::stands(own) || super::is_doubtful(own))
                && own.id > execution.id
                && !foreseen.is_undone(&own.id)
                && same
                && own.changes.iter().any(shares)
        };
        for _ in 0..LATER_PAGES_MAX {
            let later = journal.list(&execution.tenant, &filter).await;
            let later = later.map_err(|error| {
                let error = AppError::from(error);
                Refusal::new(error.reason, error.public)
            })?;
            if let Some(own) = later.iter().find(stands_on) {
                let detail = format!(
                    "{} wrote the same field later and stands; undo {} first",
                    own.action, own.id
                );
                return Err(Refusal::new(Reason::PreconditionFailed, detail));
            }
            let is_full = u32::try_from(later.len()).is_ok_and(|count| count >= page);
            match later.last().filter(|_| is_full) {
                Some(last) => filter.before = Some(last.id.clone()),
                None => return Ok(()),
            }
        }
        let detail = "too many later executions on the record to look whether one stands on this; change it by hand";
        Err(Refusal::new(Reason::PreconditionFailed, detail))
    }

    fn undo_intent(
        &self,
        order: &Order,
        execution: &Execution,
        (permit, plan): (&UndoPermit, &Plan),
    ) -> Execution {
        let mut sentence = plan.sentence.clone();
        if !permit.is_signed() {
            // Whatever becomes of it, the record says on whose word it was.
            let code = Reason::UndoNotSigned.code();
            sentence = format!("{code}, {}: {}; {sentence}", order.by, order.reason);
        }
        let now = clock::now().timestamp_millis();
        Execution {
            id: ids::new_id().to_string(),
            cti: String::new(),
            agent: order.agent.as_ref().unwrap_or(&order.by).clone(),
            state: State::Sending,
            wrote: false,
            sentence,
            changes: changes(&plan.fields),
            collateral: Vec::new(),
            args_json: "{}".to_owned(),
            version: plan.version.clone(),
            key: plan.key.clone(),
            reason_code: String::new(),
            message: order.reason.clone(),
            created_id: String::new(),
            created_ms: now,
            sent_ms: now,
            undone_by: String::new(),
            undo_of: execution.id.clone(),
            surprise: String::new(),
            undo_attempts: Vec::new(),
            undo_count: 0,
            proof: Proof::None,
            version_written: None,
            unprotected_ms: 0,
            looked: 0,
            looked_ms: 0,
            settled_by: String::new(),
            counted: Vec::new(),
            requests: Vec::new(),
            revision: 0,
            ..execution.clone()
        }
    }

    async fn report_refused(
        &self,
        order: &Order,
        execution: &Execution,
        refusal: &Refusal,
    ) -> Result<(), AppError> {
        let mut outcome = Outcome::of_execution(Kind::Undo, execution, "UNDO_REFUSED");
        refusal.reason.code().clone_into(&mut outcome.reason_code);
        let note = [refusal.detail.as_str(), order.reason.as_str()];
        let note = note.into_iter().filter(|part| !part.is_empty());
        (outcome.by, outcome.note) = (order.by.clone(), note.collect::<Vec<_>>().join("; "));
        self.report_refusal(&outcome).await
    }
}

/// Agents wait with those who list; no undo of an operator waits for them.
const fn readers_of(is_agent: bool) -> Readers {
    if is_agent {
        Readers::Lists
    } else {
        Readers::Undos
    }
}

#[cfg(test)]
mod tests;
