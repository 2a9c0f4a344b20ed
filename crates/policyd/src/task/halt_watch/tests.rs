//! What the log says of halts, and what is taken for one.

use super::*;

#[test]
fn the_log_says_which_halts_are_in_force() {
    let runs = |count: usize| -> Vec<Scope> {
        let run = |index| format!("tenant:acme/run:r-{index}").parse().unwrap();
        (0..count).map(run).collect()
    };
    let mut log = HaltLog::default();
    assert_eq!(log.change(true, &[]), None);
    let two =
        "heard from connectord, and denied from now on: tenant:acme/run:r-0, tenant:acme/run:r-1";
    assert_eq!(log.change(true, &runs(2)).unwrap(), two);
    assert_eq!(log.change(true, &runs(2)), None);
    // A new one is named although many stand already.
    let many = log.change(true, &runs(SHOWN_MAX + 3)).unwrap();
    assert!(many.contains(": tenant:acme/run:r-10, "), "{many}");
    assert!(many.ends_with(" and 3 more"), "{many}");
    let over = log.change(true, &runs(SHOWN_MAX + 2)).unwrap();
    assert!(over.ends_with("; ended: tenant:acme/run:r-12"), "{over}");
    // A global halt and halts that nobody knows are not the same.
    let global = [Scope::global()];
    assert!(
        log.change(true, &global)
            .unwrap()
            .starts_with("heard from connectord, and denied from now on: global;")
    );
    assert!(
        log.change(false, &global)
            .unwrap()
            .contains("does not know")
    );
    assert_eq!(log.change(false, &global), None);
    assert_eq!(
        log.change(true, &global).unwrap(),
        "heard from connectord, and denied from now on: global"
    );
    log.change(false, &global).unwrap();
    assert_eq!(
        log.change(true, &[]).unwrap(),
        "heard from connectord: nothing is halted any more"
    );
}

#[test]
fn what_cannot_be_read_or_is_not_known_halts_everything() {
    let state = |known: bool, scope: &str| pb::GetHaltStateResponse {
        known,
        epoch: 7,
        halts: vec![pb::Halt {
            scope: scope.into(),
            ..pb::Halt::default()
        }],
        ..pb::GetHaltStateResponse::default()
    };
    let global = |state| view(state).scopes.contains(&Scope::global());
    assert!(!global(state(true, "tenant:acme/agent:triage")));
    assert!(global(state(true, "planet:earth")));
    assert!(global(state(false, "tenant:acme/agent:triage")));
}
