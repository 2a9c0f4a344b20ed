//! Texts of a record that support what agents ask for: the comments of a ticket, the body of a mail. Only what others wrote is one.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value as Json;

use crate::system::file::allowed::{Allowed, check_slots};
use crate::system::file::field::pointer;
use crate::system::file::raw::{RawExchange, RawObject, RawText};
use crate::system::file::slot::{Scope, Slot};
use crate::system::file::{Driver, Encoding, Exchange, FileError, Matches};

/// Most parts of a text that are looked through.
const PARTS_MAX: usize = 500;

/// One text.
#[derive(Debug, Clone)]
pub struct Text {
    /// The request.
    pub exchange: Exchange,
    /// The list in the answer, and what each part of it must carry; none where the answer holds one text.
    items: Option<(String, Matches)>,
    at: String,
    /// Where the answer says that it is a part.
    more: Option<String>,
}

/// What is asked of parts is the same for every record.
struct Nothing;

impl Scope for Nothing {
    fn get(&self, _: &Slot) -> Option<Json> {
        None
    }
}

impl Text {
    pub(in crate::system::file) fn compile(
        raw: &RawText,
        id: &Regex,
        encoding: Encoding,
    ) -> Result<Self, FileError> {
        let exchange = RawExchange {
            request: raw.request.clone(),
            headers: raw.headers.clone(),
            body: raw.body.clone(),
            document: raw.document.clone(),
            variables: raw.variables.clone(),
            reads: raw.reads,
            ..RawExchange::default()
        };
        let exchange = Exchange::compile(&exchange, encoding, false)?;
        check_slots(&exchange, &Allowed::of_read(id))?;
        let matching = Matches::compile(&raw.matching, true)?;
        if matching.slots().next().is_some() {
            return Err(FileError::new("it is the same for every record").within("match"));
        }
        let items = match (&raw.items, matching.is_empty()) {
            (Some(_), true) => {
                let why = "`match` says which of the items others wrote, such as { \"/public\" = \"true\" }: what an agent may add proves nothing";
                return Err(FileError::new(why).within("items"));
            }
            (Some(items), false) => Some((pointer(items)?, matching)),
            (None, false) => return Err(FileError::new("it is for `items`").within("match")),
            (None, true) => None,
        };
        Ok(Self {
            exchange,
            items,
            at: pointer(&raw.at)?,
            more: raw.more.as_deref().map(pointer).transpose()?,
        })
    }

    /// Where it stands, if it is one value.
    #[must_use]
    pub fn at(&self) -> Option<&str> {
        self.items.is_none().then_some(self.at.as_str())
    }

    /// The parts of the text in an answer, in their order, and whether there are more.
    ///
    /// # Errors
    /// When the answer does not hold what the file says.
    pub fn read(&self, answer: &Json) -> Result<(Vec<String>, bool), String> {
        let more = self.more.as_deref().and_then(|at| answer.pointer(at));
        let more = more.is_some_and(|more| !matches!(more, Json::Null | Json::Bool(false)));
        let Some((items, matching)) = &self.items else {
            let text = answer.pointer(&self.at).and_then(Json::as_str);
            let text = text.ok_or_else(|| format!("the answer holds no text at {}", self.at))?;
            return Ok((vec![text.to_owned()], more));
        };
        let list = answer.pointer(items).and_then(Json::as_array);
        let list = list.ok_or_else(|| format!("the answer holds no list at `{items}`"))?;
        let own: Vec<&Json> = (list.iter())
            .filter(|item| matching.hold(item, &Nothing))
            .collect();
        let more = more || own.len() > PARTS_MAX;
        let texts = own.into_iter().take(PARTS_MAX).map(|item| {
            let text = item.pointer(&self.at).and_then(Json::as_str);
            text.map(str::to_owned)
                .ok_or_else(|| format!("an item holds no text at {}", self.at))
        });
        Ok((texts.collect::<Result<_, _>>()?, more))
    }
}

/// The texts of an object.
pub(in crate::system::file) fn declared(
    raw: &RawObject,
    id: &Regex,
    driver: Driver,
    encoding: Encoding,
) -> Result<BTreeMap<String, Text>, FileError> {
    if driver == Driver::Postgres && !raw.text.is_empty() {
        return Err(FileError::new("the texts of a row are its fields").within("text"));
    }
    let each = raw.text.iter().map(|(name, text)| {
        let within = |error: FileError| error.within(name).within("text");
        if raw.field.contains_key(name) {
            return Err(within(FileError::new("there is a field of that name")));
        }
        let text = Text::compile(text, id, encoding).map_err(within)?;
        Ok((name.clone(), text))
    });
    each.collect()
}

#[cfg(test)]
mod tests;
