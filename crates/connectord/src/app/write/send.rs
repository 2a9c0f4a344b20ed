//! The one write and the look at what it did, the same for a write and for its undo: guarded, fenced
//! against a pause, proven by the answer and by the record.

use super::super::App;
use crate::domain::execution::{Change, Execution, Proof};
use crate::domain::gate::Refusal;
use crate::domain::image::Image;
use crate::domain::plan::Plan;
use crate::system::{Applied, Leave, NotDone, Prepared, Receipt, System, Wanted};
use crate::{clock, crash};
use writ_proto::Reason;

use super::changes;

/// Longest time from the mark that a call is being sent to its first step, and to its last. Takeover
/// waits far longer than both and one call.
const SENDING_MS_MAX: i64 = 10_000;
const STEPS_MS_MAX: i64 = 45_000;
/// How far a clock may be adjusted backwards within a write, in milliseconds.
const BACK_MS_MAX: i64 = 500;

/// What is about to be written.
pub(crate) struct Draft<'a> {
    pub(crate) leave: Leave<'a>,
    pub(crate) system: &'a System,
    pub(crate) plan: &'a Plan,
    pub(crate) prepared: &'a Prepared,
    pub(crate) before: &'a Image,
    /// Whether there is a record that shows what was done.
    pub(crate) has_record: bool,
    /// Before the names of its crash points.
    pub(crate) points: &'static str,
}

/// What a write came to.
#[derive(Debug)]
pub(crate) enum Came {
    /// It happened: the answer proves it, and the record shows it.
    Done,
    /// It did not happen, for certain.
    Not(Refusal),
    /// Nobody knows.
    Doubt(String),
}

/// Whether a process that was stopped for a while may go on: it may have been taken over.
fn check_pause(sent_ms: i64, step: usize) -> Result<(), Refusal> {
    // By the clock of the machine: while time stands still because that went back, nothing is written.
    let now = clock::of_machine().timestamp_millis();
    let ago = now.saturating_sub(sent_ms);
    let most = if step == 0 {
        SENDING_MS_MAX
    } else {
        STEPS_MS_MAX
    };
    if (-BACK_MS_MAX..=most).contains(&ago) {
        return Ok(());
    }
    let detail = format!(
        "this process stood still for {ago} ms before the write, and may have been taken over"
    );
    Err(Refusal::new(Reason::TokenExpired, detail))
}

/// What the record shows after a write that was answered.
#[derive(Debug, PartialEq, Eq)]
enum Shows {
    /// What was planned.
    Planned,
    /// What was planned, under another version than the one that the answer told.
    MovedOn,
    /// Neither what was planned nor what stood there before.
    Other,
    /// What stood there before, under the very version of our write.
    NotTaken,
    /// What stood there before: nothing was taken over, or the look came too early.
    Before,
}

fn shows(plan: &Plan, receipt: &Receipt, after: &Image) -> Shows {
    let moved_on = receipt.version.is_some() && receipt.version != after.version;
    match (plan.is_applied_in(after), plan.is_unchanged_in(after)) {
        (true, _) if moved_on => Shows::MovedOn,
        (true, _) => Shows::Planned,
        (false, true) if receipt.version.is_some() && !moved_on => Shows::NotTaken,
        (false, true) => Shows::Before,
        (false, false) => Shows::Other,
    }
}

impl App {
    /// Makes the write of an execution that is marked as being sent. `still` is asked right before
    /// each step, and so is whether this process was stopped meanwhile.
    pub(in crate::app) async fn send(
        &self,
        execution: &mut Execution,
        draft: &Draft<'_>,
        still: &(dyn Fn() -> Result<(), Refusal> + Send + Sync),
    ) -> Came {
        let sent_ms = execution.sent_ms;
        let between = |step: usize| check_pause(sent_ms, step).and_then(|()| still());
        let applied = draft
            .system
            .write(draft.leave, (draft.plan, draft.prepared), &between)
            .await;
        crash::point_of(draft.points, "after_write").await;
        let receipt = match applied {
            Applied::Answered(receipt) => receipt,
            Applied::Not(NotDone::Stale, why) => return self.look_again(draft, &why).await,
            Applied::Not(not, why) => return Came::Not(not.refusal(&why)),
            Applied::Unknown { why, version } => {
                execution.sent_ms = clock::now().timestamp_millis();
                execution.version_written = version;
                return Came::Doubt(why);
            }
        };
        execution.proof = Proof::Answered;
        execution.created_id.clone_from(&receipt.created_id);
        execution.version_written.clone_from(&receipt.version);
        // Less than a millisecond is not none.
        let unprotected = receipt
            .unprotected
            .map_or(0, |span| span.as_millis().max(1));
        execution.unprotected_ms = u32::try_from(unprotected).unwrap_or(u32::MAX);
        // How late a doubt may still be done is counted from the answer, or from its absence.
        execution.sent_ms = clock::now().timestamp_millis();
        let came = self.read_back(execution, draft, &receipt).await;
        if matches!(came, Came::Done) {
            execution.wrote = true;
            let now = clock::now().timestamp_millis();
            self.work.wrote(&execution.action, now);
        }
        crash::point_of(draft.points, "after_read_back").await;
        came
    }

