//! What an answer means: the rules of the file in their order, then the built-in table. No rule and
//! no status says that a write was done: only proof does.

use serde_json::Value as Json;

use crate::system::file::FileError;
use crate::system::file::field::{json_of, pointer};
use crate::system::file::raw::RawRule;

/// Longest sentence of a system that is kept, in characters.
const SAID_CHARS_MAX: usize = 300;

/// An answer as a rule sees it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers that the file may name, in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// Seconds after which the system wants to be asked again, if it says so.
    pub wait: Option<u64>,
    /// The body; none where it is not JSON.
    pub body: Option<Json>,
    /// `Content-Type`, for people.
    pub media: String,
}

impl Answer {
    /// A header by its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let same = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .find(same)
            .map(|(_, value)| value.as_str())
    }

    /// What came instead of an answer that can be read, for people.
    #[must_use]
    pub fn described(&self) -> String {
        match (&self.body, self.media.as_str()) {
            (Some(_), _) => format!("HTTP {}", self.status),
            (None, "") => format!("HTTP {} without a JSON body", self.status),
            (None, media) => format!("HTTP {} with {media} instead of JSON", self.status),
        }
    }
}

/// What a rule makes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing happened, for certain.
    Refused,
    /// The record has another version than the one that was written against; nothing happened.
    Stale,
    /// The credential may not do this; nothing happened.
    Denied,
    /// The system asks to slow down; nothing happened.
    Limited,
    /// Nobody knows.
    Unknown,
}

/// An answer, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It may prove something.
    Answered,
    /// It says that nothing was done, or nobody knows: with the system's own sentence if it has one.
    Not(Meaning, Option<String>),
}

/// One rule.
#[derive(Debug, Clone)]
struct Rule {
    status: Option<u16>,
    at: Option<String>,
    is: Option<Json>,
    has: Option<String>,
    present: Option<bool>,
    /// It does not fit where something stands here.
    unless: Option<String>,
    means: Meaning,
    say: Option<String>,
}

/// The rules of a file.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    /// 400, 404 and 422 with a JSON body mean that nothing happened.
    refuses_plainly: bool,
    say: Vec<String>,
}

fn rule(raw: &RawRule) -> Result<Rule, FileError> {
    let means = match raw.means.as_str() {
        "refused" => Meaning::Refused,
        "stale" => Meaning::Stale,
        "denied" => Meaning::Denied,
        "limited" => Meaning::Limited,
        "unknown" => Meaning::Unknown,
        other => {
            let why = format!(
                "means = \"{other}\": refused, stale, denied, limited or unknown; only proof says done"
            );
            return Err(FileError::new(why));
        }
    };
    if raw.status.is_none() && raw.at.is_none() {
        return Err(FileError::new(
            "a rule names a `status`, or `at` a pointer, or both",
        ));
    }
    let tests = [raw.is.is_some(), raw.has.is_some(), raw.present.is_some()];
    if raw.at.is_some() != tests.contains(&true) {
        return Err(FileError::new("`at` goes with `is`, `has` or `present`"));
    }
    let is = raw.is.as_ref().map(json_of);
    Ok(Rule {
        status: raw.status,
        at: raw.at.as_deref().map(pointer).transpose()?,
        is: is
            .map(|is| is.ok_or_else(|| FileError::new("`is` is a text, a number or a truth")))
            .transpose()?,
        has: raw.has.clone(),
        present: raw.present,
        unless: raw.unless.as_deref().map(pointer).transpose()?,
        means,
        say: raw.say.as_deref().map(pointer).transpose()?,
    })
}

impl Rule {
    fn fits(&self, answer: &Answer) -> bool {
        let at = |at: &String| answer.body.as_ref().and_then(|body| body.pointer(at));
        let stands = |found: &Json| *found != Json::Null && *found != Json::Array(vec![]);
        if self.status.is_some_and(|status| status != answer.status)
            || self.unless.as_ref().and_then(at).is_some_and(stands)
        {
            return false;
        }
        let Some(own) = &self.at else {
            return true;
        };
        let found = at(own);
        let there = found.is_some_and(stands);
        let has = |part: &String| {
            found
                .and_then(Json::as_str)
                .is_some_and(|text| text.contains(part))
        };
        self.present.is_none_or(|wanted| wanted == there)
            && self.is.as_ref().is_none_or(|wanted| found == Some(wanted))
            && self.has.as_ref().is_none_or(has)
    }
}

