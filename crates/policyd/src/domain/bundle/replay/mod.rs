//! Decides a recorded request again, from what the record carries and the policy set that it names,
//! and compares every step.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId, RequestId, RunId, TenantId};
use writ_proto::scope::Scope;
use writ_proto::token::Mode;
use writ_proto::value::{Map, Value};

use crate::domain::approval;
use crate::domain::budget::{Fired, Hold, Takes};
use crate::domain::decide::facts::{Facts, HaltView};
use crate::domain::decide::grounds::{Ground, Grounds};
use crate::domain::decide::known::{Known, Reading};
use crate::domain::decide::{Outcome, Verdict, decide, reserve};
use crate::domain::policy::TenantPolicies;
use crate::domain::record::{Opened, Projection, Step, listed, trace_value};
use crate::domain::request::intent;
use crate::domain::request::{Cites, Evidence, Extractor, Provenance, Request};

/// The life of a token plays no part in what is decided.
const TTL_SECONDS: u32 = writ_proto::limits::TOKEN_TTL_SECONDS_DEFAULT;

/// The values of a record by name.
type Values<'a> = BTreeMap<&'a str, &'a Value>;

fn missing(what: &str) -> String {
    format!("{what} is missing or cannot be read")
}

fn text<'a>(values: &Values<'a>, name: &str) -> Option<&'a str> {
    values.get(name).and_then(|value| value.as_text())
}

fn evidence(values: &Values<'_>) -> Option<Vec<Evidence>> {
    let Some(Value::List(items)) = values.get("evidence") else {
        return values.get("evidence").is_none().then(Vec::new);
    };
    let item = |item: &Value| {
        let map = item.as_map()?;
        let text = |name: &str| map.get(name).and_then(Value::as_text).map(str::to_owned);
        let uncertain = match map.get("uncertain") {
            None => Vec::new(),
            Some(Value::List(names)) => {
                let names = names.iter().map(|name| name.as_text().map(str::to_owned));
                names.collect::<Option<_>>()?
            }
            Some(_) => return None,
        };
        Some(Evidence {
            kind: text("type")?,
            id: text("id")?,
            quote: text("quote")?,
            sha256: match map.get("sha256") {
                None => None,
                Some(Value::Bytes(digest)) => Some(digest.as_slice().try_into().ok()?),
                Some(_) => return None,
            },
            uncertain,
            cites: match map.get("argument") {
                None => None,
                Some(_) => Some(cites(map)?),
            },
        })
    };
    items.iter().map(item).collect()
}

/// Where a value stands, as the record says.
fn cites(map: &Map) -> Option<Cites> {
    let text = |name: &str| map.get(name).and_then(Value::as_text);
    let Some(Value::List(source)) = map.get("source") else {
        return None;
    };
    let source: Option<Vec<String>> = (source.iter())
        .map(|part| part.as_text().map(str::to_owned))
        .collect();
    Some(Cites {
        argument: text("argument")?.to_owned(),
        source: source?.try_into().ok()?,
        extractor: Extractor::from_name(text("extractor")?)?,
    })
}

/// What the trace says that was found of the evidence.
fn grounds(steps: &[Value], request: &Request) -> Option<Grounds> {
    let parts = steps.iter().find_map(|step| match step {
        Value::List(parts) => match parts.split_first() {
            Some((Value::Text(name), rest)) if name == "evidence" => Some(rest),
            _ => None,
        },
        _ => None,
    });
    let ground = |value: &Value| match value {
        Value::List(parts) => match parts.as_slice() {
            [Value::Text(argument), Value::Bool(grounded), digest] => Some(Ground {
                argument: argument.clone(),
                value: request.args.get(argument)?.clone(),
                grounded: *grounded,
                sha256: match digest {
                    Value::Bytes(digest) => Some(digest.as_slice().try_into().ok()?),
                    Value::Null => None,
                    _ => return None,
                },
                why: String::new(),
            }),
            _ => None,
        },
        _ => None,
    };
    match parts {
        None => Some(Grounds::NotLooked),
        Some([Value::Text(code)]) => Some(Grounds::Unread {
            reason: Reason::from_code(code)?,
            why: String::new(),
        }),
        Some(found) => {
            let found: Vec<Ground> = found.iter().map(ground).collect::<Option<_>>()?;
            // Who found something has read the text, and the one that the agent named.
            let named = request.cited().map(|(item, _)| item.sha256);
            let could_be = |(ground, named): (&Ground, Option<[u8; 32]>)| {
                let same = named.is_none_or(|named| ground.sha256 == Some(named));
                !ground.grounded || ground.sha256.is_some() && same
            };
            let could_be = found.iter().zip(named).all(could_be);
            could_be.then_some(Grounds::Looked(found))
        }
    }
}

