//! What we read from the annotations of a policy; Cedar itself gives them no meaning.

use cedar_policy::{Effect, Policy};
use chrono::{DateTime, NaiveDate, Utc};
use writ_proto::duration::seconds_of;

const TTL_SECONDS_MAX: u32 = writ_proto::limits::TOKEN_TTL_SECONDS_MAX;
const QUORUM_MAX: u32 = 16;
/// Longest text of an annotation, and longest name of a set: both stand in records.
const TEXT_BYTES_MAX: usize = 500;

/// Whether a text may stand in a record.
pub(crate) fn is_short(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
}

/// Who has to approve, how many and how soon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApprovalNeed {
    /// How many people.
    pub quorum: u32,
    /// How long they may take, in seconds.
    pub ttl_seconds: u32,
    /// Who, such as `finance`.
    pub role: String,
}

/// One policy, as people and records name it.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Why it is there, in one sentence.
    pub reason: String,
    /// Whether it forbids.
    pub forbids: bool,
    /// A permit that only allows after approval.
    pub approval: Option<ApprovalNeed>,
    /// What the asker can do instead.
    pub fix: Option<String>,
    /// Who answers for it.
    pub owner: String,
    /// Who approved it.
    pub approved_by: String,
    /// When.
    pub approved_on: NaiveDate,
    /// Shorter life of a token that rests on it, in seconds.
    pub ttl_seconds: Option<u32>,
    /// In force from this moment.
    pub effective_from: Option<DateTime<Utc>>,
    /// In force until before this moment.
    pub effective_until: Option<DateTime<Utc>>,
    /// The policy as written.
    pub text: String,
}

const KNOWN: [&str; 10] = [
    "id",
    "reason",
    "approval",
    "fix",
    "owner",
    "approved_by",
    "approved_on",
    "ttl",
    "effective_from",
    "effective_until",
];

/// What every rule says, and an example of it.
const NEEDED: [(&str, &str); 5] = [
    ("id", "refund-small"),
    ("reason", "small refunds need no person"),
    ("owner", "ops@acme.example"),
    ("approved_by", "kim@acme.example"),
    ("approved_on", "2026-11-02"),
];

/// The annotations that every rule has, or all that are missing.
fn needed(text: &impl Fn(&str) -> Option<String>) -> Result<[String; 5], String> {
    let said = NEEDED.map(|(name, _)| text(name).unwrap_or_default());
    let missing = NEEDED.iter().zip(&said);
    let missing: Vec<String> = missing
        .filter(|(_, said)| said.trim().is_empty())
        .map(|((name, example), _)| format!("`@{name}(\"{example}\")`"))
        .collect();
    if missing.is_empty() {
        return Ok(said);
    }
    let which = match said.first().filter(|id| !id.trim().is_empty()) {
        Some(id) => format!("rule `{id}`"),
        None => "this rule".to_owned(),
    };
    Err(format!(
        "{which} lacks annotations that every rule needs, for example {}",
        missing.join(" ")
    ))
}

impl Rule {
    pub(crate) fn read(policy: &Policy) -> Result<(String, Self), String> {
        for (name, _) in policy.annotations() {
            if !KNOWN.contains(&name) {
                let near = KNOWN
                    .iter()
                    .min_by_key(|known| strsim::levenshtein(known, name));
                let hint = near.map(|near| format!("; did you mean `@{near}`?"));
                return Err(format!(
                    "unknown annotation `@{name}`{}",
                    hint.unwrap_or_default()
                ));
            }
        }
        for (name, value) in policy.annotations() {
            if !is_short(value) {
                return Err(format!(
                    "`@{name}` has 1 to {TEXT_BYTES_MAX} bytes and no control characters"
                ));
            }
        }
        let text = |name: &str| policy.annotation(name).map(str::to_owned);
        let [id, reason, owner, approved_by, approved_on] = needed(&text)?;
        let approved_on = NaiveDate::parse_from_str(&approved_on, "%Y-%m-%d").map_err(|_| {
            format!("rule `{id}`: `@approved_on(\"{approved_on}\")` is not a date; write it as 2026-11-02")
        })?;
        let forbids = policy.effect() == Effect::Forbid;
        let approval = text("approval").map(|spec| approval(&spec)).transpose()?;
        if forbids && approval.is_some() {
            return Err(format!("rule `{id}`: only a permit can carry `@approval`"));
        }
        let moment = |name: &str| {
            let parse = |text: String| {
                DateTime::parse_from_rfc3339(&text)
                    .map(|moment| moment.to_utc())
                    .map_err(|_| {
                        format!("rule `{id}`: `@{name}(\"{text}\")` is no time such as 2026-11-28T09:00:00Z")
                    })
            };
            text(name).map(parse).transpose()
        };
        let ttl = text("ttl").map(|text| seconds_of(&text)).transpose()?;
        if ttl.is_some_and(|ttl| ttl > TTL_SECONDS_MAX) {
            return Err(format!(
                "rule `{id}`: `@ttl` is more than {TTL_SECONDS_MAX} s"
            ));
        }
        let (effective_from, effective_until) =
            (moment("effective_from")?, moment("effective_until")?);
        let rule = Self {
            reason,
            forbids,
            approval,
            fix: text("fix"),
            owner,
            approved_by,
            approved_on,
            ttl_seconds: ttl,
            effective_from,
            effective_until,
            text: policy.to_string(),
        };
        Ok((id, rule))
    }

    /// Whether the rule counts at a moment.
    #[must_use]
    pub fn is_in_force(&self, now: DateTime<Utc>) -> bool {
        self.effective_from.is_none_or(|from| from <= now)
            && self.effective_until.is_none_or(|until| now < until)
    }

    /// The moments at which it begins or ends to count.
    pub(crate) fn moments(&self) -> impl Iterator<Item = DateTime<Utc>> {
        [self.effective_from, self.effective_until]
            .into_iter()
            .flatten()
    }
}

fn approval(spec: &str) -> Result<ApprovalNeed, String> {
    let refuse =
        || format!("`@approval(\"{spec}\")` is not like \"role:finance;quorum:1;ttl:24h\"");
    let (mut role, mut quorum, mut ttl_seconds) = (None, None, None);
    for part in spec.split(';') {
        match part.split_once(':').ok_or_else(refuse)? {
            ("role", name) if role.is_none() && !name.is_empty() => role = Some(name.to_owned()),
            ("quorum", number) if quorum.is_none() => {
                quorum = number
                    .parse()
                    .ok()
                    .filter(|count| (1..=QUORUM_MAX).contains(count));
            }
            ("ttl", text) if ttl_seconds.is_none() => ttl_seconds = Some(seconds_of(text)?),
            _ => return Err(refuse()),
        }
    }
    Ok(ApprovalNeed {
        role: role.ok_or_else(refuse)?,
        quorum: quorum.ok_or_else(refuse)?,
        ttl_seconds: ttl_seconds.ok_or_else(refuse)?,
    })
}
