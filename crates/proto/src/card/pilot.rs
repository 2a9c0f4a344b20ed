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
mod tests {
    use super::super::tests::STAGE;
    use super::*;

    const LIVE: &str = "rollout_max = \"live\"";
    const SMALL: &str = "[pilot]\nrecords_per_day = 5";

    /// The card with another line for how far it goes, and a pilot.
    fn piloted(furthest: &str, pilot: &str) -> Result<Card, CardError> {
        let (head, args) = STAGE.split_once("[args.stage]").unwrap();
        let head = head.replace(LIVE, furthest);
        Card::parse(&format!("{head}{pilot}\n[args.stage]{args}"))
    }

    #[test]
    fn a_pilot_says_how_small_it_is_and_when_it_widens() {
        for (more, expected) in [
            ("", (5, 1, None)),
            ("fields_per_record = 2", (5, 2, None)),
            ("widen_after = \"14d\"", (5, 1, Some((14 * 86_400, 5)))),
            (
                "widen_after = \"90m\"\nwiden_records = 10",
                (5, 1, Some((5_400, 10))),
            ),
        ] {
            let card = piloted(LIVE, &format!("{SMALL}\n{more}")).unwrap();
            let read = card.pilot.unwrap();
            let widen = read.widen.map(|widen| (widen.calm_seconds, widen.records));
            let found = (read.records_per_day, read.fields_per_record, widen);
            assert_eq!(found, expected, "{more}");
        }
    }

    #[test]
    fn a_pilot_that_limits_nothing_or_never_begins_is_refused() {
        let more = |more: &str| format!("{SMALL}\n{more}");
        for (furthest, pilot) in [
            (LIVE, "[pilot]".to_owned()),
            (LIVE, "[pilot]\nrecords_per_day = 0".to_owned()),
            (LIVE, "[pilot]\nrecords_per_day = 201".to_owned()),
            (LIVE, more("fields_per_record = 0")),
            (LIVE, more("widen_records = 3")),
            (LIVE, more("widen_after = \"2 weeks\"")),
            (LIVE, more("widen_after = \"31d\"")),
            (LIVE, more("widen_after = \"1d\"\nwiden_records = 0")),
            (LIVE, more("widen_after = \"1d\"\nwiden_records = 11")),
            (LIVE, more("calm = \"14d\"")),
            (
                LIVE,
                "[pilot]\nrecords_per_day = 40\nwiden_after = \"14d\"".to_owned(),
            ),
            ("rollout_max = \"dry_run\"", more("")),
            ("rollout_max = \"live\"\nrollout = \"live\"", more("")),
            ("rollout_max = \"live\"\nrollout = \"pilot\"", more("")),
            ("rollout_max = \"pilot\"", more("widen_after = \"1d\"")),
            ("rollout_max = \"pilot\"", String::new()),
            ("rollout_max = \"live\"\nrollout = \"pilot\"", String::new()),
        ] {
            let found = piloted(furthest, &pilot);
            assert!(found.is_err(), "{furthest} {pilot}: {found:?}");
        }
        assert!(piloted("rollout_max = \"pilot\"", SMALL).is_ok());
        let (head, args) = STAGE.split_once("[args.stage]").unwrap();
        let two = args.replacen("optional = true\n", "", 1);
        let two = Card::parse(&format!("{head}{SMALL}\n[args.stage]{two}"));
        assert!(two.unwrap_err().detail.contains("writes 2 fields"));
    }

    #[test]
    fn what_cannot_be_undone_has_no_pilot_either() {
        for furthest in ["pilot", "live"] {
            let lines = format!("rollout_max = \"{furthest}\"");
            let (head, rest) = STAGE.split_once("[args.stage]").unwrap();
            let head = head
                .replace(LIVE, &lines)
                .replace("\"reversible\"", "\"irreversible\"");
            let found = Card::parse(&format!("{head}{SMALL}\n[args.stage]{rest}"));
            let said = found.unwrap_err().detail;
            assert!(said.contains("executed by a person"), "{said}");
        }
    }
}
