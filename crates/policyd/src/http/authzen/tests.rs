//! Reading evaluations; what they come to is tested with real processes.

use writ_proto::ids::{AgentId, TenantId};

use writ_proto::pb;
use writ_proto::value::args_from_json;

use super::reading::Asked;
use super::*;

fn own() -> Agent {
    let (tenant, agent) = (TenantId::parse("acme"), AgentId::parse("triage"));
    (tenant.unwrap(), agent.unwrap(), [0; 32])
}

fn read(text: &str) -> Result<Asked, AppError> {
    asked(&args_from_json(text).unwrap(), &own())
}

const WHOLE: &str = r#"{"subject":{"type":"agent","id":"triage"},
    "action":{"name":"set_stage","properties":{"arguments":{"stage":"won"},"mode":"dry_run","stage":"lost"}},
    "resource":{"type":"deal","id":"D-1","properties":{"stage":"x"}},"future":{"nested":true},
    "context":{"reason":"asked","decision_token":true}}"#;

#[test]
fn only_arguments_become_arguments_and_what_is_unknown_is_ignored() {
    let asked = read(WHOLE).unwrap();
    let call = asked.request.call.unwrap();
    let Some(pb::action_call::Arguments::ArgsCbor(args)) = call.arguments else {
        panic!("arguments are CBOR");
    };
    assert_eq!(args, args_from_json(r#"{"stage":"won"}"#).unwrap().encode());
    assert_eq!(
        (call.mode, asked.wants_token),
        (pb::Mode::DryRun.into(), true)
    );
    assert_eq!(
        (asked.subject.as_str(), asked.request.reason.as_str()),
        ("triage", "asked")
    );
    assert_eq!(asked.request.parent, "tenants/acme");
    let target = call.target.unwrap();
    assert_eq!(
        (target.r#type.as_str(), target.id.as_str()),
        ("deal", "D-1")
    );
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    for (from, to, named) in [
        (r#""id":"triage""#, r#""x":1"#, "subject.id is missing"),
        (r#""type":"agent""#, r#""x":1"#, "subject.type is missing"),
        (
            r#""name":"set_stage""#,
            r#""name":1"#,
            "action.name: a text",
        ),
        (r#""type":"deal""#, r#""x":1"#, "resource.type is missing"),
        (
            r#""arguments":{"stage":"won"}"#,
            r#""arguments":[]"#,
            "arguments: an object",
        ),
        ("dry_run", "try", "neither execute nor dry_run"),
        (r#""context""#, r#""subject2""#, ""),
    ] {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{from}");
        let error = read(&text)
            .err()
            .map(|error| error.public)
            .unwrap_or_default();
        assert!(error.contains(named), "{named}: {error}");
        assert_eq!(error.is_empty(), named.is_empty(), "{error}");
    }
}

#[test]
fn a_batch_ends_as_its_semantic_says() {
    for (semantic, end) in [
        ("execute_all", Ok(None)),
        ("deny_on_first_deny", Ok(Some(false))),
        ("permit_on_first_permit", Ok(Some(true))),
        ("all", Err(())),
    ] {
        let text = format!(r#"{{"options":{{"evaluations_semantic":"{semantic}"}}}}"#);
        let found = ends_at(&args_from_json(&text).unwrap());
        assert_eq!(found.map_err(|_| ()), end, "{semantic}");
    }
}
