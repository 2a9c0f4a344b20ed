//! What a credential may do, as the system itself says it: names of OAuth scopes (RFC 6749 3.3), a role, or whatever the system
//! calls it.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::answer::Answer;
use super::header_name;
use crate::system::file::field::pointer;
use crate::system::file::raw::RawSystem;
use crate::system::file::{Bound, FileError};

/// Most names that an answer may give, and that a file may.
const SCOPES_MAX: usize = 500;
/// Longest name, in bytes.
const SCOPE_BYTES_MAX: usize = 200;

/// Where the answer to the probe names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopesAt {
    /// A header, with commas or spaces between the names.
    Header(String),
    /// A pointer in which `*` is every item of a list: a text, or each of many.
    Pointer(String),
}

/// Every value at a pointer in which `*` is every item of a list.
pub fn all<'a>(body: &'a Json, at: &str) -> Vec<&'a Json> {
    let mut found = vec![body];
    for part in at.split('/').skip(1) {
        let inner = |one: &'a Json| -> Vec<&'a Json> {
            match part {
                "*" => one.as_array().into_iter().flatten().collect(),
                part => one.pointer(&format!("/{part}")).into_iter().collect(),
            }
        };
        found = found.into_iter().flat_map(inner).collect();
    }
    found
}

fn names(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split([',', ' ']).map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned)
}

/// The same where each item must have what is looked for: of a list that is understood in part nobody knows the whole.
fn every<'a>(body: &'a Json, at: &str) -> Option<Vec<&'a Json>> {
    let mut found = vec![body];
    for part in at.split('/').skip(1) {
        let mut next = Vec::new();
        for one in found {
            match part {
                "*" => next.extend(one.as_array()?),
                part => next.push(one.pointer(&format!("/{part}"))?),
            }
        }
        found = next;
    }
    Some(found)
}

impl ScopesAt {
    /// Whether it is the place of one text, not of a list.
    #[must_use]
    pub fn is_one(&self) -> bool {
        matches!(self, Self::Pointer(at) if !at.contains('*'))
    }

    /// The names in an answer.
    ///
    /// # Errors
    /// What is there instead: where nothing is said, nobody knows what the credential may do.
    pub fn read(&self, answer: &Answer) -> Result<BTreeSet<String>, String> {
        let found: BTreeSet<String> = match self {
            Self::Header(name) => {
                let own = answer.headers.iter();
                let own = own.filter(|(known, _)| known.eq_ignore_ascii_case(name));
                own.flat_map(|(_, value)| names(value)).collect()
            }
            Self::Pointer(at) => {
                let values = answer.body.as_ref().and_then(|body| every(body, at));
                let texts = values.into_iter().flatten().map(Json::as_str);
                let texts: Option<Vec<&str>> = texts.collect();
                let texts = texts.ok_or_else(|| format!("what stands at {at} is no text"))?;
                texts.into_iter().flat_map(names).collect()
            }
        };
        let long = found.iter().any(|name| name.len() > SCOPE_BYTES_MAX);
        if found.is_empty() || found.len() > SCOPES_MAX || long {
            let place = match self {
                Self::Header(name) => format!("in the header {name}"),
                Self::Pointer(at) => format!("at {at}"),
            };
            let why = format!("the answer to the probe names no scopes {place} that can be read");
            return Err(why);
        }
        Ok(found)
    }
}

/// Where the probe of a file has them. A file that names scopes of its objects or verbs must say where a credential shows its own, and
/// the other way about.
pub(in crate::system::file) fn declared(raw: &RawSystem) -> Result<Option<ScopesAt>, FileError> {
    let at = raw.probe.as_ref().and_then(|probe| probe.scopes.as_deref());
    let objects = raw.object.values();
    let own = objects.flat_map(|object| {
        let verbs = object.verb.values().flat_map(|verb| &verb.scopes);
        object.scopes.iter().chain(verbs)
    });
    let own: Vec<&String> = own.collect();
    let plain = |name: &&String| names(name).eq([(*name).clone()]);
    if own.len() > SCOPES_MAX || !own.iter().all(plain) {
        let why = "scopes = [\"NAME\"]: names as the system gives them, without spaces and commas";
        return Err(FileError::new(why).within("object"));
    }
    match (at, own.is_empty()) {
        (None, true) => Ok(None),
        (Some(_), true) => {
            let why = "objects and verbs say which of them they need: scopes = [\"..\"]";
            Err(FileError::new(why).within("scopes").within("probe"))
        }
        (None, false) => {
            let why = "scopes = \"/pointer\" or \"header:NAME\": where the answer to the probe says which ones the credential has";
            Err(FileError::new(why).within("probe"))
        }
        (Some(at), false) => {
            let found = match at.strip_prefix("header:") {
                Some(name) => header_name(name).map(ScopesAt::Header),
                None => pointer(at).map(ScopesAt::Pointer),
            };
            let found = found.map_err(|error| error.within("scopes").within("probe"))?;
            Ok(Some(found))
        }
    }
}

impl Bound {
    /// Scopes that a verb on an object needs.
    #[must_use]
    pub fn needs(&self, object: &str, verb: &str) -> BTreeSet<String> {
        let Some(object) = self.objects.get(object) else {
            return BTreeSet::new();
        };
        let own = object.verbs.get(verb).map(|verb| &verb.scopes);
        let own = own.into_iter().flatten();
        object.scopes.iter().chain(own).cloned().collect()
    }

    /// Scopes that anything needs of which the file speaks.
    #[must_use]
    pub fn needs_at_most(&self) -> BTreeSet<String> {
        let objects = self.objects.values();
        let all = objects.flat_map(|object| {
            let verbs = object.verbs.values().flat_map(|verb| &verb.scopes);
            object.scopes.iter().chain(verbs)
        });
        all.cloned().collect()
    }
}

#[cfg(test)]
mod tests;
