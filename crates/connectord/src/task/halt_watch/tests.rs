//! Each act is told once.

use super::*;

#[test]
fn an_act_has_one_name_for_everybody_and_another_act_another() {
    let act = Act {
        by: "acme/ada".into(),
        reason: "x".into(),
        at: 7,
    };
    let flag = Flag::new(Scope::global(), &act, "1");
    let (set, again) = (outcome("acme", &flag, None), outcome("acme", &flag, None));
    assert_eq!(set.id, again.id);
    let other = Flag {
        id: "2".into(),
        ..flag.clone()
    };
    for different in [
        outcome("globex", &flag, None),
        outcome("acme", &flag, Some(&act)),
        outcome("acme", &other, None),
    ] {
        assert_ne!(set.id, different.id);
    }
}
