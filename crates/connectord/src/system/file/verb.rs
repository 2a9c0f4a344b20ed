//! How a verb is performed: its guard, its key, its steps, and how a doubt is settled. Each of these
//! is a closed choice without a default: whoever writes a file says it aloud.

use std::collections::BTreeSet;

use toml::Value as Toml;
use writ_proto::money::minor_digits;

use super::allowed::{Allowed, Place, check_slots};
use super::exchange::header_name;
use super::field::pointer;
use super::raw::{RawAmong, RawCeiling, RawExchange, RawVerb};
use super::slot::Slot;
use super::table::identifier;
use super::{Encoding, Exchange, FileError, Object, Settle};
use crate::system::file::exchange::settle::{SETTLES, settle};

/// Most steps, prepare steps or look-ups of one verb.
pub(super) const STEPS_MAX: usize = 4;

/// What keeps a write from replacing what somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The version goes into this header of the last step.
    Header(String),
    /// The version goes into the body of the last step, at this pointer.
    Body(String),
    /// The steps carry `{version}` themselves.
    Directive,
    /// The system has no versions: the record is read again right before the write.
    Compare,
    /// The write adds something of its own, so its order does not matter.
    Commutative,
    /// The row version of PostgreSQL.
    Xmin,
}

impl Guard {
    /// Whether the system itself refuses a write against an old version.
    #[must_use]
    pub const fn is_native(&self) -> bool {
        !matches!(self, Self::Compare | Self::Commutative)
    }

    /// The name in files.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Body(_) => "body",
            Self::Directive => "directive",
            Self::Compare => "compare",
            Self::Commutative => "commutative",
            Self::Xmin => "xmin",
        }
    }
}

/// How the system recognises a call that it has seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// By the key of the call in this header.
    Header(String),
    /// By the key that the steps carry themselves.
    Carried,
    /// By the key of the call in this column, quoted, which is unique.
    Column(String),
    /// It does not.
    None,
}

impl Once {
    /// The name in files.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Carried => "carried",
            Self::Column(_) => "column",
            Self::None => "none",
        }
    }
}

/// How the verb is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoBy {
    /// The same steps with the earlier values.
    Restore,
    /// Not by Writ.
    None,
}

impl UndoBy {
    /// The name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::None => "none",
        }
    }
}

/// A read before the write, which a dry run makes too.
#[derive(Debug, Clone)]
pub struct Prepare {
    /// The request.
    pub exchange: Exchange,
    /// What an amount may not exceed.
    pub ceiling: Option<Ceiling>,
    /// What the new value of a field must be one of.
    pub among: Option<Among>,
    /// What must stand right before the write as it stood at the first look.
    pub unchanged: Vec<String>,
}

impl Prepare {
    /// Whether the write is held to what this read shows.
    #[must_use]
    pub const fn holds(&self) -> bool {
        !self.unchanged.is_empty() || self.ceiling.is_some() || self.among.is_some()
    }
}

/// How numbers of a ceiling are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Whole minor units.
    Minor,
    /// The units that people write.
    Major,
}

/// An amount of the call against one of the record: `arg <= at - less`.
#[derive(Debug, Clone)]
pub struct Ceiling {
    /// The argument.
    pub arg: String,
    /// The most there is.
    pub at: String,
    /// What is gone of it already.
    pub less: Option<String>,
    /// How they are written.
    pub unit: Unit,
    /// In which currency; none where the amount is no money.
    pub currency: Option<Currency>,
    /// Currencies whose minor units are others in this system: no amount of them is sent.
    pub except: Vec<String>,
}

/// Where the currency of a record is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Currency {
    /// In the answer.
    At(String),
    /// Here, for all records.
    Always(String),
}

/// The values that a system knows of a field now.
#[derive(Debug, Clone)]
pub struct Among {
    /// The field.
    pub field: String,
    /// Where they stand: a pointer in which `*` is every item of a list.
    pub at: String,
}

/// One call that may change something.
#[derive(Debug, Clone)]
pub struct Step {
    /// The request.
    pub exchange: Exchange,
    /// Whether it carries the guard of the verb.
    pub guarded: bool,
}

