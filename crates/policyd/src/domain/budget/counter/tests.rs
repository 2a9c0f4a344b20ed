//! What fits under a limit, what is a spike, and how usage and holds move.

use super::super::{HoldState, SettledAs, Subject};
use super::*;

fn hold(amount: i64, cap: i64) -> Hold {
    Hold {
        key: Key::new("b", &Subject::Tenant, "w"),
        amount,
        currency: String::new(),
        takes: Takes::AtOnce,
        limits: Limits {
            cap,
            max: None,
            free: 0,
            spike: None,
            age_ms_max: None,
            report_ms_max: None,
        },
        at_ms: 1_000,
        expires_ms: 0,
    }
}

fn used(used: i64) -> Counter {
    Counter {
        used,
        since_ms: 1,
        ..Counter::default()
    }
}

#[test]
fn a_hold_fits_up_to_the_cap_and_never_by_overflow() {
    let table = [
        (0, 10, 10, Some(10)),
        (1, 10, 10, None),
        (10, 0, 10, None),
        (10, -5, 10, None),
        (i64::MAX, 1, i64::MAX, None),
        (-3, 3, 0, Some(0)),
    ];
    for (before, amount, cap, then) in table {
        let fitted = fits(Some(&used(before)), &hold(amount, cap), 0, &[]);
        assert_eq!(
            fitted.ok().map(|counter| counter.used),
            then,
            "{before} {amount} {cap}"
        );
    }
    let raised = fits(Some(&used(10)), &hold(1, 10), i64::MAX, &[]).unwrap();
    assert_eq!(raised.used, 11);
    let mut capped = hold(1, 10);
    capped.limits.max = Some(10);
    assert!(
        fits(Some(&used(10)), &capped, 5, &[]).is_err(),
        "never above the max"
    );
}

#[test]
fn the_first_call_of_a_run_is_free_and_an_old_run_is_over() {
    let mut chain = hold(1, 2);
    chain.limits.free = 1;
    chain.limits.age_ms_max = Some(500);
    let mut counter = None;
    for _ in 0..3 {
        counter = Some(fits(counter.as_ref(), &chain, 0, &[]).unwrap());
    }
    let over = fits(counter.as_ref(), &chain, 0, &[]).unwrap_err();
    assert_eq!((over.fired, over.used, over.limit), (Fired::Cap, 2, 2));
    let young = Counter {
        since_ms: 500,
        ..used(1)
    };
    assert!(fits(Some(&young), &chain, 0, &[]).is_ok());
    chain.at_ms = 1_001;
    assert_eq!(
        fits(Some(&young), &chain, 0, &[]).unwrap_err().fired,
        Fired::Age
    );
}

#[test]
fn a_spike_is_a_multiple_of_the_median_but_never_less_than_the_floor() {
    let limits = Limits {
        spike: Some(Spike {
            factor: 5,
            floor: 20,
            days: Vec::new(),
        }),
        ..hold(1, 1_000).limits
    };
    let table = [
        ([0, 0, 0, 0, 0, 0, 0], 0, (20, Fired::Spike)),
        ([0, 0, 0, 0, 90, 90, 90], 0, (20, Fired::Spike)),
        ([0, 0, 0, 10, 90, 90, 90], 0, (50, Fired::Spike)),
        ([100, 1, 2, 30, 40, 50, 60], 0, (200, Fired::Spike)),
        ([100, 1, 2, 30, 40, 50, 60], 25, (225, Fired::Spike)),
        ([500; 7], 0, (1_000, Fired::Cap)),
        ([i64::MAX; 7], 0, (1_000, Fired::Cap)),
    ];
    for (days, raised, wanted) in table {
        assert_eq!(limit(&limits, raised, &days), wanted, "{days:?}");
    }
}

#[test]
fn usage_that_nobody_reports_counts_as_spent() {
    let mut tokens = hold(0, 100);
    tokens.takes = Takes::Nothing;
    tokens.limits.report_ms_max = Some(600);
    let first = fits(None, &tokens, 0, &[]).unwrap();
    assert_eq!((first.used, first.unreported_ms), (0, Some(1_000)));
    tokens.at_ms = 1_600;
    let second = fits(Some(&first), &tokens, 0, &[]).unwrap();
    tokens.at_ms = 1_601;
    let over = fits(Some(&second), &tokens, 0, &[]).unwrap_err();
    assert_eq!(over.fired, Fired::Unreported);
    let said = |amount, complete| Usage {
        key: tokens.key.clone(),
        amount,
        complete,
        at_ms: 1_601,
    };
    let partly = report(Some(&second), &said(10, false));
    assert!(
        fits(Some(&partly), &tokens, 0, &[]).is_err(),
        "an agent's own word is not all"
    );
    let known = report(Some(&partly), &said(10, true));
    assert_eq!(known.used, 20);
    assert!(fits(Some(&known), &tokens, 0, &[]).is_ok());
    let lowered = report(Some(&known), &said(-20, true));
    assert_eq!(lowered.used, 20, "a report never takes back");
    let spent = report(Some(&known), &said(i64::MAX, true));
    assert_eq!(spent.used, i64::MAX);
    assert_eq!(
        fits(Some(&spent), &tokens, 0, &[]).unwrap_err().fired,
        Fired::Cap
    );
}

#[test]
fn a_settlement_moves_a_hold_once() {
    use HoldState::{Captured, Doubtful, Held, Void};
    let table = [
        (Held, SettledAs::Doubtful, Doubtful),
        (Void, SettledAs::Doubtful, Doubtful),
        (Captured, SettledAs::Doubtful, Captured),
        (Doubtful, SettledAs::Doubtful, Doubtful),
        (Doubtful, SettledAs::Captured, Captured),
        (Doubtful, SettledAs::Void, Void),
        (Held, SettledAs::Captured, Captured),
        (Held, SettledAs::Void, Void),
        (Void, SettledAs::Captured, Captured),
        (Void, SettledAs::Void, Void),
        (Captured, SettledAs::Captured, Captured),
        (Captured, SettledAs::Void, Captured),
    ];
    for (state, to, then) in table {
        assert_eq!(state.settle(to), then, "{state:?} {to:?}");
        let number = i64::from(state.number());
        assert_eq!(HoldState::from_number(number), Some(state));
    }
}
