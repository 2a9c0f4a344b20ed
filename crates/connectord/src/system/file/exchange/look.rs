//! Look-ups of records by something they carry: finds by a signal, and what settles a doubt. Each
//! hit must itself carry what was looked for, because a filter may have been ignored.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::system::file::exchange::answered;
use crate::system::file::field::pointer;
use crate::system::file::slot::{Scope, Slot, Template};
use crate::system::file::{Exchange, FileError};

/// What a member of a hit must be.
#[derive(Debug, Clone)]
struct Match {
    at: String,
    wanted: Template,
    /// Whether more may stand before and after it.
    open: (bool, bool),
}

/// All members that a hit must have.
#[derive(Debug, Clone, Default)]
pub struct Matches(Vec<Match>);

fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

impl Matches {
    /// A member that is the same for every call, such as the author, tells whose a record is and
    /// not which call it came from: only a look at the target itself may name one.
    pub(crate) fn compile(
        raw: &BTreeMap<String, String>,
        of_target: bool,
    ) -> Result<Self, FileError> {
        let mut all = Vec::new();
        for (at, wanted) in raw {
            let begins = wanted.strip_prefix('*');
            let rest = begins.unwrap_or(wanted);
            let ends = rest.strip_suffix('*');
            let template = Template::parse(ends.unwrap_or(rest))?;
            if template.slots().count() == 0 && !of_target {
                return Err(FileError::new(format!(
                    "match {at}: it names nothing of this call"
                )));
            }
            all.push(Match {
                at: pointer(at)?,
                wanted: template,
                open: (begins.is_some(), ends.is_some()),
            });
        }
        Ok(Self(all))
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().flat_map(|one| one.wanted.slots())
    }

    /// Whether nothing must be carried.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a hit, or a record, carries all of them.
    pub fn hold(&self, item: &Json, scope: &impl Scope) -> bool {
        self.0.iter().all(|one| {
            let wanted = one.wanted.plain(scope).filter(|wanted| !wanted.is_empty());
            let found = item.pointer(&one.at).and_then(text);
            wanted
                .zip(found)
                .is_some_and(|(wanted, found)| match one.open {
                    (false, false) => found == wanted,
                    (true, false) => found.ends_with(&wanted),
                    (false, true) => found.starts_with(&wanted),
                    (true, true) => found.contains(&wanted),
                })
        })
    }
}

/// How a search says that it has more than it shows.
#[derive(Debug, Clone)]
pub(crate) enum More {
    /// Something stands here.
    At(String),
    /// It always shows all.
    Never,
    /// The file does not say.
    Unsaid,
}

impl More {
    pub(crate) fn compile(raw: Option<&str>) -> Result<Self, FileError> {
        Ok(match raw {
            None => Self::Unsaid,
            Some("never") => Self::Never,
            Some(at) => Self::At(pointer(at)?),
        })
    }
}

/// Members of a hit, each with some of its values.
pub(crate) type Values = Vec<(String, Vec<String>)>;

/// One search.
#[derive(Debug, Clone)]
pub struct Look {
    /// The request.
    pub exchange: Exchange,
    /// `{q}` of it.
    pub(crate) q: Option<Template>,
    /// The list in the answer.
    pub(crate) items: String,
    pub(crate) matching: Matches,
    /// Members whose values tell that a hit came to nothing.
    pub(crate) without: Values,
    /// Members whose values tell that a hit counts; any other leaves a doubt.
    pub(crate) counts: Values,
    /// The id in an item.
    pub(crate) id: Option<String>,
    /// Whether the answer may be a part.
    pub(crate) more: More,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Ids of the hits that carry what was looked for; empty texts where the file names no id.
    pub ids: Vec<String>,
    /// Whether the system has more than it showed.
    pub more: bool,
    /// Whether a hit was there that does not say that it counts.
    pub unsure: bool,
}

impl Look {
    /// The search text, if the file builds one apart.
    pub fn query(&self, scope: &impl Scope) -> Option<String> {
        self.q.as_ref()?.plain(scope)
    }

    /// Whether a hit came to nothing, such as a payment that failed.
    fn is_void(&self, item: &Json) -> bool {
        self.without.iter().any(|(at, values)| {
            let found = item.pointer(at).and_then(text);
            found.is_some_and(|found| values.contains(&found))
        })
    }