/// How a verb is performed.
#[derive(Debug, Clone)]
pub struct Verb {
    /// What keeps it from replacing what somebody else wrote.
    pub guard: Guard,
    /// How a repeated call is recognised.
    pub once: Once,
    /// How it is undone.
    pub undo: UndoBy,
    /// How a doubt is settled.
    pub settle: Settle,
    /// Reads before it.
    pub prepare: Vec<Prepare>,
    /// Its calls, in order; only the last may change the target.
    pub steps: Vec<Step>,
    /// Scopes of a credential that may do it, beside those that read the object.
    pub scopes: BTreeSet<String>,
    /// Hash of what it sends, proves and guards.
    pub digest: [u8; 32],
}

fn words<'a>(raw: Option<&'a Toml>, key: &str, choices: &str) -> Result<&'a Toml, FileError> {
    raw.ok_or_else(|| FileError::new(format!("say it aloud: {choices}")).within(key))
}

/// The one member of a table, as text; nothing where it has another one beside it, but for `and`.
fn member<'a>(value: &'a Toml, name: &str, and: &[&str]) -> Option<&'a str> {
    let table = value.as_table()?;
    let known = |key: &String| key == name || and.contains(&key.as_str());
    table
        .get(name)?
        .as_str()
        .filter(|_| table.keys().all(known))
}

const GUARDS: &str = "guard = { header = \"If-Match\" }, { body = \"/pointer\" }, \"directive\", \"compare\" or \"commutative\"";

fn guard(raw: &Toml) -> Result<Guard, FileError> {
    if let Some(name) = member(raw, "header", &[]).or_else(|| raw.as_str()?.strip_prefix("header:"))
    {
        return header_name(name).map(Guard::Header);
    }
    if let Some(at) = member(raw, "body", &[]) {
        return pointer(at).map(Guard::Body);
    }
    match raw.as_str() {
        Some("directive") => Ok(Guard::Directive),
        Some("compare") => Ok(Guard::Compare),
        Some("commutative") => Ok(Guard::Commutative),
        Some("xmin") => Ok(Guard::Xmin),
        _ => Err(FileError::new(GUARDS)),
    }
}

const ONCES: &str = "once = { header = \"Idempotency-Key\", keeps = \"24h\" }, \"carried\" (the steps hold {decision.key}), \"none\", or of a table { column = \"writ_key\" }";

fn once(raw: &Toml) -> Result<Once, FileError> {
    if let Some(name) = member(raw, "header", &["keeps"]) {
        return header_name(name).map(Once::Header);
    }
    if let Some(name) = member(raw, "column", &[]) {
        return identifier(name).map(Once::Column);
    }
    match raw.as_str() {
        Some("carried") => Ok(Once::Carried),
        Some("none") => Ok(Once::None),
        _ => Err(FileError::new(ONCES)),
    }
}

fn currency_flaw() -> FileError {
    FileError::new("currency = \"/pointer\" to where the record says it, or a code such as \"EUR\"")
        .within("ceiling")
}

fn ceiling(raw: &RawCeiling) -> Result<Ceiling, FileError> {
    let unit = match raw.unit.as_str() {
        "minor" => Unit::Minor,
        "decimal" => Unit::Major,
        _ => return Err(FileError::new("as = \"minor\" or \"decimal\"").within("ceiling")),
    };
    let currency = match raw.currency.as_deref() {
        Some(code) if minor_digits(code).is_some() => Some(Currency::Always(code.to_owned())),
        Some(at) => Some(Currency::At(pointer(at).map_err(|_| currency_flaw())?)),
        None if unit == Unit::Minor => return Err(currency_flaw()),
        None => None,
    };
    Ok(Ceiling {
        arg: raw.arg.clone(),
        at: pointer(&raw.at)?,
        less: raw.less.as_deref().map(pointer).transpose()?,
        unit,
        currency,
        except: raw.except.clone(),
    })
}

