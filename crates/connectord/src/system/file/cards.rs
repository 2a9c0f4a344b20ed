//! Whether a card and a system file fit: every argument has exactly one place, every place a value.
//! What could only fail on a live call is found here, before anything is dry-run.

use std::collections::{BTreeMap, BTreeSet};

use writ_proto::card::{Arg, ArgKind, Card, RecordCeiling, Tier};

use super::slot::{ArgPart, Slot};
use super::{Bound, Ceiling, Codec, FileError, Guard, Look, Object, Once, Settle, UndoBy, Verb};

fn fail(why: impl Into<String>) -> FileError {
    FileError::new(why)
}

/// Whether what an argument can be is in the domain of a codec.
fn fits(kind: &ArgKind, codec: &Codec) -> bool {
    use ArgKind as A;
    use Codec as C;
    match (kind, codec) {
        (A::Choice { values }, C::Choice(names)) => {
            names.is_empty() || values.iter().all(|value| names.contains_key(value))
        }
        (A::Choice { .. } | A::Reference { .. }, C::Text { .. } | C::Choice(_))
        | (A::Text { .. }, C::Text { .. } | C::Choice(_))
        | (A::Integer { .. }, C::Integer | C::Decimal | C::DecimalText(_))
        | (A::Decimal { .. }, C::Decimal | C::DecimalText(None))
        | (A::Money { .. }, C::Money)
        | (A::Date { .. }, C::Date | C::Text { .. })
        | (A::Timestamp { .. }, C::DateTime | C::EpochSeconds | C::EpochMillis | C::Text { .. })
        | (A::Boolean, C::Boolean(_)) => true,
        (A::Decimal { decimals, .. }, C::DecimalText(Some(places))) => decimals <= places,
        (A::Money { currencies, .. }, C::Minor(currency)) => {
            currencies.iter().all(|code| code == currency)
        }
        (A::List { of, .. }, C::Set | C::Lines) => {
            matches!(
                **of,
                A::Text { .. } | A::Choice { .. } | A::Reference { .. }
            )
        }
        (A::List { .. }, C::List) => true,
        _ => false,
    }
}

/// The arguments of a card, and those that a place has been found for.
struct Args<'a> {
    all: &'a BTreeMap<String, Arg>,
    placed: BTreeSet<&'a str>,
}

impl<'a> Args<'a> {
    fn place(&mut self, slots: impl IntoIterator<Item = (Slot, bool)>) -> Result<(), FileError> {
        for (slot, can_be_dropped) in slots {
            let Slot::Arg(name, part) = slot else {
                continue;
            };
            let Some((known, arg)) = self.all.get_key_value(&name) else {
                let known: Vec<&str> = self.all.keys().map(String::as_str).collect();
                return Err(fail(format!(
                    "{{args.{name}}} is no argument of the card; it has {}",
                    known.join(", ")
                )));
            };
            let money = matches!(arg.kind, ArgKind::Money { .. });
            if money == matches!(part, ArgPart::Whole | ArgPart::Html) {
                let why = if money {
                    format!(
                        "{{args.{name}}} is an amount: write {{args.{name}.value}}, .currency, {{args.{name} as minor}} or {{args.{name} as decimal}}"
                    )
                } else {
                    format!("{{args.{name}}} is no amount, so it has no part")
                };
                return Err(fail(why));
            }
            if arg.optional && !can_be_dropped {
                return Err(fail(format!(
                    "{{args.{name}}} is optional, and a path, a query or a header cannot do without it"
                )));
            }
            self.placed.insert(known.as_str());
        }
        Ok(())
    }

    fn look(&mut self, look: &Look) -> Result<(), FileError> {
        let inner = look
            .q
            .iter()
            .flat_map(super::slot::Template::slots)
            .chain(look.matching.slots());
        let inner: Vec<(Slot, bool)> = inner.map(|slot| (slot.clone(), false)).collect();
        self.place(look.exchange.slots().into_iter().chain(inner))
    }
}

fn field<'a>(object: &'a Object, name: &str, whose: &str) -> Result<&'a super::Field, FileError> {
    object.fields.get(name).ok_or_else(|| {
        let known: Vec<&str> = object.fields.keys().map(String::as_str).collect();
        fail(format!(
            "{whose}: the system file has no field `{name}`; it has {}",
            known.join(", ")
        ))
    })
}

