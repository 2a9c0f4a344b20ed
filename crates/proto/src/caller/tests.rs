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

#[test]
fn a_connection_counts_for_its_caller_its_tenant_and_its_kind() {
    for (uri, wanted) in [
        (
            "tenant/acme/agent/triage",
            &["agent acme/triage", "agents of acme", "agents"][..],
        ),
        (
            "tenant/acme/operator/ops",
            &["operator acme/ops", "operators of acme", "operators"],
        ),
        (
            "service/connectord/eu-1",
            &["service connectord/eu-1", "services"],
        ),
    ] {
        let uri = format!("spiffe://writ.localhost/{uri}");
        let caller = Caller::from_spiffe(&uri, "writ.localhost").unwrap();
        let shares = caller.connection_shares();
        let names: Vec<_> = shares.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, wanted);
        // Whoever is alone never fills what others share with him.
        assert!(
            shares.is_sorted_by(|(_, own), (_, all)| own < all),
            "{shares:?}"
        );
    }
}

#[test]
fn ids_have_one_spelling() {
    for tenant in ["-acme", "_acme"] {
        assert!(TenantId::parse(tenant).is_err(), "{tenant}");
    }
    let id = "01940000-0000-7000-8000-00000000000a";
    assert!(crate::ids::RequestId::parse(id).is_ok());
    for other in [
        id.to_uppercase(),
        id.replace('-', ""),
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
        "00000000-0000-0000-0000-000000000000".to_owned(),
    ] {
        assert!(crate::ids::RequestId::parse(&other).is_err(), "{other}");
    }
}

#[test]
fn each_caller_has_its_own_rate_and_agents_share_that_of_their_tenant() {
    let rates = CallRates::default();
    rates.check().unwrap();
    let of = |uri: &str| Caller::from_spiffe(uri, "td").unwrap().call_rates(&rates);
    let names = |uri: &str| -> Vec<String> { of(uri).into_iter().map(|(name, _)| name).collect() };
    let (a, b) = (
        names("spiffe://td/tenant/acme/agent/a"),
        names("spiffe://td/tenant/acme/agent/b"),
    );
    assert_ne!(a[0], b[0]);
    assert_eq!(a[1], b[1]);
    assert_eq!(of("spiffe://td/tenant/acme/operator/ops").len(), 1);
    assert!(of("spiffe://td/service/policyd").is_empty());
    for bad in [
        CallRates {
            agent_per_second: 99,
            ..rates
        },
        CallRates {
            operator_per_second: 9,
            ..rates
        },
        CallRates {
            tenant_per_second: 1_000_001,
            ..rates
        },
        CallRates {
            agent_per_second: 501,
            tenant_per_second: 500,
            ..rates
        },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}
