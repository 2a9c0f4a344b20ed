//! Which requests are one intent, and for how long.

use std::collections::BTreeSet;

use writ_proto::ids::{ActionName, AgentId, RequestId, TenantId};
use writ_proto::value::args_from_json;

use super::*;

const REFUND: &str = include_str!("../../../../../../policies/acme/actions/refund.toml");
const INTENT: &str = "\n[intent]\nby = [\"target\", \"amount\"]\nwithin = \"15m\"\n";

type Change = fn(&mut Request);

fn request() -> Request {
    let tenant = TenantId::parse("acme").unwrap();
    let args = args_from_json(r#"{"amount":{"currency":"EUR","value":49}}"#).unwrap();
    Request {
        provenance: Default::default(),
        caller_tenant: tenant.clone(),
        agent: AgentId::parse("triage").unwrap(),
        cert_sha256: None,
        tenant,
        request_id: RequestId::parse("01920000-0000-7000-8000-000000000001").unwrap(),
        connection: "crm/main".into(),
        action: ActionName::parse("refund").unwrap(),
        target: Some(("order".into(), "O-7".into())),
        args_cbor: args.encode(),
        args,
        precondition: None,
        mode: Mode::Execute,
        reason: String::new(),
        evidence: vec![],
        confidence: None,
        trace_id: None,
        run: None,
        again: false,
    }
}

fn keys(request: &Request, seconds: i64) -> BTreeSet<Key> {
    let card = Card::parse(&format!("{REFUND}{INTENT}")).unwrap();
    let at = DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap();
    places(&card, request, at, 60)
        .into_iter()
        .map(|hold| hold.key)
        .collect()
}

#[test]
fn the_same_intent_shares_a_place_for_its_time_and_not_much_longer() {
    let first = keys(&request(), 0);
    assert!(first.iter().all(is_place) && first.len() == 4);
    for start in [0, 7, 299, 300, 450] {
        let first = keys(&request(), start);
        for (later, shared) in [
            (0, true),
            (66, true),
            (14 * 60, true),
            (15 * 60, true),
            (20 * 60 + 2, false),
        ] {
            let both = !first.is_disjoint(&keys(&request(), start + later));
            assert_eq!(both, shared, "{later} s after {start}");
        }
    }
}

#[test]
fn what_the_card_does_not_call_the_same_is_another_intent() {
    let own = keys(&request(), 0);
    let changes: [(&str, Change, bool); 7] = [
        (
            "another request id",
            |own| {
                own.request_id = RequestId::parse("01920000-0000-7000-8000-000000000002").unwrap();
            },
            true,
        ),
        (
            "another agent",
            |own| own.agent = AgentId::parse("seller").unwrap(),
            true,
        ),
        ("another reason", |own| own.reason = "again".into(), true),
        (
            "another record",
            |own| own.target = Some(("order".into(), "O-8".into())),
            false,
        ),
        (
            "another amount",
            |own| own.args = args_from_json(r#"{"amount":{"currency":"EUR","value":50}}"#).unwrap(),
            false,
        ),
        ("a dry run", |own| own.mode = Mode::DryRun, false),
        ("meant again", |own| own.again = true, false),
    ];
    for (what, change, shared) in changes {
        let mut other = request();
        change(&mut other);
        assert_eq!(!own.is_disjoint(&keys(&other, 0)), shared, "{what}");
    }
}