/// Fields that the card writes, each by one argument.
fn written<'a>(card: &'a Card, object: &Object, args: &mut Args<'a>) -> Result<(), FileError> {
    for (name, arg) in &card.args {
        if card.verb.has_record() && card.identify.contains(name) {
            args.placed.insert(name);
            continue;
        }
        let found = field(object, &arg.field, &format!("args.{name}"))?;
        if !found.codec().writes() {
            return Err(fail(format!(
                "args.{name}: field `{}` is only read",
                arg.field
            )));
        }
        if !fits(&arg.kind, found.codec()) {
            let kind = arg.kind.name();
            return Err(fail(format!(
                "args.{name}: a {kind} of the card does not fit field `{}`: {:?}",
                arg.field,
                found.codec()
            )));
        }
        args.placed.insert(name);
    }
    Ok(())
}

fn check_seen(card: &Card, object: &Object) -> Result<(), FileError> {
    for (name, allowed) in &card.when {
        if let Codec::Choice(names) = field(object, name, "precondition.when")?.codec()
            && let Some(odd) = allowed
                .iter()
                .find(|value| !names.is_empty() && !names.contains_key(*value))
        {
            return Err(fail(format!(
                "precondition.when: `{odd}` is no value of `{name}`"
            )));
        }
    }
    let sight = card.sight.iter().flat_map(writ_proto::card::Sight::fields);
    let ceiling = match &card.caps.amount_per_record {
        Some(RecordCeiling::Field(field)) => Some(field.as_str()),
        _ => None,
    };
    for name in sight.chain(card.customer.as_deref()).chain(ceiling) {
        field(object, name, "read")?;
    }
    Ok(())
}

/// A system takes a bare number as one of its own currency: that of each amount is sent, or compared with the record's.
fn check_currencies(card: &Card, verb: &Verb) -> Result<(), FileError> {
    let money = card.args.iter();
    let money = money.filter(|(_, arg)| matches!(arg.kind, ArgKind::Money { .. }));
    for (name, _) in money {
        let is_currency =
            |slot: &Slot| matches!(slot, Slot::Arg(own, ArgPart::Currency) if own == name);
        let sent = verb.steps.iter().flat_map(|step| step.exchange.slots());
        let checks = |ceiling: &Ceiling| ceiling.arg == *name && ceiling.currency.is_some();
        let mut ceilings = verb.prepare.iter().filter_map(|one| one.ceiling.as_ref());
        let is_field = card.verb.names_fields();
        if !is_field
            && !ceilings.any(checks)
            && !sent.into_iter().any(|(slot, _)| is_currency(&slot))
        {
            return Err(fail(format!(
                "nothing sends or compares the currency of `{name}`: place {{args.{name}.currency}}, or give its ceiling a `currency`"
            )));
        }
    }
    Ok(())
}

