//! Tallies by table and against a plain count; rules and what they refuse.

use proptest::prelude::*;
use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId};

use super::*;
use crate::domain::incident::rule::NEVER;

const WINDOW: i64 = 600;

fn trips(times: &[i64], wanted: usize) -> Vec<i64> {
    let mut tally = Tally::default();
    let mut found = Vec::new();
    for at in times {
        if tally.count((*at, "FORBIDDEN"), wanted, WINDOW) {
            found.push(*at);
        }
        assert_eq!(Tally::decode(&tally.encode()), Some(tally.clone()));
    }
    found
}

#[test]
fn a_tally_trips_once_a_window_and_only_when_the_denials_are_close() {
    let table: [(&[i64], usize, &[i64]); 10] = [
        (&[0, 1, 2], 3, &[2]),
        (&[0, 1], 3, &[]),
        (&[0, 300, 599], 3, &[599]),
        (&[0, 300, 600], 3, &[]),
        (&[0, 1, 2, 3, 4, 5, 6, 7], 3, &[2]),
        (&[0, 1, 2, 3, 602, 603], 3, &[2]),
        (&[0, 1, 2, 100, 601, 602], 3, &[2, 602]),
        (&[0, 1, 2, 1_000, 1_001, 1_002], 3, &[2, 1_002]),
        // A report that comes late counts where it belongs.
        (&[600, 1, 2], 3, &[2]),
        (&[5, 5], 1, &[5]),
    ];
    for (times, wanted, found) in table {
        assert_eq!(trips(times, wanted), found, "{times:?}");
    }
}

/// The rule in its plainest words: the newest `wanted` denials are within a window of each other,
/// and none of the incidents so far is within a window of the newest denial.
fn plainly(times: &[i64], wanted: usize) -> Vec<i64> {
    let (mut seen, mut tripped, mut found): (Vec<i64>, Option<i64>, Vec<i64>) =
        (vec![], None, vec![]);
    for at in times {
        seen.push(*at);
        seen.sort_unstable();
        let newest = seen.iter().rev().take(wanted).copied().collect::<Vec<_>>();
        let together = newest.len() == wanted && newest[0] - newest[wanted - 1] < WINDOW;
        if together && tripped.is_none_or(|last| newest[0] - last >= WINDOW) {
            tripped = Some(newest[0]);
            found.push(*at);
        }
    }
    found
}

proptest! {
    #[test]
    fn a_tally_agrees_with_counting_everything(
        times in prop::collection::vec(0_i64..3_000, 0..60),
        wanted in 1_usize..8,
    ) {
        prop_assert_eq!(trips(&times, wanted), plainly(&times, wanted));
    }
}

fn rule(text: &str) -> Result<IncidentRule, String> {
    let text: IncidentText = toml::from_str(text).map_err(|error| error.to_string())?;
    IncidentRule::check(text, |name| name.as_str() == "refund")
}

const GOOD: &str = "id = \"probing\"\nactions = [\"refund\"]\ndenials = 5\nwindow = \"10m\"\n\
                    on = [\"FORBIDDEN\"]\nhalt = \"agent\"\n";

#[test]
fn a_rule_counts_its_actions_and_codes() {
    let refund = ActionName::parse("refund").unwrap();
    let other = ActionName::parse("add_note").unwrap();
    let named = rule(GOOD).unwrap();
    assert!(named.counts(Some(&refund), Reason::Forbidden));
    assert!(!named.counts(Some(&other), Reason::Forbidden));
    assert!(!named.counts(None, Reason::Forbidden));
    assert!(!named.counts(Some(&refund), Reason::NotPermitted));
    let any = GOOD
        .replace("actions = [\"refund\"]\n", "")
        .replace("on = [\"FORBIDDEN\"]\n", "");
    let any = rule(&any).unwrap();
    for reason in [
        Reason::Forbidden,
        Reason::ArgsBadJson,
        Reason::TokenReplayed,
    ] {
        assert!(any.counts(None, reason), "{reason}");
    }
    for reason in NEVER {
        assert!(!any.counts(Some(&refund), reason), "{reason}");
    }
    let agent = AgentId::parse("triage").unwrap();
    assert_eq!(any.key(&agent, Some(&refund)), "probing|triage|refund");
    assert_eq!(any.key(&agent, None), "probing|triage|(unknown)");
}

#[test]
fn a_rule_with_a_flaw_is_refused_with_its_name() {
    let table = [
        (GOOD.replace("= 5", "= 0"), "denials is 1 to 100"),
        (GOOD.replace("= 5", "= 101"), "denials is 1 to 100"),
        (GOOD.replace("10m", "2d"), "at most 24h"),
        (GOOD.replace("10m", "0m"), "not a duration"),
        (GOOD.replace("refund", "refnud"), "no card named `refnud`"),
        (
            GOOD.replace("FORBIDDEN", "FORBIDEN"),
            "`FORBIDEN` is not a code",
        ),
        (
            GOOD.replace("FORBIDDEN", "HALTED"),
            "`HALTED` is not a code",
        ),
        (GOOD.replace("\"agent\"", "\"all\""), "all"),
        (GOOD.replace("probing", "a b"), "an id is letters"),
        (GOOD.replace("denials", "denails"), "denails"),
    ];
    for (text, wanted) in table {
        let error = rule(&text).unwrap_err();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}
