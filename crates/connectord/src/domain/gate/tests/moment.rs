//! What a card says of versions and hours, which card needs a word of halts, and in which order a
//! call is told of what is wrong with it.

use super::card::{CARD, Change, ELSEWHERE, HOURS, NOON, VERSION, asked, card, refusal, schema};
use super::*;

const OPEN: &str = "open mon-fri 08:00-18:00 Europe/Amsterdam";

/// A card that reads.
fn reading(verb: &str, args: &str) -> Card {
    let head = CARD.split("rollout_max").next().unwrap();
    let head = head.replace("update_fields", verb);
    let caps = "[caps]\nrecords_per_day = 9\nrecords_per_run = 3\n[read]\nfields = [\"name\"]\n";
    Card::parse(&format!("{head}rollback_window = \"1h\"\n{caps}{args}")).unwrap()
}

#[test]
fn a_version_is_named_where_the_card_requires_one() {
    for (change, relied, fits) in [
        (None, Some("v1"), true),
        (None, None, true),
        (Some(VERSION), Some("v1"), true),
        (Some(VERSION), None, false),
    ] {
        let call = Call {
            precondition: relied.map(str::to_owned),
            ..call()
        };
        let want = schema("the card requires a version");
        let refused = refusal(&call, &card(change.as_slice()), NOON);
        assert_eq!(refused, (!fits).then_some(want), "{change:?} {relied:?}");
    }
}

#[test]
fn a_call_outside_the_hours_of_its_card_is_told_the_hours() {
    for (now, open) in [
        ("2026-11-20T06:59:59Z", false),
        ("2026-11-20T07:00:00Z", true),
        ("2026-11-20T16:59:59Z", true),
        ("2026-11-20T17:00:00Z", false),
        ("2026-11-21T12:00:00Z", false),
        ("2026-07-03T06:00:00Z", true),
        ("2026-07-03T16:00:00Z", false),
    ] {
        let want = Refusal::new(Reason::OutsideHours, OPEN);
        let refused = refusal(&call(), &card(&[HOURS]), now);
        assert_eq!(refused, (!open).then_some(want), "{now}");
        assert_eq!(refusal(&call(), &card(&[]), now), None, "{now}");
    }
}

#[test]
fn a_reading_needs_no_word_of_halts_and_a_write_does() {
    let stage = "[args.stage]\ntype = \"choice\"\nvalues = [\"new\"]\n";
    let new = r#"{"stage":"new"}"#;
    for (card, id, args, want) in [
        (card(&[]), "D-104", new, Some(Reason::HaltUnknown)),
        (reading("read", ""), "D-104", "{}", None),
        (reading("find", stage), "-", new, None),
        (reading("read", ""), "-", "{}", Some(Reason::ArgsSchema)),
        (reading("read", ""), "D-104", new, Some(Reason::ArgsSchema)),
        (
            reading("find", stage),
            "D-104",
            new,
            Some(Reason::ArgsSchema),
        ),
        (reading("find", stage), "-", "{}", Some(Reason::ArgsSchema)),
    ] {
        let call = Call {
            mode: Mode::DryRun,
            target: Some(("deal".into(), id.into())),
            ..asked(args)
        };
        let digest = card.digest();
        let claims = Claims {
            card_digest: digest,
            ..claims(&call)
        };
        let seen = Seen {
            card_digest: &digest,
            standing: None,
            ..SEEN
        };
        let refused = admit(&signed(&claims), &call, &seen, Some(&card)).err();
        let reason = refused.map(|refusal| refusal.reason);
        assert_eq!(reason, want, "{} {id} {args}", card.verb.name());
        let known = want.filter(|reason| *reason != Reason::HaltUnknown);
        let refused = refusal(&call, &card, NOON);
        assert_eq!(refused.map(|refusal| refusal.reason), known, "{id} {args}");
    }
}

#[test]
fn a_call_is_told_of_the_first_of_its_faults() {
    let everything = Scope::global();
    let wants = [
        "connection: `set_stage` is on crm/other, got crm/main",
        "target: `set_stage` acts on a deal, not on `order`",
        "stage: found \"won\", allowed one of new, qualified",
        "the card requires a version",
        OPEN,
        "global",
    ];
    for (repaired, want) in wants.into_iter().enumerate() {
        let changes: &[Change] = if repaired > 0 {
            &[HOURS, VERSION]
        } else {
            &[HOURS, VERSION, ELSEWHERE]
        };
        let object = if repaired > 1 { "deal" } else { "order" };
        let stage = if repaired > 2 { "new" } else { "won" };
        let call = Call {
            target: Some((object.into(), "D-104".into())),
            precondition: (repaired > 3).then(|| "v1".into()),
            ..asked(&format!(r#"{{"stage":"{stage}"}}"#))
        };
        let now = if repaired > 4 {
            NOON
        } else {
            "2026-11-21T12:00:00Z"
        };
        let card = card(changes);
        let digest = card.digest();
        let claims = Claims {
            card_digest: digest,
            ..claims(&call)
        };
        let seen = Seen {
            card_digest: &digest,
            now: now.parse().unwrap(),
            ..standing(Standing {
                halted: Some(&everything),
                ..FREE
            })
        };
        let refused = admit(&signed(&claims), &call, &seen, Some(&card)).unwrap_err();
        assert_eq!(refused.detail, want);
    }
}
