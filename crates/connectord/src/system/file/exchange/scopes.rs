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

impl ScopesAt {
    /// The names in an answer.
    ///
    /// # Errors
    /// What is there instead: where nothing is said, nobody knows what the credential may do.
    pub fn read(&self, answer: &Answer) -> Result<BTreeSet<String>, String> {
        let found: BTreeSet<String> = match self {
            Self::Header(name) => answer.header(name).into_iter().flat_map(names).collect(),
            Self::Pointer(at) => {
                let values = answer.body.as_ref().map(|body| all(body, at));
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
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = "kind = \"x\"\ndriver = \"http\"\nencode = \"json\"\nauth = { bearer = \"{secret.t}\" }\nsecret = [\"t\"]\n\
        probe = { request = \"GET /me\", PROBE }\n[object.a]\nOBJECT\nid = \"[0-9]+\"\nread = { request = \"GET /a/{id}\", id_at = \"/id\" }\n\
        [object.a.field]\nname = { at = \"/name\", as = \"text\" }\n[object.a.verb.update_fields]\nVERB\nguard = \"compare\"\nonce = \"none\"\n\
        undo = \"restore\"\nsettle = \"after_image\"\nstep = [{ request = \"PUT /a/{id}\", body = \"{fields}\", expect = \"/id\" }]\n";

    fn file(probe: &str, object: &str, verb: &str) -> Result<Bound, FileError> {
        let text = FILE.replace("PROBE", probe).replace("OBJECT", object);
        Bound::compile(&text.replace("VERB", verb))
    }

    fn answer(headers: &[(&str, &str)], body: &Json) -> Answer {
        let headers = headers.iter();
        Answer {
            status: 200,
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            wait: None,
            body: Some(body.clone()),
            media: String::new(),
        }
    }

    #[test]
    fn what_a_credential_may_do_is_read_or_nothing_is_known() {
        let body = json!({"scopes": ["a", "b"], "role": "agent", "odd": [1], "none": []});
        let answer = answer(&[("x-oauth-scopes", "a, b,c d")], &body);
        let header = ScopesAt::Header("x-oauth-scopes".into());
        for (at, wanted) in [
            (header, Some(vec!["a", "b", "c", "d"])),
            (ScopesAt::Header("other".into()), None),
            (ScopesAt::Pointer("/scopes/*".into()), Some(vec!["a", "b"])),
            (ScopesAt::Pointer("/role".into()), Some(vec!["agent"])),
            (ScopesAt::Pointer("/odd/*".into()), None),
            (ScopesAt::Pointer("/none/*".into()), None),
            (ScopesAt::Pointer("/gone".into()), None),
        ] {
            let read = at.read(&answer).ok();
            let wanted = wanted.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(read, wanted, "{at:?}");
        }
    }

    #[test]
    fn who_names_scopes_says_where_a_credential_shows_them_and_the_other_way_about() {
        let shown = "scopes = \"/scopes/*\"";
        let bound = file(shown, "scopes = [\"read\"]", "scopes = [\"write\"]").unwrap();
        assert_eq!(bound.needs("a", "update_fields").len(), 2);
        assert_eq!(bound.needs("a", "refund").len(), 1, "the object is read");
        assert!(bound.needs("b", "update_fields").is_empty());
        for (probe, object, verb, why) in [
            (shown, "", "", "objects and verbs say which"),
            (
                "expect = \"/id\"",
                "scopes = [\"read\"]",
                "",
                "where the answer to the probe",
            ),
            (
                "expect = \"/id\"",
                "",
                "scopes = [\"write\"]",
                "where the answer to the probe",
            ),
            (shown, "scopes = [\"a b\"]", "", "without spaces and commas"),
            (shown, "scopes = [\"\"]", "", "without spaces and commas"),
            (
                "scopes = \"scopes\"",
                "scopes = [\"a\"]",
                "",
                "probe.scopes",
            ),
        ] {
            let error = file(probe, object, verb).unwrap_err().to_string();
            assert!(error.contains(why), "{probe} {object} {verb}: {error}");
        }
        // What a credential is called changes nothing that is sent.
        let (plain, other) = (file("expect = \"/id\"", "", "").unwrap(), &bound);
        let digest = |bound: &Bound| bound.objects["a"].verbs["update_fields"].digest;
        assert_eq!(digest(&plain), digest(other));
    }
}
