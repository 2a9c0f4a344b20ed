//! One call from claim to receipt. The same plan serves dry run, real run and recovery; they differ
//! only in the last call.

pub mod admit;
mod claim;
mod end;
mod look;
mod send;
pub mod settle;

use std::sync::Arc;

use writ_proto::Reason;

use super::outcome::Kind;
use super::{App, AppError};
use crate::domain::execution::{Change, Execution, State};
use crate::domain::gate::{Call, Refusal};
use crate::domain::plan::{FieldPlan, Plan};
use crate::store::JournalError;
use crate::system::Leave;
use crate::{clock, crash};
use admit::{Admitted, Purpose};

pub use claim::Spent;
pub(crate) use send::{Came, Draft};

/// How often an answer that is still being made is waited for, and how long each time.
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

/// Field changes as they are journaled: the after-image is what the plan writes, never what stands
/// there at the read-back.
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
            let spent = self
                .spend(&token, &call, certificate, Purpose::Write)
                .await?;
            let (admitted, execution) = match spent {
                Spent::Fresh(spent) => *spent,
                Spent::Earlier(execution) => return self.earlier(*execution).await,
            };
            crash::point("after_claim").await;
            let _open = self.work.begin();
            let execution = Box::pin(self.carry_out(admitted, call, execution)).await?;
            Ok(Executed {
                execution,
                replayed: false,
            })
        });
        task.await
            .map_err(|_| AppError::of(Reason::OutcomeUnknown))?
    }

    /// All checks and the plan; nothing is claimed, nothing is written. It is a look at the record
    /// like any other: it counts against the read ceilings, and it is a record.
    ///
    /// # Errors
    /// The refusal, which is also a record.
    pub async fn preview(
        &self,
        token: &[u8],
        call: &Call,
        certificate: [u8; 32],
    ) -> Result<Plan, AppError> {
        if self.reserve.is_short() {
            return Err(AppError::of(Reason::DiskReserve));
        }
        let admitted = match self.admit(token, call, certificate, Purpose::Write).await? {
            Ok(admitted) => admitted,
            Err(refusal) => return Err(self.refuse(call, &refusal).await),
        };
        if let Err(refusal) = self.count_look(&admitted.card, call).await? {
            return Err(self.refuse(call, &refusal).await);
        }
        match self.look(&admitted, call).await {
            Ok(seen) => Ok(seen.plan),
            Err(refusal) => Err(self.refuse(call, &refusal).await),
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

    async fn carry_out(
        &self,
        admitted: Admitted,
        call: Call,
        mut execution: Execution,
    ) -> Result<Execution, AppError> {
        let seen = match self.look(&admitted, &call).await {
            Ok(seen) => seen,
            Err(refusal) => return self.fail(execution, &refusal).await,
        };
        let plan = &seen.plan;
        execution.sentence.clone_from(&plan.sentence);
        execution.changes = changes(&plan.fields);
        execution.version.clone_from(&plan.version);
        if !execution.execute {
            execution.sentence = format!("would {}", plan.sentence);
            execution.requests = seen.requests;
            return self.end(execution, State::Done, Kind::Result).await;
        }
        crash::point("after_before_image").await;
        let looked = clock::now();
        let counts = match self.counts_at_look(&admitted, &call, &seen) {
            Ok(counts) => counts,
            Err(refusal) => return self.fail(execution, &refusal).await,
        };
        // The look may have taken long: a demotion meanwhile counts.
        if let Err(refusal) = self.still_writes(&admitted, &call, &seen.before).await? {
            return self.fail(execution, &refusal).await;
        }
        let claimed = execution.clone();
        execution.state = State::Sending;
        execution.remember(&counts);
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
        let claims = admitted.permit.claims();
        let expires = i64::from(claims.exp).saturating_add(i64::from(self.rules.leeway_seconds));
        // Right before every step, after everything that takes time.
        let still = || -> Result<(), Refusal> {
            if clock::now().timestamp() > expires {
                return Err(Refusal::of(Reason::TokenExpired));
            }
            self.check_before_write((&admitted.card, claims), &call, &seen.before)
        };
        let draft = Draft {
            leave: Leave::Permit(&admitted.permit),
            system: &admitted.system,
            plan,
            prepared: &seen.prepared,
            before: &seen.before,
            has_record: admitted.card.verb.has_record(),
            points: "",
        };
        let came = self.send(&mut execution, &draft, &still).await;
        let done = match came {
            Came::Done => self.end(execution, State::Done, Kind::Result).await?,
            Came::Not(refusal) => self.fail(execution, &refusal).await?,
            Came::Doubt(why) => {
                Reason::OutcomeUnknown
                    .code()
                    .clone_into(&mut execution.reason_code);
                execution.message = why;
                self.end(execution, State::InDoubt, Kind::Result).await?
            }
        };
        crash::point("after_finish").await;
        Ok(done)
    }
}
