//! What is remembered of many halts.

use super::*;

#[test]
fn many_halts_of_a_tenant_are_remembered_by_the_latest_of_them() {
    let (now, mut mark) = (1_800_000_000, Mark::default());
    let run = |number: usize| format!("tenant:acme/run:r-{number}").parse().unwrap();
    mark.count(&run(0), now * 1_000, now);
    for number in 1..=RECENT_OF_TENANT_MAX {
        mark.count(&run(number), now * 1_000 - 3_000, now);
    }
    let all = Recent {
        scope: "tenant:acme".parse().unwrap(),
        at_ms: now * 1_000,
    };
    assert_eq!(mark.recent, [all]);
}
