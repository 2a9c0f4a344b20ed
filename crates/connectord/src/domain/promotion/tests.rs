//! Differences of cards, and calls that only the newer one allows.

use writ_proto::token::Mode;
use writ_proto::value::args_from_json;

use super::*;

const STAGE: &str = include_str!("../../../../../policies/acme/actions/set_stage.toml");

fn card(from: &str, to: &str) -> Card {
    assert!(from.is_empty() || STAGE.contains(from), "{from}");
    Card::parse(&STAGE.replacen(from, to, usize::from(!from.is_empty()))).unwrap()
}

fn call() -> Call {
    Call {
        tenant: "acme".into(),
        caller_tenant: "acme".into(),
        agent: "triage".into(),
        connection: "crm/main".into(),
        action: "set_stage".into(),
        target: Some(("deal".into(), "D-1".into())),
        args_cbor: vec![],
        precondition: None,
        mode: Mode::Execute,
        request_id: uuid::Uuid::nil(),
        run_id: String::new(),
    }
}

#[test]
fn each_difference_is_told_with_its_way() {
    let old = card("", "");
    for (from, to, want) in [
        (
            "\"lost\"]",
            "\"lost\", \"paused\"]",
            vec!["wider: args.stage: also paused"],
        ),
        (
            ", \"lost\"]",
            "]",
            vec!["narrower: args.stage: no longer lost"],
        ),
        (
            "records_per_day = 500",
            "records_per_day = 5",
            vec!["narrower: caps.records_per_day: 500 -> 5"],
        ),
        (
            "records_per_day = 500",
            "records_per_day = 501",
            vec!["wider: caps.records_per_day: 500 -> 501"],
        ),
        (
            "records_per_day = 500",
            "records_per_day = 500\nrecords_per_run = 5",
            vec!["narrower: caps.records_per_run: now 5"],
        ),
        (
            "when = { stage = [\"new\", \"qualified\", \"proposal\"] }",
            "",
            vec!["wider: precondition.when: stage is not looked at any more"],
        ),
        (
            "when = { stage = [\"new\",",
            "when = { stage = [\"won\", \"new\",",
            vec!["wider: precondition.when.stage: also won"],
        ),
        (
            "[precondition]",
            "[args.owner]\ntype = \"text\"\nmax_chars = 5\noptional = true\n[precondition]",
            vec!["wider: args.owner is new"],
        ),
        (
            "effects =",
            "field = \"phase\"\neffects =",
            vec!["other: args.stage.field changed"],
        ),
        ("sentence = \"Move", "sentence = \"Push", vec![]),
    ] {
        let new = card(from, to);
        let found: Vec<String> = differences(&old, &new)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, want, "{from} -> {to}");
        assert!(differences(&new, &new).is_empty());
    }
}

#[test]
fn what_only_the_newer_card_allows_waits_and_what_was_live_goes_on() {
    let promoted = card("", "");
    let wider = card("\"lost\"]", "\"lost\", \"paused\"]");
    let now = DateTime::UNIX_EPOCH;
    let check = |card: &Card, stage: &str| {
        let args = args_from_json(&format!("{{\"stage\":\"{stage}\"}}")).unwrap();
        check_promoted(&promoted, card, &call(), &args, now)
    };
    assert_eq!(check(&wider, "won"), Ok(()));
    let refused = check(&wider, "paused").unwrap_err();
    assert_eq!(refused.reason, Reason::DryRunOnly);
    assert!(
        refused.detail.contains("actions promote set_stage"),
        "{}",
        refused.detail
    );
    for (from, to) in [
        ("effects =", "field = \"phase\"\neffects ="),
        ("effects =", "write = \"append\"\neffects ="),
        ("target = \"deal\"", "target = \"order\""),
        ("connection = \"crm/main\"", "connection = \"crm/other\""),
        ("verb = \"update_fields\"", "verb = \"set_status\""),
    ] {
        assert!(check(&card(from, to), "won").is_err(), "{to}");
    }
}

#[test]
fn what_the_promoted_card_asked_for_is_asked_for_whatever_the_newer_one_leaves_out() {
    // 1 January 1970 was a Thursday.
    let hours =
        "hours = { days = \"fri\", from = \"08:00\", to = \"18:00\", zone = \"UTC\" }\n[caps]";
    let newer = card("", "");
    let asking = |ask: fn(&mut Card)| {
        let mut promoted = card("", "");
        ask(&mut promoted);
        promoted
    };
    let args = args_from_json("{\"stage\":\"won\"}").unwrap();
    for (promoted, why) in [
        (
            asking(|card| card.identify.push("stage".into())),
            "(stage is not looked for any more)",
        ),
        (
            asking(|card| card.version_required = true),
            "(a version had to be named)",
        ),
        (card("[caps]", hours), "(the hours)"),
    ] {
        let refused = check_promoted(&promoted, &newer, &call(), &args, DateTime::UNIX_EPOCH);
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason, Reason::DryRunOnly, "{why}");
        assert!(refused.detail.contains(why), "{}", refused.detail);
    }
}

#[test]
fn what_was_promoted_with_evidence_is_live_with_evidence_alone() {
    let wanted = |evidence: &str| {
        card(
            "type = \"choice\"",
            &format!("type = \"choice\"\n{evidence}"),
        )
    };
    let (any, one, none) = (
        wanted("evidence = \"required\""),
        wanted("evidence = [\"ticket.message\"]"),
        card("", ""),
    );
    let args = args_from_json("{\"stage\":\"qualified\"}").unwrap();
    let now = DateTime::from_timestamp(1_793_703_600, 0).unwrap();
    for (promoted, card, good, told) in [
        (
            &none,
            &any,
            true,
            "narrower: args.stage: evidence is wanted",
        ),
        (
            &any,
            &none,
            false,
            "wider: args.stage: no evidence is wanted any more",
        ),
        (&any, &one, false, "other: args.stage.evidence changed"),
        (&one, &any, false, "other: args.stage.evidence changed"),
    ] {
        let checked = check_promoted(promoted, card, &call(), &args, now);
        assert_eq!(checked.is_ok(), good, "{told}");
        let found: Vec<String> = differences(promoted, card)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, [told]);
    }
}
