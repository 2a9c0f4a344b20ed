//! What the one hash of a Redis says: all of it, or nothing is known.

use super::{Act, FLAGS_MAX, Flag, HaltError, HaltState, Recent, Scope};

/// The id of a flag that a hand made: its value is empty, until somebody counts it.
pub(super) const HAND: &str = "hand-0";

/// Fields of the hash with their values.
pub(super) type Fields = Vec<(String, String)>;

fn failed(why: impl core::fmt::Display) -> HaltError {
    HaltError(format!("redis: {why}"))
}

/// The hash as a state; a field that is missing, unknown or cannot be read is an error.
pub(super) fn parse(fields: &Fields) -> Result<HaltState, HaltError> {
    let mut state = flags(fields)?;
    let find = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, text)| text)
    };
    if find("armed").is_none() {
        return Err(failed(
            "it is not armed: look at the flags, then `connectord halt arm`",
        ));
    }
    let number = |name: &str| {
        let read = find(name).and_then(|text| text.parse::<u64>().ok());
        read.ok_or_else(|| failed(format!("`{name}` is missing or no number")))
    };
    (state.epoch, state.generation) = (number("epoch")?, number("generation")?);
    Ok(state)
}

/// All but what arming writes.
pub(super) fn flags(fields: &Fields) -> Result<HaltState, HaltError> {
    let mut state = HaltState::default();
    for (field, text) in fields {
        match field.as_str() {
            "armed" | "epoch" | "generation" => {}
            "recent" => state.recent = text.lines().map(recent).collect::<Result<_, _>>()?,
            other => state.flags.push(flag(other, text)?),
        }
    }
    if state.flags.len() > FLAGS_MAX {
        return Err(failed("too many flags"));
    }
    state.flags.sort_by(|a, b| a.scope.cmp(&b.scope));
    Ok(state)
}

fn recent(line: &str) -> Result<Recent, HaltError> {
    let read = line.split_once(' ').and_then(|(at_ms, scope)| {
        let (at_ms, scope) = (at_ms.parse().ok()?, scope.parse().ok()?);
        Some(Recent { scope, at_ms })
    });
    read.ok_or_else(|| failed("`recent` cannot be read"))
}

/// A flag with an empty value was made by hand.
fn flag(field: &str, text: &str) -> Result<Flag, HaltError> {
    let wrong = || failed(format!("`{field}` cannot be read"));
    let scope = field.strip_prefix("flag:").ok_or_else(wrong)?;
    let scope: Scope = scope.parse().map_err(|_| wrong())?;
    if text.is_empty() {
        return Ok(Flag::new(scope, &Act::default(), HAND));
    }
    let flag: Flag = serde_json::from_str(text).map_err(|_| wrong())?;
    if flag.scope != scope || flag.id.is_empty() {
        return Err(wrong());
    }
    Ok(flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(changes: &[(&str, &str)]) -> Fields {
        let mut fields = vec![("armed", "{}"), ("epoch", "4"), ("generation", "9")];
        for (name, text) in changes {
            fields.retain(|(field, _)| field != name);
            if *text != "-" {
                fields.push((name, text));
            }
        }
        fields
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn only_a_whole_state_is_known() {
        let state = parse(&fields(&[("flag:global", ""), ("recent", "5 tenant:a")])).unwrap();
        assert_eq!(
            (state.epoch, state.generation, state.flags.len()),
            (4, 9, 1)
        );
        assert_eq!(state.recent[0].at_ms, 5);
        for wrong in [
            ("armed", "-"),
            ("epoch", "-"),
            ("generation", "-"),
            ("epoch", "x"),
            ("epoch", "-1"),
            ("flag:planet:earth", ""),
            ("flag:global", "nonsense"),
            ("flag:global", r#"{"scope":"tenant:a","id":"1"}"#),
            ("flag:global", r#"{"scope":"global"}"#),
            ("recent", "x"),
            ("other", ""),
        ] {
            assert!(parse(&fields(&[wrong])).is_err(), "{wrong:?}");
        }
        assert!(
            parse(&Fields::new()).is_err(),
            "an empty Redis lost its data"
        );
    }
}
