//! One call from claim to receipt. The same plan serves dry run, real run and
//! recovery; they differ only in the last call.

use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::token::Mode;

use super::admit::{Admitted, Purpose};
use super::outcome::{Kind, Outcome};
use super::{App, AppError};
use crate::domain::caps::{self, Count};
use crate::domain::execution::{Change, Execution, State};
use crate::domain::gate::{Call, Refusal};
use crate::domain::identity::{Signal, absent, confirm};
use crate::domain::image::Image;
use crate::domain::plan::{FieldPlan, Plan, plan};
use crate::store::{Claim, Claimed, Journal, JournalError, Report};
use crate::system::{Applied, Leave, SystemError};
use crate::{clock, crash, ids};

/// Longest time from the mark that a call is being sent to the call. Takeover waits far longer.
const SENDING_MAX: chrono::Duration = chrono::Duration::seconds(10);
const SAVES_MAX: u32 = 120;
const SAVE_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);
const WAIT_STEPS_MAX: u32 = 100;
const WAIT_STEP: std::time::Duration = std::time::Duration::from_millis(50);

/// What the caller gets: the execution, and whether an earlier call made it.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The journal entry.
    pub execution: Execution,
    /// The outcome was stored by an earlier identical call.
    pub replayed: bool,
}

/// What presenting a token came to.
#[derive(Debug)]
pub enum Spent {
    /// It is spent for this call, and this is the intent.
    Fresh(Box<(Admitted, Execution)>),
    /// This very call spent it earlier.
    Earlier(Box<Execution>),
}

/// Field changes as they are journaled.
pub(super) fn changes(fields: &[FieldPlan]) -> Vec<Change> {
    let change = |field: &FieldPlan| Change {
        field: field.field.clone(),
        before_json: field.old.as_ref().map(writ_proto::value::Value::to_json),
        after_json: Some(field.new.to_json()),
    };
    fields.iter().map(change).collect()
}

impl App {
    /// Verifies, claims and executes. The work goes on if the caller hangs up.
    ///
    /// # Errors
    /// The refusal, which is also a record, or that the journal is away.
    pub async fn execute(
        self: Arc<Self>,
        token: &[u8],
        call: Call,
        certificate: [u8; 32],
    ) -> Result<Executed, AppError> {
        // The task owns the call from here: a caller that hangs up changes nothing, also while the
        // token is being spent.
        let token = token.to_vec();
        let task = tokio::spawn(async move {
            let (admitted, execution) = match self
                .spend(&token, &call, certificate, Purpose::Write)
                .await?
            {
                Spent::Fresh(spent) => *spent,
                Spent::Earlier(execution) => return self.earlier(*execution).await,
            };
            crash::point("after_claim").await;
            let _open = self.work.begin();
            let execution = self.carry_out(admitted, call, execution).await?;
            Ok(Executed {
                execution,
                replayed: false,
            })
        });
        task.await
            .map_err(|_| AppError::of(Reason::OutcomeUnknown))?
    }

    /// Checks 1 to 19: after this the token is spent, durably, for this call alone.
    ///
    /// # Errors
    /// The refusal, which is also a record, or that the journal is away.
    pub async fn spend(
        &self,
        token: &[u8],
        call: &Call,
        certificate: [u8; 32],
        purpose: Purpose,
    ) -> Result<Spent, AppError> {
        let admitted = match self.admit(token, call, certificate, purpose).await? {
            Ok(admitted) => admitted,
            Err(refusal) => return Err(self.refuse(call, &refusal).await),
        };
        let counts = match self.counts(&admitted, call).await? {
            Ok(counts) => counts,
            Err(refusal) => return Err(self.refuse(call, &refusal).await),
        };
        let execution = self.intent(&admitted, call);
        let claim = claim(&admitted, call, counts, execution);
        let refusal = match self.journal.claim(claim).await? {
            Claimed::Fresh(execution) => {
                return Ok(Spent::Fresh(Box::new((admitted, *execution))));
            }
            Claimed::Repeated(earlier) => return Ok(Spent::Earlier(earlier)),
            Claimed::Replayed => Refusal::of(Reason::TokenReplayed),
            Claimed::OverCap(over) => self.over(call, over).await,
        };
        Err(self.refuse(call, &refusal).await)
    }