/// The request of a record.
fn request(record: &Projection, values: &Values<'_>) -> Result<Request, String> {
    let tenant = TenantId::parse(&record.tenant).map_err(|_| missing("the tenant"))?;
    let args = match values.get("args") {
        Some(Value::Map(args)) => args.clone(),
        _ => return Err(missing("the value `args`")),
    };
    let either = |leaf: &str, name: &str| {
        let said = text(values, name).filter(|_| leaf.is_empty());
        said.unwrap_or(leaf).to_owned()
    };
    let kind = either(&record.target_type, "target_kind");
    let target = match (kind.as_str(), text(values, "target_id")) {
        ("", None) => None,
        (kind, Some(id)) => Some((kind.to_owned(), id.to_owned())),
        (_, None) => return Err(missing("the value `target_id`")),
    };
    let named = text(values, "named_tenant").map(TenantId::parse);
    let named = named.transpose().map_err(|_| missing("the named tenant"))?;
    let run = text(values, "run").map(RunId::parse).transpose();
    let confidence = match values.get("confidence") {
        None => None,
        Some(Value::Int(percent)) => {
            let percent = u8::try_from(*percent).map_err(|_| missing("the value `confidence`"))?;
            Some(percent)
        }
        Some(_) => return Err(missing("the value `confidence`")),
    };
    Ok(Request {
        tenant: named.unwrap_or_else(|| tenant.clone()),
        caller_tenant: tenant,
        agent: AgentId::parse(&record.agent).map_err(|_| missing("the agent"))?,
        cert_sha256: None,
        request_id: RequestId::new(uuid::Uuid::nil()),
        connection: either(&record.connection, "connection_name"),
        action: ActionName::parse(&either(&record.action, "action_name"))
            .map_err(|_| missing("the action"))?,
        target,
        args_cbor: args.encode(),
        args,
        precondition: text(values, "precondition").map(str::to_owned),
        mode: match record.mode.as_str() {
            "execute" => Mode::Execute,
            "dry_run" => Mode::DryRun,
            _ => return Err(missing("the mode")),
        },
        reason: text(values, "reason").unwrap_or_default().to_owned(),
        evidence: evidence(values).ok_or_else(|| missing("the value `evidence`"))?,
        confidence,
        trace_id: None,
        run: run.map_err(|_| missing("the run"))?,
        // No policy sees who or what began it.
        provenance: Provenance::default(),
        again: values.contains_key("again"),
    })
}

/// What the first step says of the halts.
fn halts(steps: &[Value]) -> Option<HaltView> {
    let Some(Value::List(parts)) = steps.first() else {
        return None;
    };
    let (name, epoch, heard_ms, scope) = match parts.as_slice() {
        [
            Value::Text(name),
            Value::Int(epoch),
            Value::Int(heard_ms),
            scope,
        ] => (name, epoch, Some(*heard_ms), scope),
        [Value::Text(name), Value::Int(epoch), scope] => (name, epoch, None, scope),
        _ => return None,
    };
    let scopes = match scope {
        Value::Null => Vec::new(),
        Value::Text(scope) => vec![scope.parse::<Scope>().ok()?],
        _ => return None,
    };
    Some(HaltView {
        epoch: u64::try_from(*epoch).ok().filter(|_| name == "halts")?,
        scopes,
        heard_ms,
    })
}