    /// "Another version" may be the answer to a repetition of our own call, made on the way: if the
    /// record shows what was planned, it is a doubt and not a refusal.
    async fn look_again(&self, draft: &Draft<'_>, why: &str) -> Came {
        let plan = draft.plan;
        let written = plan
            .fields
            .iter()
            .map(|field| field.field.clone())
            .collect();
        let wanted = Wanted {
            written,
            seen: Vec::new(),
        };
        match draft.system.read(&plan.object, &plan.id, &wanted).await {
            // Nothing of the record tells; what the call added carries its key.
            Ok(_) if plan.fields.is_empty() && draft.system.searches(&plan.object, &plan.verb) => {
                Came::Doubt(why.to_owned())
            }
            Ok(after)
                if plan.fields.is_empty() || plan.is_idle() || !plan.is_applied_in(&after) =>
            {
                Came::Not(NotDone::Stale.refusal(why))
            }
            Ok(_) => Came::Doubt(format!("{why}; and the record shows what was planned")),
            Err(error) => Came::Doubt(format!("{why}; and it could not be read again: {error}")),
        }
    }

    /// Reads the record again: what was written is believed when it shows it.
    async fn read_back(
        &self,
        execution: &mut Execution,
        draft: &Draft<'_>,
        receipt: &Receipt,
    ) -> Came {
        if !draft.has_record {
            return Came::Done;
        }
        let (plan, before) = (draft.plan, draft.before);
        let named = before.fields.iter().map(|(name, _)| name.to_owned());
        let planned = plan.fields.iter().map(|field| field.field.clone());
        let wanted = Wanted {
            written: Vec::new(),
            seen: planned.chain(named).collect(),
        };
        let after = match draft.system.read(&plan.object, &plan.id, &wanted).await {
            Ok(after) => after,
            // What was added beside the record is proven by the answer.
            Err(error) if plan.fields.is_empty() => {
                execution.message = format!("written; the record could not be read again: {error}");
                return Came::Done;
            }
            Err(error) => return Came::Doubt(format!("answered, and not read back: {error}")),
        };
        execution.collateral = collateral(plan, before, &after);
        match shows(plan, receipt, &after) {
            Shows::NotTaken => {
                let said = receipt.said.clone();
                let why =
                    said.unwrap_or_else(|| "the record shows what stood there before".to_owned());
                Came::Not(Refusal::new(Reason::NotTaken, why))
            }
            Shows::Planned => {
                execution.version.clone_from(&after.version);
                Came::Done
            }
            Shows::Before => {
                let why =
                    "answered as if it was done, and the record shows what stood there before";
                Came::Doubt(why.to_owned())
            }
            // Undone is what the record shows.
            Shows::Other if matches!(draft.leave, Leave::Undo(_)) => {
                let why = "answered as if it was done, and the record shows something else";
                Came::Doubt(why.to_owned())
            }
            Shows::MovedOn | Shows::Other => {
                execution.proof = Proof::SeenOther;
                // What adds something leaves no value of its own in the record, and a new version is its own.
                if !draft.plan.fields.is_empty() {
                    "right after the write the record showed another value or version than was written"
                        .clone_into(&mut execution.message);
                }
                Came::Done
            }
        }
    }
}

fn collateral(plan: &Plan, before: &Image, after: &Image) -> Vec<Change> {
    changes(&plan.collateral(before, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::FieldPlan;
    use writ_proto::value::{Map, Value};

    fn image(stage: &str, version: Option<&str>) -> Image {
        let mut fields = Map::new();
        fields.set("stage", Value::Text(stage.to_owned()));
        Image {
            fields,
            version: version.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_done_is_what_the_record_shows() {
        let mut plan = Plan::nowhere("deal".into(), "D-1".into(), Map::new());
        plan.fields.push(FieldPlan {
            field: "stage".into(),
            old: Some(Value::Text("new".into())),
            new: Value::Text("won".into()),
        });
        let table = [
            // version that the answer told, what the record shows
            (Some("2"), ("won", Some("2")), Shows::Planned),
            (Some("2"), ("won", Some("3")), Shows::MovedOn),
            (Some("2"), ("lost", Some("3")), Shows::Other),
            (Some("2"), ("Won", Some("2")), Shows::Other),
            (Some("2"), ("new", Some("2")), Shows::NotTaken),
            // A replica that lags shows the old version and the old value.
            (Some("2"), ("new", Some("1")), Shows::Before),
            (Some("2"), ("new", Some("3")), Shows::Before),
            (None, ("new", Some("1")), Shows::Before),
            (None, ("new", Some("2")), Shows::Before),
            (None, ("won", None), Shows::Planned),
            (None, ("new", None), Shows::Before),
            (None, ("lost", None), Shows::Other),
        ];
        for (told, (stage, after), want) in table {
            let receipt = Receipt {
                version: told.map(str::to_owned),
                ..Receipt::default()
            };
            let after = image(stage, after);
            assert_eq!(shows(&plan, &receipt, &after), want, "{told:?} {after:?}");
        }
    }

    #[test]
    fn a_process_that_stood_still_writes_no_more() {
        let now = clock::now().timestamp_millis();
        for (ago, step, good) in [
            (0, 0, true),
            (9_000, 0, true),
            (11_000, 0, false),
            (11_000, 1, true),
            (50_000, 1, false),
            (-1_000, 0, false),
        ] {
            assert_eq!(
                check_pause(now - ago, step).is_ok(),
                good,
                "{ago} ms at step {step}"
            );
        }
    }
}