fn check_verb<'a>(
    card: &'a Card,
    object: &Object,
    verb: &Verb,
    args: &mut Args<'a>,
) -> Result<(), FileError> {
    if card.tier == Tier::Reversible && verb.undo == UndoBy::None {
        return Err(fail(format!(
            "the system file says undo = \"none\", so card `{}` cannot say tier = \"reversible\": write \"compensable\" or \"irreversible\"",
            card.name
        )));
    }
    if card.verb.names_fields() {
        written(card, object, args)?;
    }
    for (at, prepare) in verb.prepare.iter().enumerate() {
        let place = args.place(prepare.exchange.slots());
        place.map_err(|error| error.within(&format!("prepare.{at}")))?;
        let Some(ceiling) = &prepare.ceiling else {
            continue;
        };
        let name = &ceiling.arg;
        let Some(arg) = card.args.get(name) else {
            let why = format!("prepare.{at}: ceiling of `{name}`, which is no argument");
            return Err(fail(why));
        };
        if arg.optional {
            let why = format!("prepare.{at}: `{name}` has a ceiling, so it cannot be optional");
            return Err(fail(why));
        }
        // An amount of another currency is another amount.
        if matches!(arg.kind, ArgKind::Money { .. }) && ceiling.currency.is_none() {
            let why = format!("prepare.{at}: `{name}` is money, so its ceiling says `currency`");
            return Err(fail(why));
        }
    }
    let holds_fields = verb.steps.iter().any(|step| {
        let mut slots = step.exchange.slots().into_iter();
        slots.any(|(slot, _)| slot == Slot::Fields)
    });
    if card.verb.names_fields() && !verb.steps.is_empty() && !holds_fields {
        // Each by its own place then.
        args.placed
            .retain(|name| card.identify.iter().any(|own| own == name));
    }
    for (at, step) in verb.steps.iter().enumerate() {
        let place = args.place(step.exchange.slots());
        place.map_err(|error| error.within(&format!("step.{at}")))?;
    }
    check_currencies(card, verb)?;
    if let Settle::Find(looks) = &verb.settle {
        // What a look-up names must be there, but it is no place that carries anything.
        let mut named = Args {
            all: args.all,
            placed: BTreeSet::new(),
        };
        looks
            .iter()
            .try_for_each(|look| named.look(look))
            .map_err(|error| error.within("settle"))?;
    }
    Ok(())
}

impl Bound {
    /// What the file leaves to chance: verbs that cannot be undone, guarded or told of after a lost answer.
    #[must_use]
    pub fn choices_of_none(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (object, one) in &self.objects {
            for (name, verb) in &one.verbs {
                let mut say = |what: &str| found.push(format!("{object}.{name}: {what}"));
                if verb.undo == UndoBy::None {
                    say("undo = \"none\": Writ cannot take back what this does");
                }
                if verb.once == Once::None && !verb.guard.is_native() {
                    say("once = \"none\" without a guard: a repeated call would count twice");
                }
                if verb.guard == Guard::Compare {
                    say("guard = \"compare\": an edit within the write is replaced unseen");
                } else if verb.compares() {
                    say(
                        "a guard by date: an edit within the write's own second is replaced unseen",
                    );
                }
                if matches!(verb.settle, Settle::None) {
                    say("settle = \"none\": a person looks after each lost answer");
                }
            }
        }
        found
    }

    /// Whether a card can be performed by this file, from argument to byte.
    ///
    /// # Errors
    /// What does not fit, with the place in the file.
    pub fn fits(&self, card: &Card) -> Result<(), FileError> {
        let target = card.target.as_str();
        let object = self.objects.get(target).ok_or_else(|| {
            let known: Vec<&str> = self.objects.keys().map(String::as_str).collect();
            fail(format!(
                "the system file has no object `{target}`; it has {}",
                known.join(", ")
            ))
        })?;
        let within = |error: FileError| error.within(target).within("object");
        if card.verb.has_record() && object.read.is_none() && object.table.is_none() {
            return Err(within(fail(
                "it has no `read`, so its records cannot be seen",
            )));
        }
        check_seen(card, object).map_err(within)?;
        let mut args = Args {
            all: &card.args,
            placed: BTreeSet::new(),
        };
        let signals = if card.verb.reads() {
            card.args.keys().collect()
        } else {
            Vec::from_iter(&card.identify)
        };
        for signal in signals {
            let look = object.find.get(signal).ok_or_else(|| {
                within(fail(format!(
                    "it has no find.{signal}, which the card looks for"
                )))
            })?;
            args.look(look)
                .map_err(|error| within(error.within(signal).within("find")))?;
        }
        if !card.verb.reads() {
            let name = card.verb.name();
            let verb = object.verbs.get(name).ok_or_else(|| {
                let known: Vec<&str> = object.verbs.keys().map(String::as_str).collect();
                within(fail(format!(
                    "it has no verb `{name}`; it has {}",
                    known.join(", ")
                )))
            })?;
            check_verb(card, object, verb, &mut args)
                .map_err(|error| within(error.within(name).within("verb")))?;
        }
        match card
            .args
            .keys()
            .find(|name| !args.placed.contains(name.as_str()))
        {
            Some(name) => Err(within(fail(format!("nothing sends args.{name}")))),
            None => Ok(()),
        }
    }
}
