//! What must not move between the first look and the write.

use serde_json::json;

use super::*;
use crate::system::file::Bound;

const SANDBOX: &str = include_str!("../../../../../../deploy/systems/sandbox.toml");
const HEAD: &str = "[object.deal.verb.update_fields]";

#[test]
fn what_was_never_looked_at_has_moved() {
    let prepare =
        "prepare = [{ request = \"GET /deals/{id}\", unchanged = [\"/owner\", \"/lines\"] }]";
    let text = SANDBOX.replacen(HEAD, &format!("{HEAD}\n{prepare}"), 1);
    let bound = Bound::compile(&text).unwrap();
    let prepare = &bound.objects["deal"].verbs["update_fields"].prepare;
    let shown = |owner: &str| Prepared(vec![json!({"owner": owner, "stage": owner})]);
    let (none, empty) = (Prepared::default(), Prepared(vec![json!({})]));
    for (before, now, expected) in [
        (shown("ann"), shown("ann"), None),
        (shown("ann"), shown("bob"), Some("/owner")),
        (shown("ann"), empty.clone(), Some("/owner")),
        (empty.clone(), empty.clone(), None),
        (none.clone(), shown("ann"), Some("/owner")),
        (none.clone(), none, Some("/owner")),
    ] {
        let found = unlike(prepare, &before, &now);
        assert_eq!(found.as_deref(), expected, "{before:?} {now:?}");
    }
    // Hence no second send after a new token.
    let plain = Bound::compile(SANDBOX).unwrap();
    let compared = [&bound, &plain].map(|bound| {
        let verb = &bound.objects["deal"].verbs["update_fields"];
        is_compared(verb)
    });
    assert_eq!(compared, [true, false]);
}

#[test]
fn a_header_that_wants_a_date_gets_one() {
    let date = "Sat, 28 Nov 2026 09:00:05 GMT";
    for (header, version, expected) in [
        ("If-Unmodified-Since", "2026-11-28T09:00:05.000+0000", date),
        ("if-unmodified-since", "2026-11-28T10:00:05+01:00", date),
        ("If-Unmodified-Since", "7", "7"),
        ("If-Match", "2026-11-28T09:00:05Z", "2026-11-28T09:00:05Z"),
    ] {
        assert_eq!(header_version(header, version), expected, "{header}");
    }
}