    /// Whether a hit says that it counts, as far as the file asks.
    fn is_sure(&self, item: &Json) -> bool {
        self.counts.iter().all(|(at, values)| {
            let found = item.pointer(at).and_then(text);
            found.is_some_and(|found| values.contains(&found))
        })
    }

    /// What an earlier look-up was to show is there: what is wanted of a hit, or searched for, would be another thing
    /// without it.
    pub(crate) fn check_answered(&self, scope: &impl Scope) -> Result<(), String> {
        let wanted = self.matching.slots();
        answered(wanted.chain(self.q.iter().flat_map(Template::slots)), scope)
    }

    /// Reads the hits out of an answer.
    ///
    /// # Errors
    /// When there is no list, or a hit without an id.
    pub fn read(&self, answer: &Json, scope: &impl Scope) -> Result<Found, String> {
        let list = answer.pointer(&self.items).and_then(Json::as_array);
        let list = list.ok_or_else(|| format!("the search gave no list at `{}`", self.items))?;
        let hits: Vec<&Json> = list
            .iter()
            .filter(|item| self.matching.hold(item, scope))
            .collect();
        let more = match &self.more {
            More::At(at) => answer.pointer(at).is_some_and(|more| {
                !matches!(more, Json::Null | Json::Bool(false))
                    && *more != Json::String(String::new())
            }),
            More::Never => false,
            // What was not asked for stands there: the filter was not obeyed, and this may be a page.
            More::Unsaid => hits.len() < list.len(),
        };
        let hits = hits.into_iter().filter(|item| !self.is_void(item));
        let (sure, unsure): (Vec<&Json>, Vec<&Json>) = hits.partition(|item| self.is_sure(item));
        let unsure = !unsure.is_empty();
        let mut ids = Vec::new();
        for item in sure {
            ids.push(match &self.id {
                None => String::new(),
                Some(at) => match item.pointer(at) {
                    Some(Json::String(id)) if !id.is_empty() => id.clone(),
                    Some(Json::Number(id)) => id.to_string(),
                    _ => return Err(format!("a hit without an id at {at}")),
                },
            });
        }
        Ok(Found { ids, more, unsure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::system::file::Encoding;
    use crate::system::file::exchange::settle::find;
    use crate::system::file::raw::RawFind;

    struct Key;

    impl Scope for Key {
        fn get(&self, _: &Slot) -> Option<Json> {
            Some(json!("k-1"))
        }
    }

    #[test]
    fn a_hit_that_does_not_say_that_it_counts_leaves_the_doubt() {
        let raw = "request = \"GET /refunds\"\nitems = \"/data\"\nmatch = { \"/key\" = \"{args.key}\" }\n\
                   without = { \"/status\" = [\"failed\"] }\ncounts = { \"/status\" = [\"paid\"] }\nid = \"/id\"\nmore = \"never\"\n";
        let mut raw: RawFind = toml::from_str(raw).unwrap();
        let counts = std::mem::take(&mut raw.counts);
        let mut look = find(&raw, Encoding::Json).unwrap();
        look.counts = counts.into_iter().collect();
        for (status, ids, unsure) in [
            (json!("paid"), 1, false),
            (json!("failed"), 0, false),
            (json!("error"), 0, true),
            (json!(null), 0, true),
        ] {
            let data = json!([{"id": "1", "key": "k-1", "status": status}]);
            let found = look.read(&json!({ "data": data }), &Key).unwrap();
            assert_eq!((found.ids.len(), found.unsure), (ids, unsure), "{status}");
        }
    }

    #[test]
    fn a_hit_that_came_to_nothing_is_none() {
        let raw = "request = \"GET /refunds\"\nitems = \"/data\"\nmatch = { \"/key\" = \"{args.key}\" }\n\
                   without = { \"/status\" = [\"failed\"] }\nid = \"/id\"\nmore = \"never\"\n";
        let look = find(&toml::from_str(raw).unwrap(), Encoding::Json).unwrap();
        let data = json!([
            {"id": "1", "key": "k-1", "status": "failed"},
            {"id": "2", "key": "k-1", "status": "paid"},
            {"id": "3", "key": "k-2", "status": "paid"},
        ]);
        let found = look.read(&json!({ "data": data }), &Key).unwrap();
        assert_eq!(found.ids, ["2"]);
    }
}
