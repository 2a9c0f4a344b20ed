//! Which URIs name callers, and how many connections they may have.

use super::*;

#[test]
fn a_uri_round_trips() {
    for uri in [
        "spiffe://writ.localhost/tenant/acme/agent/triage",
        "spiffe://writ.localhost/tenant/acme/operator/ops",
        "spiffe://writ.localhost/service/connectord/eu-1",
    ] {
        let caller = Caller::from_spiffe(uri, "writ.localhost").unwrap();
        assert_eq!(caller.spiffe("writ.localhost"), uri);
    }
}

#[test]
fn a_uri_of_another_shape_or_domain_is_refused() {
    for uri in [
        "",
        "https://writ.localhost/tenant/acme/agent/triage",
        "spiffe://other/tenant/acme/agent/triage",
        "spiffe://writ.localhost.evil/tenant/acme/agent/triage",
        "spiffe://writ.localhost/tenant/acme/agent/",
        "spiffe://writ.localhost/tenant/ACME/agent/triage",
        "spiffe://writ.localhost/tenant/acme/admin/triage",
        "spiffe://writ.localhost/tenant/acme",
        "spiffe://writ.localhost/tenant/acme/agent/a b",
    ] {
        assert!(Caller::from_spiffe(uri, "writ.localhost").is_err(), "{uri}");
    }
}
