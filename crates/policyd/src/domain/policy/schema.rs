//! Cards and declared facts to the Cedar schema that policies, requests and entities are
//! validated against.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use writ_proto::card::{ArgKind, Card};

/// Facts of the target types: type, attribute, Cedar type. All are optional for policies.
pub type FactTypes = BTreeMap<String, BTreeMap<String, String>>;

/// Most facts of a set.
const FACTS_MAX: usize = 500;
/// Longest type of a fact; what is written as one goes to a parser that recurses.
const TYPE_BYTES_MAX: usize = 64;
const TYPE_NESTING_MAX: usize = 4;

/// What is wrong with the declared facts before any parser sees them.
#[must_use]
pub fn facts_flaw(facts: &FactTypes) -> Option<String> {
    let all = facts
        .iter()
        .flat_map(|(kind, own)| own.iter().map(move |fact| (kind, fact)));
    if all.clone().count() > FACTS_MAX {
        return Some(format!("at most {FACTS_MAX} facts"));
    }
    let deep = |text: &str| text.matches(['<', '{', '(']).count() > TYPE_NESTING_MAX;
    let flaw = |(_, (name, kind)): &(&String, (&String, &String))| {
        [name, kind].iter().any(|text| text.len() > TYPE_BYTES_MAX) || deep(kind)
    };
    let (kind, (name, _)) = all.clone().find(flaw)?;
    let name: String = name.chars().take(TYPE_BYTES_MAX).collect();
    Some(format!(
        "facts.{kind}.{name}: name and type have at most {TYPE_BYTES_MAX} bytes, and a type is nested at most {TYPE_NESTING_MAX} deep"
    ))
}

/// Cedar entity type of an object type: `set_ticket` becomes `SetTicket`.
#[must_use]
pub fn entity_type(target: &str) -> String {
    let mut name = String::with_capacity(target.len());
    for part in target.split('_') {
        let mut letters = part.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

/// Group of all actions that change something.
const WRITE: &str = "write";
/// Group of all actions that only look.
const READ: &str = "read";

/// Action groups of a card; a policy may name a group instead of an action.
#[must_use]
pub fn groups(card: &Card) -> [String; 4] {
    let kind = if card.verb.reads() { READ } else { WRITE };
    [
        kind.to_owned(),
        format!("verb:{}", card.verb.name()),
        format!("tier:{}", card.tier.name()),
        format!("risk:{}", card.risk.name()),
    ]
}

fn cedar_type(kind: &ArgKind) -> String {
    match kind {
        ArgKind::Integer { .. } | ArgKind::Decimal { .. } => "Long".to_owned(),
        ArgKind::Boolean => "Bool".to_owned(),
        ArgKind::Money { .. } => "{ \"currency\": String, \"minor\": Long }".to_owned(),
        ArgKind::List { of, .. } => format!("Set<{}>", cedar_type(of)),
        ArgKind::Choice { .. }
        | ArgKind::Text { .. }
        | ArgKind::Date { .. }
        | ArgKind::Timestamp { .. }
        | ArgKind::Reference { .. } => "String".to_owned(),
    }
}

/// The schema text.
#[must_use]
pub fn schema_text<'a>(cards: impl Iterator<Item = &'a Card> + Clone, facts: &FactTypes) -> String {
    let mut out = String::from(
        "entity Role;\n\
         entity Agent in [Role] = { \"tenant\": String };\n",
    );
    if !facts.contains_key("customer") {
        out.push_str("entity Customer = { \"tenant\": String, \"tier\": String };\n");
    }
    let targets = cards.clone().map(|card| card.target.as_str());
    let mut types: BTreeSet<&str> = targets.chain(facts.keys().map(String::as_str)).collect();
    // Declared above: a customer without known facts has no tier, so a rule that reads it denies.
    if !facts.contains_key("customer") {
        types.remove("customer");
    }
    for target in types {
        let name = entity_type(target);
        let _ = write!(out, "entity {name} = {{ \"tenant\": String");
        for (attribute, kind) in facts.get(target).into_iter().flatten() {
            let _ = write!(out, ", \"{attribute}\"?: {kind}");
        }
        out.push_str(" };\n");
    }
    let mut all: BTreeSet<String> = cards.clone().flat_map(groups).collect();
    // A guardrail may name both, whatever cards there are.
    all.extend([READ.to_owned(), WRITE.to_owned()]);
    for group in all {
        let _ = writeln!(out, "action \"{group}\";");
    }
    for card in cards {
        action(&mut out, card);
    }
    out
}

fn action(out: &mut String, card: &Card) {
    let groups = groups(card).map(|group| format!("\"{group}\"")).join(", ");
    let _ = writeln!(out, "action \"{}\" in [{groups}] appliesTo {{", card.name);
    let _ = writeln!(
        out,
        "  principal: [Agent], resource: [{}],",
        entity_type(&card.target)
    );
    out.push_str(
        "  context: {\n    \"reason\": String, \"run\": String, \"environment\": String, \"mode\": String,\n    \
         \"hour\": Long, \"weekday\": Long, \"effects\": Set<String>,\n    \
         \"confidence\"?: Long, \"uncertain\": Set<String>, \"grounded\": Set<String>,\n",
    );
    if let Some(amount) = card.args.get("amount").filter(|arg| is_money(&arg.kind)) {
        let mark = if amount.optional { "?" } else { "" };
        let _ = writeln!(
            out,
            "    \"amount_minor\"{mark}: Long, \"currency\"{mark}: String,"
        );
    }
    out.push_str("    \"args\": {");
    for (index, (name, arg)) in card.args.iter().enumerate() {
        let (comma, mark) = (
            if index > 0 { ", " } else { " " },
            if arg.optional { "?" } else { "" },
        );
        let _ = write!(out, "{comma}\"{name}\"{mark}: {}", cedar_type(&arg.kind));
    }
    out.push_str(" }\n  }\n};\n");
}

/// Whether an argument is money.
#[must_use]
pub const fn is_money(kind: &ArgKind) -> bool {
    matches!(kind, ArgKind::Money { .. })
}
