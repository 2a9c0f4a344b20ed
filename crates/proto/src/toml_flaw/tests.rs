//! A slip is named with what was meant and its place.

use super::*;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its keys are of interest")]
struct Keys {
    target: String,
    owner: String,
}

#[test]
fn a_slip_is_named_with_what_was_meant_and_its_place() {
    for (text, message, at) in [
        (
            "owner = \"a\"\ntartget = \"b\"",
            "there is no key `tartget`. Did you mean `target`?",
            Some(12),
        ),
        ("target = \"a\"", "`owner` is missing", None),
        (
            "x = 1",
            "there is no key `x`; there are target, owner",
            None,
        ),
        (
            "target = \"a\"\nowner = \"b",
            "invalid basic string, expected `\"`",
            Some(23),
        ),
    ] {
        let found = flaw(&toml::from_str::<Keys>(text).unwrap_err());
        assert_eq!(found.message, message);
        assert_eq!(found.at, at, "{text}");
    }
}

#[test]
fn a_message_points_at_what_it_quotes_or_at_its_key() {
    let text = "zone = \"Europe/Amsterdm\"\n[pilot]\nrecords = 0\n";
    assert_eq!(place_of(text, "unknown zone `Europe/Amsterdm`"), Some(7));
    assert_eq!(
        place_of(text, "pilot: a limit of 0 lets nothing through"),
        Some(25)
    );
    assert_eq!(place_of(text, "pilot.records is 1 or more"), Some(33));
    assert_eq!(place_of(text, "nothing of that"), None);
    let text = "name = \"set_stage\"\nwhen = { stag = [1] }\n";
    assert_eq!(place_of(text, "no card writes `stag`"), Some(28));
    assert_eq!(place_of(text, "no card writes `tag`"), None);
}
