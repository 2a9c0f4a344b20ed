//! Undo: one execution or many, last in, first out, each with its own outcome. Halts do not stop
//! an operator; drift does. An agent undoes only what it executed itself, and a halt stops it, for
//! it is a write that an agent wants. Each needs the undo writ that policyd signed when it heard of
//! the write. The intent is journaled before the write, like every write.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use writ_proto::Reason;

use super::execute::{changes, unreadable};
use super::outcome::{Kind, Outcome};
use super::undo_writ::PATIENCE;
use super::{App, AppError};
use crate::domain::execution::{Change, Execution, State};
use crate::domain::gate::Refusal;
use crate::domain::plan::Plan;
use crate::domain::undo;
use crate::domain::undo_writ::UndoPermit;
use crate::store::Filter;
use crate::system::{Applied, Leave, System};
use crate::{clock, ids};

/// Most executions that are counted for a batch.
pub const UNDO_MAX: u32 = 1_000;

/// After so long the undo of the last minutes begins with no further record.
pub const RECENT_TIME: Duration = Duration::from_secs(8);
/// Executions of one of its pages.
const RECENT_PAGE: u32 = 20;

/// Who asks for an undo, and why.
#[derive(Debug, Clone)]
pub struct Order {
    /// Tenant of who asks.
    pub tenant: String,
    /// The operator, or `agent:` and the agent.
    pub by: String,
    /// The agent that asks, if it is one.
    pub agent: Option<String>,
    /// Why.
    pub reason: String,
    /// Plan only.
    pub dry_run: bool,
    /// An operator takes it upon himself where policyd signed nothing.
    pub unsigned: bool,
}

/// How the undo of one execution went.
#[derive(Debug, Clone)]
pub struct Undone {
    /// The execution that was to be undone.
    pub execution: String,
    /// Action of that execution.
    pub action: String,
    /// Whether the record carries its earlier values again.
    pub undone: bool,
    /// Why not, or nothing.
    pub refusal: Option<Refusal>,
    /// What stands there, and what undo writes.
    pub changes: Vec<Change>,
    /// Whether it rests on the word of an operator.
    pub unsigned: bool,
}

/// One page of a batch.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// What became of each.
    pub items: Vec<Undone>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// Executions of the selection that stood, with the first page.
    pub total: usize,
    /// Executions of the page that were undone earlier.
    pub earlier: usize,
}

/// What the undo of the last minutes came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records that carry their earlier values again.
    pub undone: usize,
    /// Records that were left as they are.
    pub refused: usize,
    /// Writes or undos of which nobody knows whether they happened.
    pub doubtful: usize,
    /// Whether the time was up before all were looked at.
    pub left: bool,
}

/// An undo that may be written.
struct Ready {
    permit: UndoPermit,
    system: Arc<System>,
    plan: Plan,
}

/// Whether a write is there to be undone.
const fn stands(execution: &Execution) -> bool {
    execution.wrote && execution.undone_by.is_empty() && execution.undo_of.is_empty()
}

