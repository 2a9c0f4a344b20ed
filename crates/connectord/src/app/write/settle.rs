//! What a crash or a lost answer left behind. Takeover never sends: it looks, and what cannot be
//! told is left to a person. An outage never ends a doubt, it only lengthens it.

mod round;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use writ_proto::Reason;
use writ_proto::value::{Map, Value, value_from_json};

use crate::app::App;
use crate::app::order::Order;
use crate::app::outcome::Kind;
use crate::clock;
use crate::domain::execution::{Execution, Proof, State};
use crate::domain::plan::{FieldPlan, Plan};
use crate::error::AppError;
use crate::system::{Doubt, Happened, System};
pub use round::Settling;

/// An execution that cannot be told is given to a person after this long.
const DOUBT_MS_MAX: i64 = 10 * 60 * 1_000;
/// After a system was away for so long it may have been put back from a backup: that nothing is found there proves nothing then.
const PUT_BACK_MS: i64 = 60 * 60 * 1_000;
/// Looks that must find nothing before "not there" is believed.
const LOOKS: u32 = 2;
/// Shortest time between two looks that count, in milliseconds, whoever makes them.
const LOOK_GAP_MS: i64 = 1_000;

/// A task that has not written its execution for so long is gone: every step of one takes seconds.
/// Should it be alive after all, the revision of the execution stops it.
pub const TAKEOVER: Duration = Duration::from_secs(90);

/// Why it says nothing that a system does not show what was sent, where that is so.
fn no_proof(execution: &Execution, system: &System, age: i64) -> Option<&'static str> {
    let digest = hex::encode(system.digest(&execution.object, &execution.verb));
    let searches = system.searches(&execution.object, &execution.verb);
    if searches && execution.looked == 0 && age > PUT_BACK_MS {
        // What a record shows is there; what a search does not find may have been there before.
        return Some(
            "nothing was found, and the system was away for so long that it may have been put back from a backup",
        );
    }
    // Another user may not be shown what is there.
    if !execution.account.is_empty() && system.account() != execution.account {
        return Some("the credential was replaced since, so nothing found is no proof");
    }
    // What is not found in another place, or in another way, proves nothing.
    if !execution.place.is_empty() && digest != execution.system_digest {
        return Some(
            "the system file or the address was changed since, so nothing found is no proof",
        );
    }
    None
}

