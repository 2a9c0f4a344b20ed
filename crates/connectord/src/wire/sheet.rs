//! Action cards for the wire: what an agent or a bridge has to know of each.

use writ_proto::card::{Arg, ArgKind, Card, Rollout, WriteMode};
use writ_proto::pb;

use crate::wire::outcome::timestamp;

/// An action for the wire.
#[must_use]
pub fn action(card: &Card, rollout: Rollout, until_ms: i64) -> pb::Action {
    pb::Action {
        pending: Vec::new(),
        problem: String::new(),
        name: card.name.to_string(),
        sentence: card.sentence.clone(),
        connection: card.connection.to_string(),
        verb: card.verb.name().to_owned(),
        target_type: card.target.clone(),
        tier: card.tier.name().to_owned(),
        risk: card.risk.name().to_owned(),
        owner: card.owner.clone(),
        rollout: match rollout {
            Rollout::Suggest => pb::Rollout::Suggest,
            Rollout::DryRun => pb::Rollout::DryRun,
            Rollout::Pilot => pb::Rollout::Pilot,
            Rollout::Live => pb::Rollout::Live,
        }
        .into(),
        fields: card.args.values().map(|arg| arg.field.clone()).collect(),
        card_digest: card.digest().to_vec(),
        undo: card.undo.clone(),
        rollout_until: (until_ms > 0).then(|| timestamp(until_ms)),
        arguments: card.args.iter().map(argument).collect(),
        conditions: card
            .when
            .iter()
            .map(|(field, values)| pb::ActionCondition {
                field: field.clone(),
                values: values.clone(),
            })
            .collect(),
        readable_fields: card
            .sight
            .iter()
            .flat_map(|sight| sight.fields().map(str::to_owned))
            .collect(),
        version_required: card.version_required,
        records_per_day: card.caps.records_per_day,
        rollback_window_seconds: card.rollback_window_seconds,
        pilot: card.pilot.map(|pilot| pb::Pilot {
            records_per_day: pilot.records_per_day,
            fields_per_record: pilot.fields_per_record,
            widen_seconds: pilot.widen.map_or(0, |widen| widen.calm_seconds),
            widen_records: pilot.widen.map_or(0, |widen| widen.records),
        }),
    }
}

fn argument((name, arg): (&String, &Arg)) -> pb::ActionArgument {
    let Arg {
        kind,
        field,
        optional,
        write,
        effects,
        evidence_required,
        evidence_from,
        abbreviations: _,
    } = arg;
    pb::ActionArgument {
        name: name.clone(),
        field: field.clone(),
        optional: *optional,
        write: match write {
            WriteMode::Set => "set",
            WriteMode::Append => "append",
            WriteMode::FillOnlyEmpty => "fill_only_empty",
            WriteMode::Mechanical => "mechanical",
        }
        .to_owned(),
        effects: effects.clone(),
        evidence_required: *evidence_required,
        evidence_from: evidence_from.clone(),
        r#type: Some(argument_type(kind)),
    }
}

fn argument_type(kind: &ArgKind) -> pb::ActionArgumentType {
    let mut told = pb::ActionArgumentType {
        name: kind.name().to_owned(),
        allowed: kind.describe(),
        ..pb::ActionArgumentType::default()
    };
    match kind {
        ArgKind::Choice { values } => told.values.clone_from(values),
        ArgKind::Text { max_chars } => told.max_chars = *max_chars,
        ArgKind::Integer { min, max } => {
            (told.min, told.max) = (min.to_string(), max.to_string());
        }
        ArgKind::Decimal { decimals, min, max } => {
            told.decimals = *decimals;
            (told.min, told.max) = (decimal(*min, *decimals), decimal(*max, *decimals));
        }
        ArgKind::Money {
            currencies,
            min,
            max,
        } => {
            told.currencies.clone_from(currencies);
            (told.min, told.max) = (min.to_json(), max.to_json());
        }
        ArgKind::Date { min, max } | ArgKind::Timestamp { min, max } => {
            (told.min, told.max) = (min.to_string(), max.to_string());
        }
        ArgKind::Boolean => {}
        ArgKind::Reference { pattern } => pattern.as_str().clone_into(&mut told.pattern),
        ArgKind::List { of, max_items } => {
            told.max_items = *max_items;
            told.items = Some(Box::new(argument_type(of)));
        }
    }
    told
}

/// Units of the last decimal as exact text, such as `-0.05`.
fn decimal(units: i64, decimals: u32) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = usize::try_from(decimals).unwrap_or_default();
    let text = format!("{:0>1$}", units.unsigned_abs(), digits.saturating_add(1));
    let (whole, part) = text
        .split_at_checked(text.len().saturating_sub(digits))
        .unwrap_or((&text, ""));
    if part.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_told_exactly() {
        for (units, decimals, text) in [(-5, 2, "-0.05"), (1_230, 2, "12.30"), (7, 0, "7")] {
            assert_eq!(decimal(units, decimals), text);
        }
    }
}