    /// All checks and the plan; nothing is claimed, nothing is written.
    ///
    /// # Errors
    /// The refusal, which is also a record.
    pub async fn preview(
        &self,
        token: &[u8],
        call: &Call,
        certificate: [u8; 32],
    ) -> Result<Plan, AppError> {
        let purpose = Purpose::Write;
        let admitted = match self.admit(token, call, certificate, purpose).await? {
            Ok(admitted) => admitted,
            Err(refusal) => return Err(self.refuse(call, &refusal).await),
        };
        match self.look(&admitted, call).await {
            Ok((_, plan)) => Ok(plan),
            Err(refusal) => Err(self.refuse(call, &refusal).await),
        }
    }

    /// Records a refusal. If that fails the caller is still refused, and told of the store.
    pub(super) async fn refuse(&self, call: &Call, refusal: &Refusal) -> AppError {
        let report = Outcome::of_refusal(call, refusal).report();
        match self.journal.report(report).await {
            Ok(()) => AppError::from(refusal.clone()),
            Err(error) => AppError::from(error),
        }
    }

    /// What a call counts against the ceilings of its card, spikes among them.
    async fn counts(
        &self,
        admitted: &Admitted,
        call: &Call,
    ) -> Result<Result<Vec<Count>, Refusal>, AppError> {
        let (card, now) = (&admitted.card, clock::now());
        let day = caps::day(now);
        let counts = match caps::at_claim(&admitted.permit, call, (card, admitted.rollout), now) {
            Ok(counts) => counts,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(factor) = card.caps.spike else {
            return Ok(Ok(counts));
        };
        let action = card.name.as_str();
        let earlier = caps::days_before(now);
        let earlier = self.journal.tallies(&call.tenant, action, &earlier).await?;
        Ok(Ok(caps::with_spike(counts, &day, (factor, earlier))))
    }

    fn intent(&self, admitted: &Admitted, call: &Call) -> Execution {
        let now = clock::now().timestamp_millis();
        let claims = admitted.permit.claims();
        let (object, target) = call.target.clone().unwrap_or_default();
        let window = i64::from(admitted.card.rollback_window_seconds).saturating_mul(1_000);
        Execution {
            id: ids::new_id().to_string(),
            tenant: call.tenant.clone(),
            decision: claims.decision_id.to_string(),
            cti: claims.cti.to_string(),
            agent: call.agent.clone(),
            connection: call.connection.clone(),
            action: call.action.clone(),
            verb: admitted.card.verb.name().to_owned(),
            object,
            target,
            run: call.run_id.clone(),
            execute: call.mode == Mode::Execute,
            state: State::Claimed,
            wrote: false,
            sentence: String::new(),
            changes: Vec::new(),
            collateral: Vec::new(),
            args_json: admitted.permit.args().to_json(),
            version: None,
            key: claims.decision_id.to_string(),
            reason_code: String::new(),
            message: String::new(),
            created_id: String::new(),
            created_ms: now,
            sent_ms: 0,
            undo_until_ms: now.saturating_add(window),
            undone_by: String::new(),
            undo_of: String::new(),
            surprise: String::new(),
            revision: 0,
        }
    }

    /// A retry of the same call waits for the first one, within bounds.
    async fn earlier(&self, mut execution: Execution) -> Result<Executed, AppError> {
        for _ in 0..WAIT_STEPS_MAX {
            if execution.state.is_final() || execution.state == State::InDoubt {
                return Ok(Executed {
                    execution,
                    replayed: true,
                });
            }
            tokio::time::sleep(WAIT_STEP).await;
            let (tenant, id) = (execution.tenant.clone(), execution.id.clone());
            let found = self.journal.execution(&tenant, &id).await?;
            execution = found.ok_or_else(|| AppError::of(Reason::StoreCorrupt))?;
        }
        Err(AppError::of(Reason::OutcomeUnknown))
    }

    /// The before-image and the plan.
    async fn look(&self, admitted: &Admitted, call: &Call) -> Result<(Image, Plan), Refusal> {
        let (object, id) = call.target.clone().unwrap_or_default();
        let mut names: Vec<String> = admitted
            .card
            .args
            .values()
            .map(|arg| arg.field.clone())
            .collect();
        names.extend(admitted.card.when.keys().cloned());
        names.extend(admitted.card.customer.clone());
        let before = if admitted.card.verb.has_record() {
            let read = admitted.system.read(&object, &id, &names).await;
            read.map_err(unreadable)?
        } else {
            Image::default()
        };
        // Before anything else is said of the record: whose it is may be what halts the call.
        self.check_before_write((&admitted.card, admitted.permit.claims()), call, &before)?;
        self.identify(admitted, (&object, &id)).await?;
        let plan = plan(&admitted.permit, call, &admitted.card, &before)?;
        Ok((before, plan))
    }

    /// The ambiguity stop: what every signal finds, and whether that is the target alone.
    async fn identify(
        &self,
        admitted: &Admitted,
        (object, id): (&str, &str),
    ) -> Result<(), Refusal> {
        let mut signals = Vec::new();
        for name in &admitted.card.identify {
            let found = admitted
                .system
                .find(object, name, admitted.permit.args())
                .await;
            signals.push(Signal {
                name: name.clone(),
                ids: found.map_err(unreadable)?,
            });
        }
        if admitted.card.verb.has_record() {
            confirm(id, &signals)
        } else {
            absent(&signals)
        }
    }

    async fn carry_out(
        &self,
        admitted: Admitted,
        call: Call,
        mut execution: Execution,
    ) -> Result<Execution, AppError> {
        let (before, plan) = match self.look(&admitted, &call).await {
            Ok(seen) => seen,
            Err(refusal) => return self.fail(execution, &refusal).await,
        };
        execution.sentence.clone_from(&plan.sentence);
        execution.changes = changes(&plan.fields);
        execution.version.clone_from(&plan.version);
        if !execution.execute {
            execution.sentence = format!("would {}", plan.sentence);
            return self.end(execution, State::Done, Kind::Result).await;
        }
        crash::point("after_before_image").await;
        let expires = i64::from(admitted.permit.claims().exp)
            .saturating_add(i64::from(self.rules.leeway_seconds));
        let looked = clock::now();
        let counts = match caps::at_look(&admitted.card, &call, &plan, &before, looked) {
            Ok(counts) => counts,
            Err(refusal) => return self.fail(execution, &refusal).await,
        };
        let claimed = execution.clone();
        execution.state = State::Sending;
        execution.sent_ms = looked.timestamp_millis();
        let own = &mut [&mut execution];
        let sending = self.journal.save_counted(own, vec![], counts).await;
        match sending {
            Ok(()) => {}
            Err(JournalError::OverCap(over)) => {
                let refusal = self.over(&call, over).await;
                return self.fail(claimed, &refusal).await;
            }
            Err(error) => return Err(error.into()),
        }
        crash::point("after_sending_marked").await;
        // Right before the write, after everything that takes time. A process that was stopped in
        // between may have been taken over.
        let now = clock::now();
        let paused = now.signed_duration_since(looked) > SENDING_MAX;
        if paused || now.timestamp() > expires {
            let refusal = Refusal::of(Reason::TokenExpired);
            return self.fail(execution, &refusal).await;
        }
        let standing = (&*admitted.card, admitted.permit.claims());
        if let Err(refusal) = self.check_before_write(standing, &call, &before) {
            return self.fail(execution, &refusal).await;
        }
        let applied = admitted
            .system
            .write(Leave::Permit(&admitted.permit), &plan)
            .await;
        crash::point("after_write").await;
        self.settle(execution, &admitted, (&before, &plan), applied)
            .await
    }

    async fn settle(
        &self,
        mut execution: Execution,
        admitted: &Admitted,
        (before, plan): (&Image, &Plan),
        applied: Applied,
    ) -> Result<Execution, AppError> {
        let refusal = match applied {
            Applied::Done { created_id } => {
                execution.wrote = true;
                execution.created_id = created_id;
                self.work
                    .wrote(&execution.action, clock::now().timestamp_millis());
                self.read_back(&mut execution, admitted, (before, plan))
                    .await;
                crash::point("after_read_back").await;
                let done = self.end(execution, State::Done, Kind::Result).await?;
                crash::point("after_finish").await;
                return Ok(done);
            }
            Applied::Conflict(why) => Refusal::new(Reason::PreconditionFailed, why),
            Applied::Refused(why) => Refusal::new(Reason::SystemRefused, why),
            Applied::RateLimited(why) => Refusal::new(Reason::SystemRateLimited, why),
            Applied::Unknown(why) => {
                Reason::OutcomeUnknown
                    .code()
                    .clone_into(&mut execution.reason_code);
                execution.message = why;
                return self.end(execution, State::InDoubt, Kind::Result).await;
            }
        };
        self.fail(execution, &refusal).await
    }

    /// Compares what stands there with what was written, on declared fields only.
    async fn read_back(
        &self,
        execution: &mut Execution,
        admitted: &Admitted,
        (before, plan): (&Image, &Plan),
    ) {
        if !admitted.card.verb.has_record() {
            return;
        }
        let names: Vec<String> = before
            .fields
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect();
        let declared = plan.fields.iter().map(|field| field.field.clone());
        let names: Vec<String> = names.into_iter().chain(declared).collect();
        match admitted.system.read(&plan.object, &plan.id, &names).await {
            Ok(after) => {
                for change in &mut execution.changes {
                    change.after_json = after.value(&change.field).map(|value| value.to_json());
                }
                execution.collateral = changes(&plan.collateral(before, &after));
                execution.version.clone_from(&after.version);
                if !plan.is_applied_in(&after) {
                    // A success that changed something else is what people must see.
                    "the system of record shows another value than was written"
                        .clone_into(&mut execution.message);
                }
            }
            Err(error) => execution.message = format!("written, but not read back: {error}"),
        }
    }

    /// Ends an execution that did not happen.
    pub(super) async fn fail(
        &self,
        mut execution: Execution,
        refusal: &Refusal,
    ) -> Result<Execution, AppError> {
        refusal.reason.code().clone_into(&mut execution.reason_code);
        execution.message.clone_from(&refusal.detail);
        let failed = self.end(execution, State::Failed, Kind::Result).await?;
        self.after_trouble(&failed).await;
        Ok(failed)
    }

    /// Writes the end and its report in one transaction.
    pub(super) async fn end(
        &self,
        mut execution: Execution,
        state: State,
        kind: Kind,
    ) -> Result<Execution, AppError> {
        execution.state = state;
        let report = Outcome::of_execution(kind, &execution, state.name()).report();
        let saved = self
            .journal
            .save(&mut [&mut execution], vec![report.clone()])
            .await;
        match saved {
            Ok(()) => {}
            // Something may have been sent: "nothing happened" would be a lie.
            Err(JournalError::Unavailable(_) | JournalError::Full) if execution.sent_ms > 0 => {
                tokio::spawn(keep_saving(self.journal.clone(), execution, report));
                return Err(AppError::of(Reason::OutcomeUnknown));
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(
            execution = execution.id,
            tenant = execution.tenant,
            action = execution.action,
            state = state.name(),
            reason = execution.reason_code,
            "execution ended"
        );
        Ok(execution)
    }
}

/// Writes the end of an execution when the journal is back.
async fn keep_saving(journal: Journal, mut execution: Execution, report: Report) {
    for _ in 0..SAVES_MAX {
        tokio::time::sleep(SAVE_PAUSE).await;
        let saved = journal
            .save(&mut [&mut execution], vec![report.clone()])
            .await;
        match saved {
            Err(JournalError::Unavailable(_) | JournalError::Full) => {}
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, execution = execution.id, "left to be settled");
                return;
            }
        }
    }
    tracing::error!(
        execution = execution.id,
        "its end could not be written; left to be settled"
    );
}

fn claim(admitted: &Admitted, call: &Call, counts: Vec<Count>, execution: Execution) -> Claim {
    let claims = admitted.permit.claims();
    Claim {
        issuer: claims.iss.clone(),
        cti: claims.cti.uuid(),
        request_id: call.request_id,
        request_hash: *admitted.permit.request_hash(),
        caller: format!("{}/{}", call.tenant, call.agent),
        counts,
        execution,
    }
}

/// Why a record could not be read, as a refusal: nothing was sent.
pub(super) fn unreadable(error: SystemError) -> Refusal {
    match error {
        SystemError::NotFound => Refusal::of(Reason::TargetNotFound),
        SystemError::Unknown(why) => Refusal::new(Reason::TargetNotFound, why),
        SystemError::Unavailable(why) => Refusal::new(Reason::SystemUnavailable, why),
    }
}