/// What the trace says that the system of record told.
fn known(steps: &[Value]) -> Option<Known> {
    let parts = steps.iter().find_map(|step| match step {
        Value::List(parts) => match parts.split_first() {
            Some((Value::Text(name), rest)) if name == "facts" => Some(rest),
            _ => None,
        },
        _ => None,
    });
    match parts {
        None => Some(Known::NotAsked),
        Some([Value::Text(code)]) => Some(Known::Unread {
            reason: Reason::from_code(code)?,
            why: String::new(),
        }),
        Some(readings) => readings
            .iter()
            .map(reading)
            .collect::<Option<_>>()
            .map(Known::Read),
    }
}

fn reading(value: &Value) -> Option<Reading> {
    let Value::List(parts) = value else {
        return None;
    };
    match parts.as_slice() {
        [
            Value::Text(kind),
            Value::Text(id),
            Value::Text(object),
            Value::List(names),
            Value::Int(asked_ms),
            Value::Bool(exists),
            Value::Map(fields),
        ] => Some(Reading {
            kind: kind.clone(),
            id: id.clone(),
            object: object.clone(),
            names: names
                .iter()
                .map(|name| name.as_text().map(str::to_owned))
                .collect::<Option<_>>()?,
            asked_ms: *asked_ms,
            exists: *exists,
            fields: fields.clone(),
        }),
        _ => None,
    }
}

/// A counter without room, where that is how the decision ended.
struct Full<'a> {
    key: &'a str,
    fired: &'a str,
    used: i64,
    limit: i64,
}

fn full(step: Option<&Value>) -> Option<Full<'_>> {
    let Some(Value::List(parts)) = step else {
        return None;
    };
    match parts.as_slice() {
        [
            Value::Text(name),
            Value::Text(key),
            Value::Text(fired),
            Value::Int(used),
            Value::Int(limit),
        ] if name == "full" => Some(Full {
            key,
            fired,
            used: *used,
            limit: *limit,
        }),
        _ => None,
    }
}

impl Full<'_> {
    /// The code of a denial that ends here; a sentence where the figures do not make one.
    fn reason(&self, holds: &[Hold]) -> Result<Reason, String> {
        let hold = holds.iter().find(|hold| hold.key.as_str() == self.key);
        let hold = hold.ok_or_else(|| format!("nothing asks for the counter `{}`", self.key))?;
        let (amount, limit, used) = (hold.amount, self.limit, self.used);
        let counts_nothing = hold.takes == Takes::Nothing;
        let fits = if counts_nothing {
            used < limit
        } else {
            used.saturating_add(amount) <= limit
        };
        let limits = &hold.limits;
        let possible = match self.fired {
            // A raise lifts a cap, and nothing lowers it.
            "cap" => limit >= limits.cap,
            "spike" => limits
                .spike
                .as_ref()
                .is_some_and(|spike| limit >= spike.floor),
            "age" => limits.age_ms_max.is_some(),
            "unreported" => limits.report_ms_max.is_some() && counts_nothing,
            _ => false,
        };
        if !possible {
            let fired = self.fired;
            return Err(format!("`{}` has no limit `{fired}` of {limit}", self.key));
        }
        if ["cap", "spike"].contains(&self.fired) && fits {
            return Err(format!("{used} and {amount} are not more than {limit}"));
        }
        Ok(if intent::is_place(&hold.key) {
            Reason::DuplicateIntent
        } else if approval::is_place(&hold.key) {
            Reason::ApprovalQueueFull
        } else if self.fired == Fired::Unreported.name() {
            Reason::UsageUnknown
        } else {
            Reason::BudgetExceeded
        })
    }
}