impl Verb {
    pub(super) fn compile(
        name: &str,
        raw: &RawVerb,
        object: &Object,
        encoding: Encoding,
    ) -> Result<Self, FileError> {
        let of = writ_proto::card::Verb::from_name(name).filter(|verb| !verb.reads());
        let of = of.ok_or_else(|| FileError::new("there is no such verb"))?;
        let guard = guard(words(raw.guard.as_ref(), "guard", GUARDS)?)
            .map_err(|error| error.within("guard"))?;
        let once =
            once(words(raw.once.as_ref(), "once", ONCES)?).map_err(|error| error.within("once"))?;
        let undo = match words(raw.undo.as_ref(), "undo", "undo = \"restore\" or \"none\"")?
            .as_str()
        {
            Some("restore") if of.sets_fields() => UndoBy::Restore,
            Some("restore") => {
                return Err(FileError::new("only what sets fields can be restored").within("undo"));
            }
            Some("none") => UndoBy::None,
            _ => return Err(FileError::new("undo = \"restore\" or \"none\"").within("undo")),
        };
        let settle = settle(
            words(raw.settle.as_ref(), "settle", SETTLES)?,
            object,
            encoding,
        )
        .map_err(|error| error.within("settle"))?;
        let allowed = Allowed::of_write(object);
        let mut prepare = Vec::new();
        for (at, one) in raw.prepare.iter().enumerate() {
            let allowed = allowed.clone().after(at, 0);
            prepare.push(
                prepared(one, object, encoding, &allowed)
                    .map_err(|error| error.within(&format!("prepare.{at}")))?,
            );
        }
        let mut steps = Vec::new();
        let last = raw.step.len().saturating_sub(1);
        for (at, one) in raw.step.iter().enumerate() {
            let allowed = allowed.clone().after(prepare.len(), at);
            let allowed = allowed.and(Place::Fields, of.names_fields());
            steps.push(
                step(one, encoding, &allowed, at == last)
                    .map_err(|error| error.within(&format!("step.{at}")))?,
            );
        }
        let verb = Self {
            guard,
            once,
            undo,
            settle,
            prepare,
            steps,
            scopes: raw.scopes.iter().cloned().collect(),
            digest: [0; 32],
        };
        verb.check(of, object)?;
        Ok(verb)
    }

    /// Whether the record is compared right before the write: where the system refuses no old version,
    /// and where a version that it refuses by has only seconds.
    #[must_use]
    pub fn compares(&self) -> bool {
        let by_date = |name: &String| name.eq_ignore_ascii_case("If-Unmodified-Since");
        match &self.guard {
            Guard::Compare => true,
            Guard::Header(name) => by_date(name),
            Guard::Directive => self.slots().any(|slot| slot == Slot::VersionDate),
            Guard::Body(_) | Guard::Commutative | Guard::Xmin => false,
        }
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        self.steps
            .iter()
            .flat_map(|step| step.exchange.slots())
            .map(|(slot, _)| slot)
    }

    fn prepares_by_args(&self) -> bool {
        let by_args = |one: &Prepare| {
            let mut slots = one.exchange.slots().into_iter();
            one.ceiling.is_some() || slots.any(|(slot, _)| matches!(slot, Slot::Arg(..)))
        };
        self.prepare.iter().any(by_args)
    }

    /// What is made anew, and only that and what is added, has no order with what others do.
    fn check_order(&self, of: writ_proto::card::Verb) -> Result<(), FileError> {
        let is_free = self.guard == Guard::Commutative;
        let why = match (of.sets_fields(), of.makes_record()) {
            (true, _) if is_free => {
                "a verb that sets fields replaces what others wrote: it is not commutative"
            }
            (_, true) if !is_free => "what is made anew has nothing to guard: \"commutative\"",
            _ => return Ok(()),
        };
        Err(FileError::new(why).within("guard"))
    }

