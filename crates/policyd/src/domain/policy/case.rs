//! Policy tests: requests with the verdict they must get, run through the real decision.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId, RequestId, RunId, TenantId};
use writ_proto::token::Mode;
use writ_proto::value::{Map, Value, args_from_json, value_from_json};

use crate::domain::decide::facts::{Facts, HaltView};
use crate::domain::decide::grounds::{Ground, Grounds};
use crate::domain::decide::known::{Known, Reading};
use crate::domain::decide::{Outcome, decide};
use crate::domain::policy::TenantPolicies;
use crate::domain::policy::facts::{Asked, FactKind};
use crate::domain::policy::schema::entity_type;
use crate::domain::request::{Evidence, Provenance, Request};

/// One case of a test file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A sentence.
    pub name: String,
    /// Agent that asks.
    pub agent: String,
    /// Tenant named in the request; the agent's own if absent.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Action.
    pub action: String,
    /// Connection; that of the card if absent.
    #[serde(default)]
    pub connection: Option<String>,
    /// Object type and id.
    pub target: (String, String),
    /// Arguments.
    pub args: serde_json::Value,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The moment, RFC 3339; a Tuesday noon if absent.
    #[serde(default)]
    pub now: Option<DateTime<Utc>>,
    /// Execute unless true.
    #[serde(default)]
    pub dry_run: bool,
    /// Run that the request belongs to.
    #[serde(default)]
    pub run: Option<String>,
    /// Version the agent relied on.
    #[serde(default)]
    pub precondition: Option<String>,
    /// What the system of record says of the target, where the set asks it: fact to value. A customer or another record
    /// that is asked for too is an object with its `id` and its facts. `null` stands for a record that is not there; nothing
    /// for a system that cannot be read.
    #[serde(default, deserialize_with = "given")]
    pub facts: Option<serde_json::Value>,
    /// How sure the agent says it is, in percent.
    #[serde(default)]
    pub confidence: Option<u8>,
    /// Arguments that it is not sure of.
    #[serde(default)]
    pub uncertain: Vec<String>,
    /// Arguments whose value was found where evidence said that it stands.
    #[serde(default)]
    pub grounded: Vec<String>,
    /// ALLOW, DENY or REQUIRE_APPROVAL.
    pub verdict: String,
    /// Reason code, if it matters.
    #[serde(default)]
    pub reason_code: Option<String>,
    /// A rule that must be among those that decided.
    #[serde(default)]
    pub rule: Option<String>,
}

/// How one case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// Why it failed, or nothing.
    pub failure: Option<String>,
    /// Rules that decided.
    pub rules: Vec<String>,
}

/// Reads the cases of one file.
///
/// # Errors
/// When the file is not a list of cases: the message and its byte.
pub fn cases(json: &str) -> Result<Vec<Case>, (String, usize)> {
    serde_json::from_str(json).map_err(|error| {
        let lines = json.split_inclusive('\n');
        let before: usize = lines
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        (
            error.to_string(),
            before.saturating_add(error.column().saturating_sub(1)),
        )
    })
}

/// Runs the cases of one file.
///
/// # Errors
/// When the file is not a list of cases.
pub fn run(policies: &Arc<TenantPolicies>, json: &str) -> Result<Vec<CaseResult>, String> {
    let cases = cases(json).map_err(|(message, _)| message)?;
    Ok(cases.iter().map(|case| run_one(policies, case)).collect())
}

fn run_one(policies: &Arc<TenantPolicies>, case: &Case) -> CaseResult {
    let name = case.name.clone();
    let parts = request(policies, case);
    let parts = parts.and_then(|(request, now)| Ok((request, now, known(policies, case, now)?)));
    let (request, now, known) = match parts {
        Ok(parts) => parts,
        Err(error) => {
            return CaseResult {
                name,
                failure: Some(error),
                rules: Vec::new(),
            };
        }
    };
    let grounds = request.cited().filter_map(|(_, cites)| {
        Some(Ground {
            argument: cites.argument.clone(),
            value: request.args.get(&cites.argument)?.clone(),
            grounded: true,
            sha256: None,
            why: String::new(),
        })
    });
    let facts = Facts {
        now,
        policies: Arc::clone(policies),
        halts: HaltView::default(),
        known,
        grounds: Grounds::Looked(grounds.collect()),
    };
    let outcome = decide(&request, &facts);
    let code = outcome.reason.map(|reason| reason.code());
    let wrong_code = case
        .reason_code
        .as_deref()
        .is_some_and(|want| Some(want) != code);
    let wrong_rule = case
        .rule
        .as_ref()
        .is_some_and(|rule| !outcome.determining.iter().any(|id| id == rule));
    let failed = outcome.verdict.name() != case.verdict || wrong_code || wrong_rule;
    let failure = failed.then(|| difference(case, &outcome));
    CaseResult {
        name,
        failure,
        rules: outcome.determining,
    }
}

/// What was wanted and what came, in the words of the test file.
fn difference(case: &Case, outcome: &Outcome) -> String {
    let named = |code: Option<&str>, rule: Option<&str>| {
        let code = code.map(|code| format!(" {code}"));
        let rule = rule.map(|rule| format!(" by rule {rule}"));
        code.unwrap_or_default() + &rule.unwrap_or_default()
    };
    let wanted = named(case.reason_code.as_deref(), case.rule.as_deref());
    let rules = outcome.determining.join(", ");
    let rules = Some(rules.as_str()).filter(|rules| !rules.is_empty());
    let got = named(outcome.reason.map(|reason| reason.code()), rules);
    let (verdict, message) = (outcome.verdict.name(), &outcome.message);
    format!(
        "wanted {}{wanted}, got {verdict}{got}: {message}",
        case.verdict
    )
}

