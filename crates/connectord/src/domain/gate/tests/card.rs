//! The last part of check 17 through the gate: what connectord's own card refuses whatever policyd
//! signed, with what is said of it, beside what it lets pass.

use writ_proto::value::args_from_json;

use super::*;

/// Of a Friday.
pub(super) const NOON: &str = "2026-11-20T12:00:00Z";

pub(super) const CARD: &str = r#"
name = "set_stage"
sentence = "Move one deal to another stage."
connection = "crm/main"
verb = "update_fields"
target = "deal"
owner = "ops"
risk = "low"
tier = "reversible"
undo = "puts the old stage back"
rollback_minutes = 1
approver = "role:ops"
rollout_max = "live"
rollback_window = "1h"
[caps]
records_per_day = 9
[args.stage]
type = "choice"
values = ["new", "qualified"]
"#;

/// A change of the card: what stands there, and what will.
pub(super) type Change = (&'static str, &'static str);

pub(super) const HOURS: Change = (
    "[caps]",
    "hours = { days = \"mon-fri\", from = \"08:00\", to = \"18:00\", zone = \"Europe/Amsterdam\" }\n[caps]",
);
pub(super) const VERSION: Change = (
    "[args.stage]",
    "[precondition]\nversion = \"required\"\n[args.stage]",
);
pub(super) const ELSEWHERE: Change = ("\"crm/main\"", "\"crm/other\"");
const DRAFT: Change = ("update_fields", "create_draft");

/// The card with some pieces of it replaced.
pub(super) fn card(changes: &[Change]) -> Card {
    let changed = |text: String, (from, to): &Change| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let text = changes.iter().fold(CARD.to_owned(), changed);
    Card::parse(&text.replace("\"reversible\"", "\"compensable\"")).unwrap()
}

/// A call with other arguments.
pub(super) fn asked(args: &str) -> Call {
    Call {
        args_cbor: args_from_json(args).unwrap().encode(),
        ..call()
    }
}

/// Why a call is refused that policyd signed as it stands.
pub(super) fn refusal(call: &Call, card: &Card, now: &str) -> Option<Refusal> {
    admitted(call, card, now.parse().unwrap()).err()
}

pub(super) fn schema(detail: &str) -> Refusal {
    Refusal::new(Reason::ArgsSchema, detail)
}

#[test]
fn a_permit_holds_what_was_signed() {
    let permit = admitted(&call(), &card(&[]), NOON.parse().unwrap()).unwrap();
    assert_eq!(permit.args().to_json(), r#"{"stage":"qualified"}"#);
    assert_eq!(permit.request_hash(), &claims(&call()).request_hash);
    assert_eq!(permit.claims().decision_id, claims(&call()).decision_id);
}

#[test]
fn a_token_for_a_card_of_other_content_is_refused() {
    let own = card(&[]);
    let digest = own.digest();
    let seen = Seen {
        card_digest: &digest,
        ..SEEN
    };
    for (theirs, fits) in [
        (card(&[]), true),
        (card(&[("[caps]", "# how much\n[caps]")]), true),
        (
            card(&[("records_per_day = 9", "records_per_day = 8")]),
            false,
        ),
        (card(&[("\"new\"", "\"new\", \"won\"")]), false),
        (card(&[VERSION]), false),
    ] {
        let claims = Claims {
            card_digest: theirs.digest(),
            ..claims(&call())
        };
        let refusal = admit(&signed(&claims), &call(), &seen, Some(&own)).err();
        let want = Refusal::of(Reason::CardMismatch);
        assert_eq!(refusal, (!fits).then_some(want), "{theirs:?}");
    }
}

#[test]
fn a_call_elsewhere_than_its_card_is_refused() {
    let none = "target: `set_stage` acts on a deal";
    let deal = "target: `set_stage` acts on a deal, not on `order`";
    let no_record = "target: `set_stage` acts on no record that is there: its id is `-`";
    let record = "target: `set_stage` needs the id of a record";
    let connection = "connection: `set_stage` is on crm/other, got crm/main";
    for (change, target, want) in [
        (None, Some(("deal", "D-104")), None),
        (Some(ELSEWHERE), Some(("deal", "D-104")), Some(connection)),
        (None, Some(("order", "D-104")), Some(deal)),
        (None, Some(("deal", "-")), Some(record)),
        (None, None, Some(none)),
        (Some(DRAFT), Some(("deal", "-")), None),
        (Some(DRAFT), Some(("order", "-")), Some(deal)),
        (Some(DRAFT), Some(("deal", "D-104")), Some(no_record)),
        (Some(DRAFT), None, Some(none)),
    ] {
        let card = card(change.as_slice());
        let call = Call {
            target: target.map(|(kind, id)| (kind.into(), id.into())),
            ..call()
        };
        let refused = refusal(&call, &card, NOON);
        assert_eq!(refused, want.map(schema), "{change:?} {target:?}");
    }
}