    fn check(&self, of: writ_proto::card::Verb, object: &Object) -> Result<(), FileError> {
        let refuse = |key: &str, why: &str| Err(FileError::new(why).within(key));
        if let Some(table) = &object.table {
            return self.check_table(of, table);
        }
        if of == writ_proto::card::Verb::InsertStaging || matches!(self.once, Once::Column(_)) {
            return refuse(
                "once",
                "rows are inserted into tables of PostgreSQL; elsewhere it is create_draft",
            );
        }
        if self.guard == Guard::Xmin {
            return refuse("guard", GUARDS);
        }
        if !(1..=STEPS_MAX).contains(&self.steps.len()) || self.prepare.len() > STEPS_MAX {
            return refuse(
                "step",
                "a verb has 1 to 4 steps, and at most 4 prepare steps",
            );
        }
        let proves = self.steps.iter().all(|step| step.exchange.proves());
        if !proves {
            return refuse(
                "step",
                "every step says what of its answer proves it: expect = \"/id\" or created = \"/id\"",
            );
        }
        if self.guard.is_native() && object.version.is_none() {
            return refuse(
                "guard",
                "the object's read names no `version` to guard with; use \"compare\"",
            );
        }
        let versions = |slot: &Slot| matches!(slot, Slot::Version | Slot::VersionDate);
        if self.guard == Guard::Directive && !self.slots().any(|slot| versions(&slot)) {
            return refuse("guard", "\"directive\" means that a step holds {version}");
        }
        self.check_order(of)?;
        if self.once == Once::Carried && !self.slots().any(|slot| slot == Slot::Key) {
            return refuse("once", "\"carried\" means that a step holds {decision.key}");
        }
        if matches!(self.settle, Settle::AfterImage(_)) && !of.sets_fields() {
            return refuse(
                "settle",
                "the target does not show what was added beside it: use { find = .. } or \"none\"",
            );
        }
        let by_args = self.slots().any(|slot| matches!(slot, Slot::Arg(..)));
        if self.undo == UndoBy::Restore && (by_args || self.prepares_by_args()) {
            return refuse(
                "undo",
                "a step, a prepare or its ceiling holds {args..}, which an undo does not have: use {fields}, or undo = \"none\"",
            );
        }
        if of.names_fields() && !self.slots().any(|slot| slot == Slot::Fields) && !by_args {
            return refuse("step", "no step holds {fields}");
        }
        Ok(())
    }
}

fn among(raw: &RawAmong, object: &Object) -> Result<Among, FileError> {
    if !object.fields.contains_key(&raw.field) {
        let why = format!("there is no field `{}`", raw.field);
        return Err(FileError::new(why).within("among"));
    }
    Ok(Among {
        field: raw.field.clone(),
        at: pointer(&raw.at)?,
    })
}

fn prepared(
    raw: &RawExchange,
    object: &Object,
    encoding: Encoding,
    allowed: &Allowed,
) -> Result<Prepare, FileError> {
    raw.only(&["reads", "ceiling", "among", "unchanged"])?;
    let exchange = Exchange::compile(raw, encoding, false)?;
    check_slots(&exchange, allowed)?;
    let among = raw
        .among
        .as_ref()
        .map(|raw| among(raw, object))
        .transpose()?;
    Ok(Prepare {
        exchange,
        ceiling: raw.ceiling.as_ref().map(ceiling).transpose()?,
        among,
        unchanged: raw
            .unchanged
            .iter()
            .map(|at| pointer(at))
            .collect::<Result<_, _>>()?,
    })
}

fn step(
    raw: &RawExchange,
    encoding: Encoding,
    allowed: &Allowed,
    last: bool,
) -> Result<Step, FileError> {
    raw.only(&["expect", "created", "version", "guard"])?;
    let guarded = match raw.guard.as_ref().and_then(Toml::as_str) {
        None if raw.guard.is_none() => last,
        Some("none") => false,
        Some("same") => true,
        _ => {
            return Err(
                FileError::new("guard = \"same\" or \"none\" of the verb's guard").within("guard"),
            );
        }
    };
    let exchange = Exchange::compile(raw, encoding, true)?;
    check_slots(&exchange, allowed)?;
    Ok(Step { exchange, guarded })
}