impl App {
    /// Undoes one execution.
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
        let execution = execution.ok_or_else(|| AppError::of(Reason::NotFound))?;
        self.undo_one(order, execution, Instant::now() + PATIENCE)
            .await
    }

    /// Halts stop an agent, not an operator.
    fn check_order(&self, order: &Order, execution: &Execution) -> Result<(), Refusal> {
        match &order.agent {
            Some(agent) => self.check_undo(execution, agent),
            None => Ok(()),
        }
    }

    /// Undoes what one page of a selection finds, newest first.
    ///
    /// # Errors
    /// When the journal is away. Refusals are inside the answer.
    pub async fn batch_undo(&self, order: &Order, page: &Filter) -> Result<Batch, AppError> {
        let mut batch = Batch {
            total: self.standing(&order.tenant, page).await?,
            ..Batch::default()
        };
        let found = self.journal.list(&order.tenant, page).await?;
        let until = Instant::now() + PATIENCE;
        let full = u32::try_from(found.len()).is_ok_and(|count| count == page.limit);
        batch.next = found.last().filter(|_| full).map(|last| last.id.clone());
        for execution in found {
            if stands(&execution) {
                batch
                    .items
                    .push(self.undo_one(order, execution, until).await?);
            } else {
                let earlier = execution.undo_of.is_empty() && !execution.undone_by.is_empty();
                batch.earlier = batch.earlier.saturating_add(usize::from(earlier));
            }
        }
        Ok(batch)
    }

    /// Undoes what was written between two moments, newest first, as far as it gets in
    /// [`RECENT_TIME`]. Repeating it goes on with what still stands.
    ///
    /// # Errors
    /// When the journal is away and nothing was done. Whatever comes later is counted.
    pub async fn undo_recent(
        &self,
        order: &Order,
        (since_ms, until_ms): (i64, i64),
    ) -> Result<Totals, AppError> {
        let (now, mut totals) = (Instant::now(), Totals::default());
        let mut page = Filter {
            execute: Some(true),
            since_ms: Some(since_ms),
            until_ms: Some(until_ms),
            limit: RECENT_PAGE,
            ..Filter::default()
        };
        loop {
            let found = match self.journal.list(&order.tenant, &page).await {
                Ok(found) => found,
                Err(error) if page.before.is_none() => return Err(error.into()),
                Err(_) => {
                    totals.left = true;
                    return Ok(totals);
                }
            };
            let full = u32::try_from(found.len()).is_ok_and(|count| count == page.limit);
            page.before = found.last().filter(|_| full).map(|last| last.id.clone());
            for execution in found {
                if now.elapsed() >= RECENT_TIME {
                    totals.left = true;
                    return Ok(totals);
                }
                self.undo_and_count(order, execution, now + PATIENCE, &mut totals)
                    .await;
            }
            if page.before.is_none() {
                return Ok(totals);
            }
        }
    }

    async fn undo_and_count(
        &self,
        order: &Order,
        execution: Execution,
        until: Instant,
        totals: &mut Totals,
    ) {
        let add = |count: &mut usize| *count = count.saturating_add(1);
        let open = !execution.state.is_final() || execution.state == State::Human;
        if open && execution.undo_of.is_empty() {
            return add(&mut totals.doubtful);
        }
        if !stands(&execution) {
            return;
        }
        match self.undo_one(order, execution, until).await {
            Ok(item) if item.undone => add(&mut totals.undone),
            Ok(Undone {
                refusal: Some(refusal),
                ..
            }) if refusal.reason != Reason::OutcomeUnknown => add(&mut totals.refused),
            // Somebody else's undo came between, or nobody knows what became of this one.
            Ok(_) => add(&mut totals.doubtful),
            Err(error) => {
                tracing::warn!(%error, "what became of an undo is not known");
                add(&mut totals.doubtful);
            }
        }
    }

    /// How many executions of a selection stand; told with its first page only.
    async fn standing(&self, tenant: &str, page: &Filter) -> Result<usize, AppError> {
        if page.before.is_some() {
            return Ok(0);
        }
        let all = Filter {
            limit: UNDO_MAX,
            ..page.clone()
        };
        let found = self.journal.list(tenant, &all).await?;
        Ok(found.iter().filter(|own| stands(own)).count())
    }

    async fn undo_one(
        &self,
        order: &Order,
        execution: Execution,
        until: Instant,
    ) -> Result<Undone, AppError> {
        let id = execution.id.clone();
        let action = execution.action.clone();
        let answer = |refusal: Option<Refusal>, undone: bool, changes: Vec<Change>| Undone {
            execution: id.clone(),
            action: action.clone(),
            undone,
            refusal,
            changes,
            unsigned: false,
        };
        let planned = match self.check_order(order, &execution) {
            Ok(()) => self.undo_plan(order, &execution, until).await,
            Err(refusal) => Err(refusal),
        };
        let Ready {
            permit,
            system,
            plan,
        } = match planned {
            Ok(planned) => planned,
            Err(refusal) => {
                if !order.dry_run {
                    self.report_refused(order, &execution, &refusal).await?;
                }
                return Ok(answer(Some(refusal), false, Vec::new()));
            }
        };
        let answer = |refusal: Option<Refusal>, undone: bool, changes: Vec<Change>| Undone {
            unsigned: !permit.is_signed(),
            ..answer(refusal, undone, changes)
        };
        let planned = changes(&plan.fields);
        if order.dry_run {
            return Ok(answer(None, false, planned));
        }
        let mut own = self.undo_intent(order, &execution, (&permit, &plan));
        // Writing the target too makes a second undo of it, begun before, come too late.
        let mut target = execution.clone();
        self.journal
            .save(&mut [&mut own, &mut target], vec![])
            .await?;
        if let Err(refusal) = self.check_order(order, &execution) {
            refusal.reason.code().clone_into(&mut own.reason_code);
            self.end(own, State::Failed, Kind::Undo).await?;
            return Ok(answer(Some(refusal), false, planned));
        }
        match system.write(Leave::Undo(&permit), &plan).await {
            Applied::Done { .. } => {
                self.undone(order, &permit, own, target).await?;
                Ok(answer(None, true, planned))
            }
            Applied::Unknown(why) => {
                own.message = why;
                let refusal = Refusal::of(Reason::OutcomeUnknown);
                refusal.reason.code().clone_into(&mut own.reason_code);
                self.end(own, State::InDoubt, Kind::Undo).await?;
                Ok(answer(Some(refusal), false, planned))
            }
            Applied::Conflict(why) | Applied::Refused(why) | Applied::RateLimited(why) => {
                let refusal = Refusal::new(Reason::PreconditionFailed, why);
                refusal.reason.code().clone_into(&mut own.reason_code);
                own.message.clone_from(&refusal.detail);
                self.end(own, State::Failed, Kind::Undo).await?;
                Ok(answer(Some(refusal), false, planned))
            }
        }
    }

    /// Journals and reports an undo that was written.
    async fn undone(
        &self,
        order: &Order,
        permit: &UndoPermit,
        mut own: Execution,
        mut target: Execution,
    ) -> Result<(), AppError> {
        own.wrote = true;
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
        self.after_trouble(&target).await;
        Ok(())
    }

    async fn undo_plan(
        &self,
        order: &Order,
        execution: &Execution,
        until: Instant,
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
        let system = self.systems.get(&execution.connection).cloned();
        let system = system.ok_or_else(|| Refusal::of(Reason::UnknownConnection))?;
        let names: Vec<String> = execution
            .changes
            .iter()
            .map(|change| change.field.clone())
            .collect();
        let current = system
            .read(&execution.object, &execution.target, &names)
            .await;
        let plan = undo::plan(execution, now, &current.map_err(unreadable)?)?;
        Ok(Ready {
            permit,
            system,
            plan,
        })
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
            created_ms: clock::now().timestamp_millis(),
            undone_by: String::new(),
            undo_of: execution.id.clone(),
            sent_ms: clock::now().timestamp_millis(),
            surprise: String::new(),
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
        Ok(self.journal.report(outcome.report()).await?)
    }

    /// After recovery found that an undo had happened.
    pub(super) async fn mark_undone(&self, own: &Execution) -> Result<(), AppError> {
        if let Some(mut undone) = self.journal.execution(&own.tenant, &own.undo_of).await? {
            undone.undone_by.clone_from(&own.id);
            self.journal.save(&mut [&mut undone], vec![]).await?;
        }
        Ok(())
    }
}