/// The first place at which two traces differ, in words.
fn compare(recorded: &[Value], derived: &[Value]) -> Result<(), String> {
    let shown = |step: Option<&Value>| step.map_or_else(|| "nothing".to_owned(), Value::to_json);
    let count = recorded.len().max(derived.len());
    for at in 0..count {
        let (was, is) = (recorded.get(at), derived.get(at));
        if was != is {
            let (was, is) = (shown(was), shown(is));
            let step = at.saturating_add(1);
            return Err(format!(
                "step {step} of the trace says {was}; deciding again gives {is}"
            ));
        }
    }
    Ok(())
}

fn same(what: &str, was: &str, is: &str) -> Result<(), String> {
    if was == is {
        return Ok(());
    }
    Err(format!(
        "{what} is recorded as {was:?}; deciding again gives {is:?}"
    ))
}

fn steps_of(outcome: &Outcome, more: &[Step]) -> Vec<Value> {
    let all: Vec<Step> = outcome.trace.iter().chain(more).cloned().collect();
    match trace_value(&all) {
        Value::List(steps) => steps,
        _ => Vec::new(),
    }
}

/// Decides a record again.
///
/// # Errors
/// The first thing that is not as recorded.
pub(crate) fn replay(
    record: &Projection,
    opened: &[Opened],
    policies: &Arc<TenantPolicies>,
) -> Result<(), String> {
    let values: Values<'_> = opened
        .iter()
        .map(|item| (item.name.as_str(), &item.value))
        .collect();
    let Some(Value::List(recorded)) = values.get("trace") else {
        return Err(missing("the value `trace`"));
    };
    let request = request(record, &values)?;
    let hash = match values.get("request_hash") {
        Some(Value::Bytes(hash)) => hex::encode(hash),
        _ => return Err(missing("the value `request_hash`")),
    };
    same("the request hash", &hash, &hex::encode(request.hash()))?;
    let now = DateTime::parse_from_rfc3339(&record.time).map_err(|_| missing("the time"))?;
    let facts = Facts {
        now: now.to_utc(),
        policies: Arc::clone(policies),
        halts: halts(recorded).ok_or_else(|| missing("the first step of the trace"))?,
        known: known(recorded).ok_or_else(|| missing("the step `facts` of the trace"))?,
        grounds: grounds(recorded, &request)
            .ok_or_else(|| missing("the step `evidence` of the trace"))?,
    };
    if let Known::Read(readings) = &facts.known {
        let now_ms = facts.now.timestamp_millis();
        let old = readings
            .iter()
            .find(|reading| !reading.is_fresh(policies, now_ms));
        if let Some(old) = old {
            let (kind, id) = (&old.kind, &old.id);
            return Err(format!(
                "the facts of {kind} {id} are older than the policies allow"
            ));
        }
    }
    let outcome = decide(&request, &facts);
    let (outcome, holds) = reserve(&request, &facts, outcome, TTL_SECONDS);
    let (verdict, reason) = match full(recorded.last()) {
        Some(full) => {
            let before = recorded.len().saturating_sub(1);
            let recorded = recorded.get(..before).unwrap_or_default();
            compare(recorded, &steps_of(&outcome, &[]))?;
            (Verdict::Deny, Some(full.reason(&holds)?))
        }
        None => {
            let counters: Vec<Step> = holds.iter().map(Step::counter).collect();
            compare(recorded, &steps_of(&outcome, &counters))?;
            (outcome.verdict, outcome.reason)
        }
    };
    same("the verdict", &record.verdict, verdict.name())?;
    let code = reason.map_or("", |reason| reason.code());
    same("the reason", &record.reasons.join(","), code)?;
    let rules = listed(&outcome.determining).join(",");
    same("the deciding rules", &record.rules.join(","), &rules)?;
    let failed = listed(&outcome.errors).join(",");
    same("the rules that failed", &record.errors.join(","), &failed)?;
    // A token is there exactly where the decision allows.
    let token = |is: bool| if is { "a token" } else { "no token" };
    let (was, is) = (!record.token_id.is_empty(), verdict == Verdict::Allow);
    same("its token", token(was), token(is))
}

#[cfg(test)]
mod tests;