/// Tells `null` from a key that is not there.
fn given<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

/// What a case says that the system of record tells.
fn known(policies: &TenantPolicies, case: &Case, now: DateTime<Utc>) -> Result<Known, String> {
    let (kind, id) = &case.target;
    let away = || Known::Unread {
        reason: Reason::SystemUnavailable,
        why: "the case has no `facts`".to_owned(),
    };
    let Some(facts) = &case.facts else {
        return Ok(away());
    };
    let asked = policies.asked.get(kind);
    let asked =
        asked.ok_or_else(|| format!("`facts`: set.toml asks no system for facts of a {kind}"))?;
    let asked_ms = now.timestamp_millis();
    let mut readings = vec![Reading {
        kind: kind.clone(),
        id: id.clone(),
        object: asked.object.clone(),
        names: asked.names(),
        asked_ms,
        exists: !facts.is_null(),
        fields: Map::new(),
    }];
    for (name, value) in facts.as_object().into_iter().flatten() {
        check_name(asked, name)?;
        let of_other = value
            .as_object()
            .filter(|members| members.contains_key("id"));
        let value = match of_other.map(|members| linked(policies, (kind, name), members)) {
            Some(linked) => {
                let mut linked = linked?;
                linked.asked_ms = asked_ms;
                let id = Value::Text(linked.id.clone());
                readings.push(linked);
                id
            }
            None => {
                value_from_json(&value.to_string()).map_err(|error| format!("`facts`: {error}"))?
            }
        };
        if let Some(target) = readings.first_mut() {
            target.fields.set(name, value);
        }
    }
    Ok(Known::Read(readings))
}

/// A misspelt fact would be an absent one.
fn check_name(asked: &Asked, name: &str) -> Result<(), String> {
    if asked.fields.contains_key(name) {
        return Ok(());
    }
    let (kind, known) = (&asked.kind, asked.names().join(", "));
    Err(format!(
        "`facts`: no system is asked for `{name}` of a {kind}; set.toml asks for {known}"
    ))
}

/// A record that a fact of the target names, with facts of its own.
fn linked(
    policies: &TenantPolicies,
    (kind, fact): (&str, &str),
    members: &serde_json::Map<String, serde_json::Value>,
) -> Result<Reading, String> {
    let no_record =
        || format!("`facts`: `{fact}` of a {kind} names no record that a system is asked for");
    let of = policies
        .asked
        .get(kind)
        .and_then(|asked| asked.fields.get(fact));
    let Some(FactKind::Entity(of)) = of else {
        return Err(no_record());
    };
    let mut all = policies.asked.values();
    let asked = all
        .find(|asked| entity_type(&asked.kind) == *of)
        .ok_or_else(no_record)?;
    let id = members
        .get("id")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    let mut fields = Map::new();
    for (name, value) in members.iter().filter(|(name, _)| *name != "id") {
        check_name(asked, name)?;
        let value = value_from_json(&value.to_string());
        fields.set(name, value.map_err(|error| format!("`facts`: {error}"))?);
    }
    Ok(Reading {
        kind: asked.kind.clone(),
        id: id.to_owned(),
        object: asked.object.clone(),
        names: asked.names(),
        asked_ms: 0,
        exists: true,
        fields,
    })
}

fn request(policies: &TenantPolicies, case: &Case) -> Result<(Request, DateTime<Utc>), String> {
    let text = |error: &dyn core::fmt::Display| error.to_string();
    let action = ActionName::parse(&case.action).map_err(|error| text(&error))?;
    let args = args_from_json(&case.args.to_string()).map_err(|error| text(&error))?;
    let tenant = case.tenant.as_deref().unwrap_or(policies.tenant.as_str());
    let of_card = || {
        policies
            .card(&action)
            .map(|card| card.connection.as_str().to_owned())
    };
    if let Some(odd) = case.grounded.iter().find(|name| args.get(name).is_none()) {
        return Err(format!("`grounded`: the case has no argument `{odd}`"));
    }
    let grounded = case.grounded.iter().map(|name| Evidence::found(name));
    let connection = case.connection.clone().or_else(of_card).unwrap_or_default();
    let noon = DateTime::from_timestamp(1_793_703_600, 0);
    let now = case.now.or(noon).ok_or("no time")?;
    let request = Request {
        provenance: Provenance::default(),
        again: false,
        caller_tenant: policies.tenant.clone(),
        agent: AgentId::parse(&case.agent).map_err(|error| text(&error))?,
        cert_sha256: None,
        tenant: TenantId::parse(tenant).map_err(|error| text(&error))?,
        request_id: RequestId::new(uuid::Uuid::nil()),
        connection,
        action,
        target: Some(case.target.clone()),
        args_cbor: args.encode(),
        args,
        precondition: case.precondition.clone(),
        mode: if case.dry_run {
            Mode::DryRun
        } else {
            Mode::Execute
        },
        reason: case.reason.clone(),
        evidence: (Evidence::self_report(case.uncertain.clone()).into_iter())
            .chain(grounded)
            .collect(),
        confidence: case.confidence,
        trace_id: None,
        run: case
            .run
            .as_deref()
            .map(RunId::parse)
            .transpose()
            .map_err(|error| text(&error))?,
    };
    Ok((request, now))
}
