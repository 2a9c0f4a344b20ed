//! The closed list of things that can be done; there is no other way to write.

use std::collections::BTreeMap;

use super::file::invalid;
use super::{Arg, ArgKind, Card, CardError, Rollout, WriteMode};

/// Id of the target of a verb that has no record yet: a search, or a record to be made. The
/// spelling is that of AIP-159 for "no one in particular".
pub const NO_RECORD: &str = "-";

/// What an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Show one record, as far as the card lets it be seen.
    Read,
    /// Show the few records that carry all signals.
    Find,
    /// Change named fields of one record.
    UpdateFields,
    /// Add a note to one record; existing text is never touched.
    AppendNote,
    /// Change the status of one record.
    SetStatus,
    /// Create a task for a person, linked to the target.
    CreateTask,
    /// Make a new record that counts for nothing until a person takes it over.
    CreateDraft,
    /// Give money back on one record.
    Refund,
    /// Make a filled copy of a template that the agent cannot change.
    FillTemplate,
    /// Tell people something where they read it, such as in a channel.
    Notify,
    /// Add one row to a table from which a person or a program takes it over.
    InsertStaging,
}

/// Every verb by its name in cards, policies and system files.
pub(super) const VERBS: &[(&str, Verb)] = &[
    ("read", Verb::Read),
    ("find", Verb::Find),
    ("update_fields", Verb::UpdateFields),
    ("append_note", Verb::AppendNote),
    ("set_status", Verb::SetStatus),
    ("create_task", Verb::CreateTask),
    ("create_draft", Verb::CreateDraft),
    ("refund", Verb::Refund),
    ("fill_template", Verb::FillTemplate),
    ("notify", Verb::Notify),
    ("insert_staging", Verb::InsertStaging),
];

impl Verb {
    /// The name in cards, policies and system files.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = VERBS.iter().find(|(_, verb)| *verb == self);
        found.map_or("", |(name, _)| name)
    }

    /// The verb of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let found = VERBS.iter().find(|(known, _)| *known == name);
        found.map(|(_, verb)| *verb)
    }

    /// Whether the verb changes fields of the target itself, so that the old values can be put
    /// back; the others add a record of their own.
    #[must_use]
    pub const fn sets_fields(self) -> bool {
        matches!(self, Self::UpdateFields | Self::SetStatus)
    }

    /// Whether the arguments are fields of what is written.
    #[must_use]
    pub const fn names_fields(self) -> bool {
        self.sets_fields() || self.makes_record()
    }

    /// Whether the verb only looks.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Find)
    }

    /// Whether the verb acts on a record that is there, and names it.
    #[must_use]
    pub const fn has_record(self) -> bool {
        !matches!(self, Self::Find) && !self.makes_record()
    }

    /// Whether the verb makes a record of its own, whose fields are the arguments.
    #[must_use]
    pub const fn makes_record(self) -> bool {
        matches!(self, Self::CreateDraft | Self::InsertStaging)
    }
}

/// `a deal`, `an order`.
#[must_use]
pub fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

impl Card {
    /// Whether a target is one that the action takes.
    ///
    /// # Errors
    /// What it takes instead, for the caller.
    pub fn check_target(&self, target: Option<&(String, String)>) -> Result<(), String> {
        let name = &self.name;
        match target {
            Some((kind, _)) if *kind != self.target => Err(format!(
                "target: `{name}` acts on {}, not on `{}`",
                with_article(&self.target),
                kind.chars().take(64).collect::<String>()
            )),
            None => Err(format!(
                "target: `{name}` acts on {}",
                with_article(&self.target)
            )),
            Some((_, id)) if (id == NO_RECORD) == self.verb.has_record() => Err(format!(
                "target: `{name}` {}",
                if self.verb.has_record() {
                    "needs the id of a record"
                } else {
                    "acts on no record that is there: its id is `-`"
                }
            )),
            Some(_) => Ok(()),
        }
    }
}

/// What a verb needs of its card, and what would mean nothing there.
pub(super) fn check(card: &Card) -> Result<(), CardError> {
    let verb = card.verb;
    let name = verb.name();
    let refuse = |what: &str| Err(invalid(format!("verb `{name}`: {what}")));
    if card.args.is_empty() && verb != Verb::Read {
        return refuse("it names at least one argument");
    }
    if verb.reads() {
        return check_reading(card, refuse);
    }
    check_fields(card)?;
    if verb.sets_fields() {
        return Ok(());
    }
    let own = |mode: WriteMode| mode == WriteMode::Append && verb == Verb::AppendNote;
    let odd = |arg: &Arg| arg.write != WriteMode::Set && !own(arg.write);
    if card.args.values().any(odd) {
        return refuse("there is no old value, so `write` is absent");
    }
    if !verb.has_record() && (!card.when.is_empty() || card.version_required) {
        return refuse("there is no record yet, so nothing can be a precondition");
    }
    if !verb.has_record() && card.caps.records_per_customer_per_day.is_some() {
        return refuse("there is no record yet, so nothing can be counted by customer");
    }
    Ok(())
}

/// Each field is written by one argument: of two the system would take either.
fn check_fields(card: &Card) -> Result<(), CardError> {
    let signal = |name: &String| card.verb.has_record() && card.identify.contains(name);
    let mut taken = BTreeMap::new();
    for (name, arg) in card.args.iter().filter(|(name, _)| !signal(name)) {
        let other = taken.insert(arg.field.as_str(), name);
        if let Some(other) = other.filter(|_| card.verb.names_fields()) {
            let field = &arg.field;
            return Err(invalid(format!(
                "args.{other} and args.{name} write one field, `{field}`"
            )));
        }
    }
    Ok(())
}

fn check_reading(
    card: &Card,
    refuse: impl Fn(&str) -> Result<(), CardError>,
) -> Result<(), CardError> {
    if card.sight.is_none() {
        return refuse("[read] says what may be seen");
    }
    if card.rollout_max > Rollout::DryRun {
        return refuse("it writes nothing, so rollout_max is absent");
    }
    if card.caps.records_per_run.is_none() {
        return refuse("caps.records_per_run says how much a run may read");
    }
    let caps = &card.caps;
    if caps.spike.is_some() || caps.fields_per_run.is_some() {
        return refuse("caps.spike and caps.fields_per_run are for writes");
    }
    let idle = !card.when.is_empty()
        || card.version_required
        || !card.identify.is_empty()
        || card.demotion.is_some()
        || card.customer.is_some();
    if idle {
        return refuse("precondition, identify, demote and customer are for writes");
    }
    match card.verb {
        Verb::Find if !signals(&card.args) => {
            refuse("its arguments are signals: texts, references or choices, none optional")
        }
        Verb::Read if !card.args.is_empty() => refuse("it takes no arguments"),
        _ => Ok(()),
    }
}

fn signals(args: &BTreeMap<String, Arg>) -> bool {
    args.values().all(|arg| {
        let text = matches!(
            arg.kind,
            ArgKind::Text { .. } | ArgKind::Reference { .. } | ArgKind::Choice { .. }
        );
        text && !arg.optional && arg.write == WriteMode::Set
    })
}
