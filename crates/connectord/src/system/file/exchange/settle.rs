//! How a doubt is settled, and how records are found: look-ups whose hits must carry what was looked
//! for.

use std::collections::BTreeMap;

use toml::Value as Toml;

use crate::system::file::allowed::{Allowed, Place, check, check_slots};
use crate::system::file::exchange::look::{More, Values};
use crate::system::file::field::pointer;
use crate::system::file::raw::{RawExchange, RawFind};
use crate::system::file::slot::{Slot, Template};
use crate::system::file::verb::STEPS_MAX;
use crate::system::file::{Encoding, Exchange, FileError, Look, Matches, Object};

/// How it is told, after a lost answer, whether the write has happened.
#[derive(Debug, Clone)]
pub enum Settle {
    /// By the record itself. What a person may have written is a doubt, unless members of the
    /// record name this call.
    AfterImage(Matches),
    /// By look-ups, all of which must find something; what the first finds was created.
    Find(Vec<Look>),
    /// By the row that carries the key of the call.
    Key,
    /// Not at all: a person looks.
    None,
}

impl Settle {
    /// The name in files.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AfterImage(_) => "after_image",
            Self::Find(_) => "find",
            Self::Key => "key",
            Self::None => "none",
        }
    }
}

/// What may be chosen, for people.
pub(crate) const SETTLES: &str = "settle = \"after_image\", { after_image = { \"/changed_by\" = \"{decision.key}\" } }, \
    { find = \"GET ..\", items = .., match = .. }, a list of such finds, or \"none\"";

/// The choice of a verb.
pub(crate) fn settle(raw: &Toml, object: &Object, encoding: Encoding) -> Result<Settle, FileError> {
    match raw {
        Toml::String(word) if word == "after_image" => Ok(Settle::AfterImage(Matches::default())),
        Toml::String(word) if word == "none" => Ok(Settle::None),
        Toml::String(word) if word == "key" && object.table.is_some() => Ok(Settle::Key),
        Toml::Table(table) if table.len() == 1 && table.contains_key("after_image") => {
            let members: BTreeMap<String, String> = table
                .get("after_image")
                .cloned()
                .and_then(|members| members.try_into().ok())
                .ok_or_else(|| FileError::new(SETTLES))?;
            let matches = Matches::compile(&members, true)?;
            check(matches.slots(), &Allowed::of_write(object))?;
            Ok(Settle::AfterImage(matches))
        }
        Toml::Table(_) => Ok(Settle::Find(vec![look_up(raw, object, encoding, 0)?])),
        Toml::Array(all) if (1..=STEPS_MAX).contains(&all.len()) => {
            let all = all
                .iter()
                .enumerate()
                .map(|(at, one)| look_up(one, object, encoding, at));
            all.collect::<Result<_, _>>().map(Settle::Find)
        }
        _ => Err(FileError::new(SETTLES)),
    }
}

/// One look-up that settles: its hits must carry what names this very call.
fn look_up(
    raw: &Toml,
    object: &Object,
    encoding: Encoding,
    earlier: usize,
) -> Result<Look, FileError> {
    let mut table = raw
        .as_table()
        .cloned()
        .ok_or_else(|| FileError::new(SETTLES))?;
    let request = table
        .remove("find")
        .ok_or_else(|| FileError::new(SETTLES))?;
    table.insert("request".to_owned(), request);
    let raw: RawFind = Toml::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| FileError::new(error.message()))?;
    let allowed = Allowed::of_write(object).after(0, earlier);
    let look = look(&raw, encoding, &allowed)?;
    let names_call = |slot: &Slot| matches!(slot, Slot::Key | Slot::Step(..));
    if !look.matching.slots().any(names_call) {
        let why = "`match` says what of a hit names this very call, such as { \"/key\" = \"{decision.key}\" }: a filter may be ignored";
        return Err(FileError::new(why));
    }
    Ok(look)
}

fn look(raw: &RawFind, encoding: Encoding, allowed: &Allowed) -> Result<Look, FileError> {
    let by_post = raw.request.starts_with("POST ") && encoding != Encoding::Graphql;
    let exchange = RawExchange {
        request: raw.request.clone(),
        headers: raw.headers.clone(),
        body: raw.body.clone(),
        document: raw.document.clone(),
        variables: raw.variables.clone(),
        reads: by_post.then_some(true),
        ..RawExchange::default()
    };
    let exchange = Exchange::compile(&exchange, encoding, false)?;
    let q = raw.q.as_deref().map(Template::parse).transpose()?;
    let allowed = allowed.clone().and(Place::Query, q.is_some());
    check_slots(&exchange, &allowed)?;
    check(q.iter().flat_map(Template::slots), &allowed)?;
    let matching = Matches::compile(&raw.matching, false)?;
    check(matching.slots(), &allowed)?;
    if matching.is_empty() {
        return Err(FileError::new(
            "`match` says what a hit must carry: a filter may be ignored",
        ));
    }
    let values = |raw: &BTreeMap<String, Vec<String>>| -> Result<Values, FileError> {
        let each = raw.iter();
        each.map(|(at, values)| Ok((pointer(at)?, values.clone())))
            .collect()
    };
    Ok(Look {
        exchange,
        q,
        items: pointer(&raw.items)?,
        matching,
        without: values(&raw.without)?,
        counts: values(&raw.counts)?,
        id: raw.id.as_deref().map(pointer).transpose()?,
        more: More::compile(raw.more.as_deref())?,
    })
}

/// A find by a signal.
pub(crate) fn find(raw: &RawFind, encoding: Encoding) -> Result<Look, FileError> {
    if raw.id.is_none() {
        return Err(FileError::new("id says where a hit has its id"));
    }
    if !raw.counts.is_empty() {
        return Err(FileError::new("`counts` is for look-ups that settle"));
    }
    look(raw, encoding, &Allowed::default().and(Place::Args, true))
}
