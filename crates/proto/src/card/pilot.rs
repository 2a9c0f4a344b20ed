//! The pilot of an action: few records a day and few fields at a time, until it was calm for long
//! enough.

use serde::Deserialize;

use super::file::{invalid, window};
use super::{Card, CardError, Rollout};

/// Most executions that a calm time may hold, so that all of them can be looked at.
const CALM_EXECUTIONS_MAX: u64 = 500;
const DAY_SECONDS: u64 = 86_400;

/// The small beginning of an action that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pilot {
    /// Most executed records per UTC day.
    pub records_per_day: u32,
    /// Most fields that one call may write.
    pub fields_per_record: u32,
    /// When it goes live by itself; never if absent.
    pub widen: Option<Widen>,
}

/// How long it must have been calm, and how often it must have written in that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widen {
    /// Seconds without an undo, a refusal by a record, a surprise or a doubt.
    pub calm_seconds: u32,
    /// Records written in that time, at least.
    pub records: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PilotText {
    records_per_day: u32,
    fields_per_record: Option<u32>,
    widen_after: Option<String>,
    widen_records: Option<u32>,
}

impl PilotText {
    pub(super) fn check(&self) -> Result<Pilot, CardError> {
        let fields_per_record = self.fields_per_record.unwrap_or(1);
        if self.records_per_day == 0 || fields_per_record == 0 {
            return Err(invalid("pilot: a limit of 0 lets nothing through"));
        }
        let widen = match (&self.widen_after, self.widen_records) {
            (None, None) => None,
            (None, Some(_)) => return Err(invalid("pilot.widen_records goes with widen_after")),
            (Some(after), records) => Some(Widen {
                calm_seconds: window("pilot.widen_after", after)?,
                records: records.unwrap_or(self.records_per_day),
            }),
        };
        Ok(Pilot {
            records_per_day: self.records_per_day,
            fields_per_record,
            widen,
        })
    }
}

impl Pilot {
    /// Most records that can be written within the calm time, the days at both ends included.
    fn within(&self, widen: Widen) -> u64 {
        let days = u64::from(widen.calm_seconds).div_ceil(DAY_SECONDS);
        let days = days.saturating_add(1);
        u64::from(self.records_per_day).saturating_mul(days)
    }
}

/// How many fields no call can leave out.
fn needed_fields(card: &Card) -> usize {
    let is_signal = |name: &String| card.verb.has_record() && card.identify.contains(name);
    let needed = card.args.iter().filter(|(_, arg)| !arg.optional);
    let written = needed.filter(|(name, _)| card.verb.names_fields() && !is_signal(name));
    written.count()
}

/// Whether the steps of a card and its pilot fit each other.
pub(super) fn check(card: &Card) -> Result<(), CardError> {
    let refuse = |why: &str| Err(invalid(format!("pilot: {why}")));
    let Some(pilot) = card.pilot else {
        if [card.rollout, card.rollout_max].contains(&Rollout::Pilot) {
            return refuse(
                "a card that goes as far as a pilot says in [pilot] what its limits are",
            );
        }
        return Ok(());
    };
    if card.rollout_max < Rollout::Pilot {
        return refuse("rollout_max is pilot or live");
    }
    if card.rollout > Rollout::DryRun {
        return refuse("it begins with a promotion, so rollout is suggest or dry_run");
    }
    if pilot.records_per_day > card.caps.records_per_day {
        return refuse("records_per_day is at most that of [caps]");
    }
    let needed = needed_fields(card);
    if needed > usize::try_from(pilot.fields_per_record).unwrap_or(usize::MAX) {
        return Err(invalid(format!(
            "pilot: every call writes {needed} fields, so fields_per_record is at least that"
        )));
    }
    let Some(widen) = pilot.widen else {
        return Ok(());
    };
    if card.rollout_max != Rollout::Live {
        return refuse("widen_after needs rollout_max = live");
    }
    let most = pilot.within(widen);
    if most > CALM_EXECUTIONS_MAX {
        return Err(invalid(format!(
            "pilot: up to {most} records in widen_after, at most {CALM_EXECUTIONS_MAX} can be \
             looked at; a shorter time or fewer records a day"
        )));
    }
    if widen.records == 0 || u64::from(widen.records) > most {
        return Err(invalid(format!("pilot.widen_records is 1 to {most}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