impl App {
    /// Settles what has not ended: all that is in doubt, and what nobody touched for `idle`. Each
    /// connection has its own task, so that a system that hangs delays no other.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn reconcile(self: &Arc<Self>, idle: Duration) -> Result<usize, AppError> {
        let mut by_system: BTreeMap<(String, String), Vec<Execution>> = BTreeMap::new();
        for execution in self.journal.open_executions(idle).await? {
            let key = (execution.tenant.clone(), execution.connection.clone());
            by_system.entry(key).or_default().push(execution);
        }
        let mut tasks = JoinSet::new();
        for (key, executions) in by_system {
            let Some(round) = self.settling.begin(key) else {
                continue;
            };
            let app = Arc::clone(self);
            tasks.spawn(async move {
                let _round = round;
                app.settle_all(executions).await
            });
        }
        let mut settled = 0_usize;
        // Tasks that go on are not waited for longer than a round takes.
        let wait = async {
            while let Some(ended) = tasks.join_next().await {
                settled = settled.saturating_add(ended.unwrap_or_default());
            }
        };
        drop(tokio::time::timeout(ROUND, wait).await);
        tasks.detach_all();
        Ok(settled)
    }

    /// Marks what an earlier process left without looking anywhere: what was claimed was never
    /// sent, what was being sent is in doubt. For a process that is alone with its journal.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn take_over(&self) -> Result<usize, AppError> {
        let mut marked = 0_usize;
        for execution in self.journal.open_executions(Duration::ZERO).await? {
            if execution.state == State::InDoubt {
                continue;
            }
            match self.mark(execution).await {
                Ok(_) => marked = marked.saturating_add(1),
                Err(error) if error.reason == Reason::OutcomeUnknown => {}
                Err(error) => return Err(error),
            }
        }
        Ok(marked)
    }

    async fn settle_all(&self, executions: Vec<Execution>) -> usize {
        let mut settled = 0_usize;
        for execution in executions {
            match self.settle_one(execution).await {
                Ok(ended) => settled = settled.saturating_add(usize::from(ended)),
                // Another process settles it, or its own task still does.
                Err(error) if error.reason == Reason::OutcomeUnknown => {}
                Err(error) => tracing::warn!(%error, "an execution could not be settled"),
            }
        }
        settled
    }

    async fn settle_one(&self, execution: Execution) -> Result<bool, AppError> {
        let execution = match execution.state {
            State::InDoubt => execution,
            _ => self.mark(execution).await?,
        };
        if execution.state == State::InDoubt {
            return self.settle_doubt(execution).await;
        }
        Ok(true)
    }

    /// What the state alone tells of an execution whose process is gone.
    async fn mark(&self, mut execution: Execution) -> Result<Execution, AppError> {
        Reason::OutcomeUnknown
            .code()
            .clone_into(&mut execution.reason_code);
        if execution.state == State::Claimed {
            "the process stopped before anything was sent".clone_into(&mut execution.message);
            let kind = kind(&execution, Kind::Reconciled);
            return self.end(execution, State::ReconciledNotApplied, kind).await;
        }
        "the process stopped while the call was out".clone_into(&mut execution.message);
        // It may have gone out at the last moment: how late it may be done is counted from here.
        execution.sent_ms = clock::now().timestamp_millis();
        let kind = kind(&execution, Kind::Result);
        self.end(execution, State::InDoubt, kind).await
    }

    async fn settle_doubt(&self, mut execution: Execution) -> Result<bool, AppError> {
        let now = clock::now().timestamp_millis();
        let age = now.saturating_sub(execution.sent_ms.max(execution.created_ms));
        let doubt = Doubt {
            answered: execution.proof != Proof::None,
            version: execution.version_written.clone(),
        };
        let system = self.system(&execution.tenant, &execution.connection).ok();
        let late = system
            .as_ref()
            .map_or(Duration::MAX, |system| system.settle_after());
        let late = i64::try_from(late.as_millis()).unwrap_or(i64::MAX);
        let happened = match &system {
            Some(system) => system.settle(&plan_of(&execution), &doubt).await,
            None => Happened::Away("this connection is not configured".to_owned()),
        };
        let proves_nothing = system
            .as_ref()
            .and_then(|system| no_proof(&execution, system, age));
        let happened = match (happened, proves_nothing) {
            (Happened::No, Some(why)) => Happened::CannotTell(why.to_owned()),
            (happened, _) => happened,
        };
        let state = match happened {
            Happened::Yes { created_id } => {
                execution.wrote = true;
                if !created_id.is_empty() {
                    execution.created_id = created_id;
                }
                State::ReconciledApplied
            }
            Happened::No if age <= late => return Ok(false),
            Happened::No if now.saturating_sub(execution.looked_ms) < LOOK_GAP_MS => {
                return Ok(false);
            }
            Happened::No if execution.looked.saturating_add(1) < LOOKS => {
                execution.looked = execution.looked.saturating_add(1);
                execution.looked_ms = now;
                self.journal.save(&mut [&mut execution], vec![]).await?;
                return Ok(false);
            }
            Happened::No => State::ReconciledNotApplied,
            Happened::CannotTell(why) if age > DOUBT_MS_MAX => {
                execution.message = format!(
                    "{why}; look, and say what you found: connectord executions settle {}",
                    execution.id
                );
                State::Human
            }
            Happened::CannotTell(why) | Happened::Away(why) => {
                tracing::warn!(execution = execution.id, why, "still in doubt");
                return Ok(false);
            }
        };
        let kind = kind(&execution, Kind::Reconciled);
        self.end_settled(execution, state, kind).await?;
        Ok(true)
    }

    /// What an operator who looked says became of an execution in doubt.
    ///
    /// # Errors
    /// `NOT_FOUND`, `REASON_REQUIRED`, `REQUEST_MALFORMED` if it is not in doubt, or the journal is
    /// away.
    pub async fn settle_by_hand(
        &self,
        order: &Order,
        id: &str,
        applied: bool,
    ) -> Result<Execution, AppError> {
        let found = self.journal.execution(&order.tenant, id).await?;
        let mut execution = found.ok_or_else(|| AppError::no_execution(&order.tenant, id))?;
        if order.reason.trim().is_empty() {
            return Err(AppError::new(
                Reason::ReasonRequired,
                "say what you saw: --reason",
            ));
        }
        if !matches!(execution.state, State::InDoubt | State::Human) {
            let message = format!(
                "execution {id} is {}, so there is nothing to settle",
                execution.state.name()
            );
            return Err(AppError::new(Reason::RequestMalformed, message));
        }
        execution.wrote = applied;
        execution.settled_by.clone_from(&order.by);
        execution.message = format!("{}: {}", order.by, order.reason);
        let state = if applied {
            State::ReconciledApplied
        } else {
            State::ReconciledNotApplied
        };
        let kind = kind(&execution, Kind::Reconciled);
        self.end_settled(execution, state, kind).await
    }

    /// The end of a doubt. Where an undo is known to have happened, what it undid is marked in the
    /// same transaction: neither stands without the other.
    async fn end_settled(
        &self,
        execution: Execution,
        state: State,
        kind: Kind,
    ) -> Result<Execution, AppError> {
        if state != State::ReconciledApplied || execution.undo_of.is_empty() {
            return self.end(execution, state, kind).await;
        }
        let (tenant, id) = (execution.tenant.clone(), execution.undo_of.clone());
        let mut target = self.journal.execution(&tenant, &id).await?;
        if let Some(target) = &mut target {
            target.undone_by.clone_from(&execution.id);
        }
        let (is_marked, said_by) = (target.is_some(), execution.settled_by.clone());
        let ended = self.end_with(execution, target, state, kind).await?;
        if is_marked {
            tracing::info!(
                execution = id,
                tenant = ended.tenant,
                action = ended.action,
                undo = ended.id,
                said_by,
                "undone, as was found out later"
            );
        }
        Ok(ended)
    }
}

/// How long one round of settling waits for its systems.
const ROUND: Duration = Duration::from_secs(5);

/// What an end is reported as: that of an undo says nothing of the write, its budget or its undo.
const fn kind(execution: &Execution, of_a_write: Kind) -> Kind {
    if execution.undo_of.is_empty() {
        of_a_write
    } else {
        Kind::Undo
    }
}

/// The plan as it was journaled.
fn plan_of(execution: &Execution) -> Plan {
    let fields = execution.changes.iter().map(|change| FieldPlan {
        field: change.field.clone(),
        old: change.before_value(),
        new: change.after_value().unwrap_or(Value::Null),
    });
    let args = match value_from_json(&execution.args_json) {
        Ok(Value::Map(map)) => map,
        _ => Map::new(),
    };
    Plan {
        object: execution.object.clone(),
        id: execution.target.clone(),
        verb: execution.verb.clone(),
        fields: fields.collect(),
        args,
        version: execution.version.clone(),
        key: execution.key.clone(),
        sentence: execution.sentence.clone(),
    }
}