/// The system's own words, without what could act on a terminal or turn the reading order round.
#[must_use]
pub fn clean(text: &str) -> String {
    let plain = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().filter(plain).take(SAID_CHARS_MAX).collect()
}

/// The first text in a value: details are often told by field.
fn first_text(value: &Json) -> Option<&str> {
    match value {
        Json::String(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
        Json::Array(items) => items.iter().find_map(first_text),
        Json::Object(members) => members.values().find_map(first_text),
        _ => None,
    }
}

impl Rules {
    pub(in crate::system::file) fn compile(
        raw: &[RawRule],
        refusals: Option<&str>,
        say: Vec<String>,
    ) -> Result<Self, FileError> {
        let mut rules = Vec::new();
        for (at, one) in raw.iter().enumerate() {
            rules.push(rule(one).map_err(|error| error.within(&format!("answers.{at}")))?);
        }
        let refuses_plainly = match refusals {
            None => false,
            Some("plain") => true,
            Some(_) => {
                return Err(
                    FileError::new("refusals = \"plain\" is all there is").within("refusals")
                );
            }
        };
        Ok(Self {
            rules,
            refuses_plainly,
            say,
        })
    }

    fn said(&self, answer: &Answer, own: Option<&String>) -> Option<String> {
        let body = answer.body.as_ref()?;
        let found = own
            .into_iter()
            .chain(&self.say)
            .find_map(|at| first_text(body.pointer(at)?).map(clean));
        found.filter(|said| !said.is_empty())
    }

    /// The system's own sentence in an answer, if it has one.
    #[must_use]
    pub fn sentence(&self, answer: &Answer) -> Option<String> {
        self.said(answer, None)
    }

    /// What an answer means. `guarded` is whether a version was sent that the answer may refuse.
    #[must_use]
    pub fn judge(&self, answer: &Answer, guarded: bool) -> Judged {
        if let Some(rule) = self.rules.iter().find(|rule| rule.fits(answer)) {
            return Judged::Not(rule.means, self.said(answer, rule.say.as_ref()));
        }
        let json = answer.body.is_some();
        let means = match answer.status {
            200..=299 if json && answer.status != 202 => return Judged::Answered,
            401 | 403 => Meaning::Denied,
            412 if guarded => Meaning::Stale,
            429 => Meaning::Limited,
            400 | 404 | 422 if self.refuses_plainly && json => Meaning::Refused,
            _ => Meaning::Unknown,
        };
        Judged::Not(means, self.said(answer, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: Option<Json>) -> Answer {
        Answer {
            status,
            headers: vec![],
            wait: None,
            body,
            media: "text/html".into(),
        }
    }

    fn rules(text: &str, refusals: Option<&str>) -> Result<Rules, FileError> {
        #[derive(serde::Deserialize)]
        struct File {
            #[serde(default)]
            answers: Vec<RawRule>,
        }
        let file: File = toml::from_str(text).unwrap();
        Rules::compile(
            &file.answers,
            refusals,
            vec!["/message".into(), "/0".into()],
        )
    }

    #[test]
    fn a_status_alone_never_proves_anything() {
        let plain = rules("", Some("plain")).unwrap();
        let strict = rules("", None).unwrap();
        for (status, body, want) in [
            (200, Some(json!({})), None),
            (204, None, Some(Meaning::Unknown)),
            (200, None, Some(Meaning::Unknown)),
            (202, Some(json!({"job": 1})), Some(Meaning::Unknown)),
            (302, None, Some(Meaning::Unknown)),
            (400, Some(json!({})), Some(Meaning::Refused)),
            (400, None, Some(Meaning::Unknown)),
            (401, None, Some(Meaning::Denied)),
            (403, Some(json!({})), Some(Meaning::Denied)),
            (404, Some(json!({})), Some(Meaning::Refused)),
            (408, Some(json!({})), Some(Meaning::Unknown)),
            (409, Some(json!({})), Some(Meaning::Unknown)),
            (412, Some(json!({})), Some(Meaning::Stale)),
            (422, Some(json!({})), Some(Meaning::Refused)),
            (429, None, Some(Meaning::Limited)),
            (500, Some(json!({})), Some(Meaning::Unknown)),
        ] {
            let found = match plain.judge(&answer(status, body.clone()), true) {
                Judged::Answered => None,
                Judged::Not(means, _) => Some(means),
            };
            assert_eq!(found, want, "{status}");
            if want == Some(Meaning::Refused) {
                let unsaid = strict.judge(&answer(status, body), true);
                assert_eq!(
                    unsaid,
                    Judged::Not(Meaning::Unknown, None),
                    "{status}: the file does not say so"
                );
            }
        }
        let unguarded = strict.judge(&answer(412, Some(json!({}))), false);
        assert_eq!(
            unguarded,
            Judged::Not(Meaning::Unknown, None),
            "no version was sent that could be old"
        );
    }

    #[test]
    fn the_first_rule_that_fits_goes_before_the_table_and_brings_the_own_sentence() {
        let text = r#"
answers = [
  { status = 409, at = "/error", is = "IdempotentRequestError", means = "refused" },
  { status = 403, at = "/0/errorCode", is = "REQUEST_LIMIT_EXCEEDED", means = "limited" },
  { at = "/ok", is = false, means = "refused", say = "/error" },
  { at = "/userErrors", present = true, unless = "/refund", means = "refused", say = "/userErrors/0/message" },
  { at = "/0", has = "can't change status", means = "refused" },
]"#;
        let rules = rules(text, None).unwrap();
        let says = |status, body| match rules.judge(&answer(status, Some(body)), true) {
            Judged::Answered => (None, None),
            Judged::Not(means, said) => (Some(means), said),
        };
        let refused = Some(Meaning::Refused);
        assert_eq!(
            says(409, json!({"error": "IdempotentRequestError"})).0,
            refused
        );
        assert_eq!(
            says(409, json!({"error": "other"})).0,
            Some(Meaning::Unknown)
        );
        assert_eq!(
            says(403, json!([{"errorCode": "REQUEST_LIMIT_EXCEEDED"}])).0,
            Some(Meaning::Limited)
        );
        assert_eq!(
            says(200, json!({"ok": false, "error": "not_in_channel"})),
            (refused, Some("not_in_channel".into()))
        );
        assert_eq!(says(200, json!({"userErrors": []})).0, None);
        for (refund, means) in [(Json::Null, refused), (json!({"id": "1"}), None)] {
            let body = json!({"userErrors": [{"message": "no"}], "refund": refund});
            assert_eq!(says(200, body).0, means, "what was made is not refused");
        }
        let own = json!({"userErrors": [{"message": "too \u{1b}[31mmuch\u{202e}"}]});
        assert_eq!(says(200, own), (refused, Some("too [31mmuch".into())));
        let rt = "Ticket 3: You can't change status";
        assert_eq!(says(200, json!([rt])), (refused, Some(rt.into())));
    }

    #[test]
    fn a_rule_that_would_mean_nothing_or_too_much_is_refused() {
        for (bad, expected) in [
            (
                "answers = [{ status = 200, means = \"done\" }]",
                "only proof",
            ),
            ("answers = [{ means = \"refused\" }]", "names a `status`"),
            (
                "answers = [{ at = \"/x\", means = \"refused\" }]",
                "`at` goes with",
            ),
            (
                "answers = [{ at = \"x\", is = 1, means = \"refused\" }]",
                "JSON pointer",
            ),
        ] {
            let error = rules(bad, None).unwrap_err();
            assert!(error.to_string().contains(expected), "{bad}: {error}");
        }
        assert!(rules("", Some("all")).is_err());
    }
}
