//! The draft of a card.

use super::page::{Page, listed, quoted};
use super::shape::Shape;
use super::system::Field;

/// Characters of a text whose length nobody said.
const CHARS: u64 = 200;
/// Most that a draft allows, whatever a description says.
const CHARS_MAX: u64 = 4_000;
const NUMBER_MAX: i64 = 1_000_000;
const ITEMS_MAX: u32 = 20;

/// What an argument may be, line by line.
fn bounds(shape: &Shape) -> Vec<String> {
    let line = |key: &str, value: &dyn core::fmt::Display| format!("{key} = {value}");
    let kind = |name: &str| line("type", &quoted(name));
    match shape {
        Shape::Text(said) => {
            let most = said.unwrap_or(CHARS).clamp(1, CHARS_MAX);
            vec![kind("text"), line("max_chars", &most)]
        }
        Shape::Choice(values) => vec![kind("choice"), line("values", &listed(values))],
        Shape::Integer(min, max) => {
            let (least, most) = (min.unwrap_or(0), max.unwrap_or(NUMBER_MAX));
            vec![
                kind("integer"),
                line("min", &least),
                line("max", &most.max(least)),
            ]
        }
        Shape::Decimal => vec![
            kind("decimal"),
            line("decimals", &2),
            line("min", &quoted("0")),
            line("max", &quoted("1000000")),
        ],
        Shape::Boolean => vec![kind("boolean")],
        Shape::Date => [vec![kind("date")], days()].concat(),
        Shape::Timestamp => [vec![kind("timestamp")], days()].concat(),
        Shape::List(item) => {
            let of = format!("{{ {} }}", bounds(item).join(", "));
            vec![kind("list"), line("max_items", &ITEMS_MAX), line("of", &of)]
        }
    }
}

fn days() -> Vec<String> {
    vec![
        "min = \"today\"".to_owned(),
        "max = \"today+365d\"".to_owned(),
    ]
}

/// What a person decides of them; nothing where the description says all.
fn open(shape: &Shape, name: &str) -> Option<String> {
    let range = || Some(format!("from where to where `{name}` may be"));
    match shape {
        Shape::Text(None) => Some(format!("how long `{name}` may be")),
        Shape::Text(Some(_)) | Shape::Integer(Some(_), Some(_)) | Shape::Boolean => None,
        Shape::Choice(_) => Some(format!("which of these an agent may set `{name}` to")),
        Shape::Integer(..) | Shape::Date | Shape::Timestamp => range(),
        Shape::Decimal => Some(format!(
            "from where to where `{name}` may be; of money write type = \"money\", with its codec in the system file"
        )),
        Shape::List(item) => {
            open(item, name).or_else(|| Some(format!("how many items `{name}` may have")))
        }
    }
}

/// Drafts a card that sets these fields.
pub(super) fn draft((name, connection, object): (&str, &str, &str), fields: &[Field]) -> Page {
    let mut page = Page::default();
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let named = names.join(", ");
    page.line(format!("name = {}", quoted(name)));
    page.line(format!(
        "sentence = {}",
        quoted(&format!("Set {named} of one {object}."))
    ));
    page.line(format!("connection = {}", quoted(connection)));
    page.line("verb = \"update_fields\"");
    page.line(format!("target = {}", quoted(object)));
    page.decide("who owns this action, and who approves it");
    page.line("owner = \"ops@example.com\"");
    page.line("approver = \"role:ops\"");
    page.decide("how much harm a wrong value does");
    page.line("risk = \"high\"");
    page.line("tier = \"reversible\"");
    page.line("undo = \"restores the previous values if nobody changed them since\"");
    page.line("rollback_minutes = 5");
    page.line("rollback_window = \"24h\"");
    page.line("rollout = \"dry_run\"");
    page.decide("rollout_max = \"live\", once conform holds on this system");
    page.line("rollout_max = \"dry_run\"");
    page.line("");
    page.line("[caps]");
    page.decide("how many records a day");
    page.line("records_per_day = 50");
    for field in fields {
        let shape = &field.said.shape;
        page.line("");
        page.line(format!("[args.{}]", field.name));
        if let Some(decide) = open(shape, &field.name) {
            page.decide(decide);
        }
        if !field.said.dropped.is_empty() {
            let (name, also) = (&field.name, field.said.dropped.join(", "));
            page.decide(format_args!(
                "`{name}` is also held to {also} by the description, and not by this card"
            ));
        }
        for line in bounds(shape) {
            page.line(line);
        }
        if fields.len() > 1 {
            page.line("optional = true");
        }
    }
    page
}
