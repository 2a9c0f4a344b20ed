//! Reaches and names.

use super::*;

#[test]
fn a_tenant_reaches_its_own_scopes_and_sees_what_stops_it() {
    let acme = Reach::try_from("tenant:acme".to_owned()).unwrap();
    for (scope, covered, seen) in [
        ("tenant:acme", true, true),
        ("tenant:acme/customer:c-7", true, true),
        ("global", false, true),
        ("agent:triage", false, true),
        ("tenant:globex", false, false),
        ("tenant:globex/agent:triage", false, false),
    ] {
        let scope: Scope = scope.parse().unwrap();
        assert_eq!(acme.covers(&scope), covered, "{scope}");
        assert_eq!(acme.sees(&scope), seen, "{scope}");
        assert!(Reach::GLOBAL.covers(&scope) && Reach::GLOBAL.sees(&scope));
    }
    for wrong in ["", "tenant:", "tenant:ACME", "acme", "globally"] {
        assert!(Reach::try_from(wrong.to_owned()).is_err(), "{wrong}");
    }
    assert_eq!(String::from(acme), "tenant:acme");
}

#[test]
fn names_are_plain() {
    for fine in ["ada", "ada.phone-2", "a@b"] {
        assert_eq!(check_name(fine), Ok(()));
    }
    for wrong in ["", "a b", "a/b", "<b>", "ä", &"x".repeat(65)] {
        assert!(check_name(wrong).is_err(), "{wrong}");
    }
}
