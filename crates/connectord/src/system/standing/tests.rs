//! How long answers hold, and how often is asked.

use super::*;

/// By the clock of the wall: the other one may be younger than that.
fn ago(seconds: i64) -> Moment {
    let now = clock::now().timestamp_millis();
    Moment(Instant::now(), now - seconds * 1_000)
}

fn held() -> Result<Scopes, SystemError> {
    Ok(Arc::new(BTreeSet::from(["a".to_owned()])))
}

fn away() -> SystemError {
    SystemError::Unavailable("x".into())
}

#[test]
fn a_good_answer_outlives_questions_that_fail_and_no_longer_than_it_holds() {
    let mut seen = Seen::default();
    assert!(seen.is_due() && seen.good_within(HOLDS).is_none());
    seen.note(ago(11 * 60), &held());
    assert!(seen.is_due(), "the background asks before a write must");
    seen.note(ago(0), &Err(away()));
    assert!(
        seen.good_within(HOLDS).is_some(),
        "a question that failed takes nothing away"
    );
    assert!(seen.rests().is_some() && !seen.is_due());
    seen.note(ago(31 * 60), &held());
    assert!(
        seen.good_within(HOLDS).is_none(),
        "rights are widened at the vendor"
    );
}

#[test]
fn who_is_refused_or_asked_to_wait_is_not_asked_all_the_time() {
    let denied = || Err(SystemError::Denied("x".into()));
    let limited = || {
        Err(SystemError::Limited {
            wait: Some(60),
            why: "x".into(),
        })
    };
    for (seconds, answer, times, rests, due) in [
        (1, Err(away()), 1, true, false),
        (5, Err(away()), 1, false, true),
        (5, Err(away()), 4, false, false),
        (301, Err(away()), 20, false, true),
        (60, denied(), 1, false, false),
        (601, denied(), 1, false, true),
        (30, limited(), 1, true, false),
        (61, limited(), 1, false, true),
    ] {
        let mut seen = Seen::default();
        for _ in 0..times {
            seen.note(ago(seconds), &answer);
        }
        let told = (seen.rests().is_some(), seen.is_due());
        assert_eq!(
            told,
            (rests, due),
            "{seconds} s after {answer:?}, {times} times"
        );
    }
}
