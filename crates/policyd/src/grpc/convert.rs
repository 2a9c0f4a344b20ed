//! Wire types to ours and back. Every field of a request is named here, so that one that is added
//! to the proto breaks the build instead of being ignored.

mod evidence;
pub(crate) mod reported;

use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId, ConnectionId, RequestId, RunId, TenantId};
use writ_proto::limits::{
    IDENT_BYTES_MAX, PRECONDITION_BYTES_MAX, REASON_BYTES_MAX, TOOL_ANSWER_BYTES_MAX,
};
use writ_proto::pb;
use writ_proto::token::{Mode, UnverifiedToken};
use writ_proto::value::{args_from_cbor, args_from_json};

use crate::app::ask::authorize::Answer;
use crate::app::ask::decided::Decided;
use crate::app::ask::offers::Offered;
use crate::domain::approval;
use crate::domain::decide::counter_offer::{Retry, retry_of};
use crate::domain::request::{Provenance, Request};
use crate::error::AppError;

fn malformed(what: impl Into<String>) -> AppError {
    AppError::new(Reason::RequestMalformed, what)
}

fn within(name: &str, text: &str, most: usize) -> Result<(), AppError> {
    if text.len() <= most {
        return Ok(());
    }
    let message = format!("{name}: {} bytes, at most {most}", text.len());
    Err(AppError::new(Reason::RequestTooLarge, message))
}

/// An authorization request of an authenticated agent.
///
/// # Errors
/// The first field that is missing, malformed or too large.
pub fn request(
    message: pb::AuthorizeRequest,
    (caller_tenant, agent, cert_sha256): (TenantId, AgentId, [u8; 32]),
) -> Result<Request, AppError> {
    let pb::AuthorizeRequest {
        parent,
        request_id,
        validate_only: _,
        call,
        reason,
        evidence,
        traceparent,
        run_id,
        confidence_percent,
        again,
        provenance,
    } = message;
    let tenant = parent
        .strip_prefix("tenants/")
        .ok_or_else(|| malformed("parent: tenants/{t}"))?;
    let tenant = TenantId::parse(tenant).map_err(|error| malformed(error.to_string()))?;
    let call = call.ok_or_else(|| malformed("call is missing"))?;
    let pb::ActionCall {
        connection,
        action,
        target,
        mode,
        precondition,
        arguments,
    } = call;
    within("reason", &reason, REASON_BYTES_MAX)?;
    within(
        "precondition",
        precondition.as_deref().unwrap_or_default(),
        PRECONDITION_BYTES_MAX,
    )?;
    for (name, text) in [
        ("reason", reason.as_str()),
        ("precondition", precondition.as_deref().unwrap_or_default()),
    ] {
        if text.contains('\0') {
            return Err(malformed(format!("{name}: it holds U+0000")));
        }
    }
    ConnectionId::parse(&connection).map_err(|error| malformed(error.to_string()))?;
    let args = match arguments {
        Some(pb::action_call::Arguments::ArgsJson(text)) => args_from_json(&text),
        Some(pb::action_call::Arguments::ArgsCbor(bytes)) => args_from_cbor(&bytes),
        None => return Err(malformed("arguments are missing")),
    };
    let args = args.map_err(|error| AppError::new(error.reason, error.to_string()))?;
    let evidence = evidence::read(evidence, (&connection, &args))?;
    Ok(Request {
        caller_tenant,
        agent,
        cert_sha256: Some(cert_sha256),
        tenant,
        request_id: RequestId::parse(&request_id).map_err(|error| malformed(error.to_string()))?,
        connection,
        action: ActionName::parse(&action).map_err(|error| malformed(error.to_string()))?,
        target: target.map(self::target).transpose()?,
        // Spaces are no reason, and policies compare with the empty text.
        reason: reason.trim().to_owned(),
        evidence,
        args_cbor: args.encode(),
        args,
        precondition,
        mode: self::mode(mode)?,
        confidence: confidence_percent.map(confidence).transpose()?,
        trace_id: trace_id(&traceparent),
        run: run(&run_id)?,
        provenance: self::provenance(provenance.unwrap_or_default())?,
        again,
    })
}

/// A run id; empty is none.
///
/// # Errors
/// When it has the wrong form.
pub fn run(text: &str) -> Result<Option<RunId>, AppError> {
    let parsed = (!text.is_empty()).then(|| RunId::parse(text)).transpose();
    parsed.map_err(|error| malformed(error.to_string()))
}

fn target(target: pb::Target) -> Result<(String, String), AppError> {
    let pb::Target { r#type, id } = target;
    for (name, text) in [("target.type", &r#type), ("target.id", &id)] {
        within(name, text, IDENT_BYTES_MAX)?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed(format!(
                "{name}: 1 to 128 printable ASCII characters"
            )));
        }
    }
    Ok((r#type, id))
}

fn mode(mode: i32) -> Result<Mode, AppError> {
    match pb::Mode::try_from(mode) {
        Ok(pb::Mode::Unspecified | pb::Mode::DryRun) => Ok(Mode::DryRun),
        Ok(pb::Mode::Execute) => Ok(Mode::Execute),
        Err(_) => Err(malformed("mode is not known")),
    }
}

fn confidence(percent: u32) -> Result<u8, AppError> {
    let found = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
    found.ok_or_else(|| malformed("confidence_percent: 0 to 100"))
}

/// A SHA-256 digest; empty is none.
fn digest(name: &str, bytes: Vec<u8>) -> Result<Option<[u8; 32]>, AppError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let digest = bytes.try_into().map(Some);
    digest.map_err(|_| malformed(format!("{name}: 32 bytes, or none")))
}

fn provenance(said: pb::Provenance) -> Result<Provenance, AppError> {
    let pb::Provenance {
        initiator,
        prompt_sha256,
        model,
        tool_answer,
    } = said;
    for (name, text, most) in [
        ("provenance.initiator", &initiator, IDENT_BYTES_MAX),
        ("provenance.model", &model, IDENT_BYTES_MAX),
        (
            "provenance.tool_answer",
            &tool_answer,
            TOOL_ANSWER_BYTES_MAX,
        ),
    ] {
        within(name, text, most)?;
        if text.contains('\0') {
            return Err(malformed(format!("{name}: it holds U+0000")));
        }
    }
    Ok(Provenance {
        initiator,
        prompt_sha256: digest("provenance.prompt_sha256", prompt_sha256)?,
        model,
        tool_answer,
    })
}

/// W3C traceparent, version 00; anything else counts as absent.
fn trace_id(traceparent: &str) -> Option<[u8; 16]> {
    let mut parts = traceparent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let lower = trace
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if version != "00" || trace.len() != 32 || !lower {
        return None;
    }
    let bytes: [u8; 16] = hex::decode(trace).ok()?.try_into().ok()?;
    (bytes != [0; 16]).then_some(bytes)
}

/// A decision for the wire.
#[must_use]
pub fn decision(answer: Answer) -> pb::Decision {
    let Answer {
        decided,
        token,
        cancelled,
    } = answer;
    let verdict = match decided.verdict.as_str() {
        "ALLOW" => pb::Verdict::Allow,
        "REQUIRE_APPROVAL" => pb::Verdict::RequireApproval,
        _ => pb::Verdict::Deny,
    };
    let waits = verdict == pb::Verdict::RequireApproval;
    let retry = retry(&decided);
    let name = match decided.id.as_str() {
        "" => String::new(),
        id => format!("tenants/{}/decisions/{id}", decided.tenant),
    };
    let seconds = |seconds: i64| prost_types::Timestamp { seconds, nanos: 0 };
    pb::Decision {
        name,
        verdict: verdict.into(),
        reason_code: decided.reason_code,
        message: decided.message,
        remedy: decided.remedy,
        rule_ids: decided.rules,
        policy_version: decided.policy_version,
        request_hash: decided.request_hash,
        expire_time: if waits {
            let end = approval::ends(decided.expires, decided.created_ms);
            Some(seconds(end))
        } else {
            token.is_some().then(|| seconds(decided.expires))
        },
        token: token.unwrap_or_default(),
        poll_after: (waits && !cancelled).then_some(prost_types::Duration {
            seconds: 15,
            nanos: 0,
        }),
        args_cbor: decided.args_cbor,
        state: match (waits, cancelled) {
            (true, true) => pb::DecisionState::Cancelled,
            (true, false) => pb::DecisionState::Pending,
            (false, _) => pb::DecisionState::Final,
        }
        .into(),
        create_time: Some(seconds(decided.created_ms.div_euclid(1_000))),
        agent: decided.agent,
        action: decided.action,
        retry: retry.into(),
        counter_offer: decided.offer.map(counter_offer),
        call: None,
    }
}

fn retry(decided: &Decided) -> pb::Retry {
    let Some(reason) = Reason::from_code(&decided.reason_code) else {
        return pb::Retry::Unspecified;
    };
    match retry_of(reason, decided.remedy != reason.fix()) {
        Retry::DoNot => pb::Retry::DoNot,
        Retry::Changed => pb::Retry::Changed,
        Retry::Later => pb::Retry::Later,
    }
}

fn counter_offer(offer: Offered) -> pb::CounterOffer {
    let Offered {
        connection,
        action,
        target,
        args_json,
        mode,
        precondition,
        sentence,
    } = offer;
    let mode = match mode {
        1 => pb::Mode::Execute,
        _ => pb::Mode::DryRun,
    };
    let call = pb::ActionCall {
        connection,
        action,
        target: target.map(|(r#type, id)| pb::Target { r#type, id }),
        mode: mode.into(),
        precondition,
        arguments: Some(pb::action_call::Arguments::ArgsJson(args_json)),
    };
    pb::CounterOffer {
        call: Some(call),
        sentence,
    }
}

/// A decision that was asked for by its id, with the call that its token is for.
#[must_use]
pub fn found(answer: Answer) -> pb::Decision {
    let precondition = answer.decided.precondition.clone();
    let mut decision = decision(answer);
    // We signed it ourselves; nothing is decided from what is read here.
    let claims = UnverifiedToken::new(&decision.token).inspect_unverified();
    decision.call = claims.ok().map(|(claims, _)| pb::ActionCall {
        connection: claims.connection,
        action: claims.action,
        target: claims.target.map(|(r#type, id)| pb::Target { r#type, id }),
        mode: match claims.mode {
            Mode::DryRun => pb::Mode::DryRun,
            Mode::Execute => pb::Mode::Execute,
        }
        .into(),
        precondition,
        arguments: Some(pb::action_call::Arguments::ArgsCbor(
            decision.args_cbor.clone(),
        )),
    });
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: fn(&mut pb::AuthorizeRequest)) -> Result<Request, Reason> {
        let mut message = pb::AuthorizeRequest {
            parent: "tenants/acme".into(),
            request_id: "01940000-0000-7000-8000-00000000000a".into(),
            call: Some(pb::ActionCall {
                connection: "crm/main".into(),
                action: "refund".into(),
                arguments: Some(pb::action_call::Arguments::ArgsJson("{}".into())),
                ..pb::ActionCall::default()
            }),
            ..pb::AuthorizeRequest::default()
        };
        change(&mut message);
        let caller = (
            TenantId::parse("acme").unwrap(),
            AgentId::parse("triage").unwrap(),
            [1; 32],
        );
        request(message, caller).map_err(|error| error.reason)
    }

    #[test]
    fn a_request_holds_no_nul_and_spaces_are_no_reason() {
        let odd: [fn(&mut pb::AuthorizeRequest); 3] = [
            |own| own.reason = "a\0b".into(),
            |own| own.call.as_mut().unwrap().precondition = Some("v\0".into()),
            |own| {
                own.evidence = vec![pb::Evidence {
                    quote: "a\0b".into(),
                    ..pb::Evidence::default()
                }];
            },
        ];
        for change in odd {
            assert_eq!(read(change).unwrap_err(), Reason::RequestMalformed);
        }
        assert_eq!(read(|own| own.reason = " \n".into()).unwrap().reason, "");
    }

    #[test]
    fn only_a_trace_id_that_is_one_is_kept() {
        let (one, none) = ("4bf92f3577b34da6a3ce929d0e0e4736", "0".repeat(32));
        assert!(trace_id(&format!("00-{one}-00f067aa0ba902b7-01")).is_some());
        for text in [
            format!("01-{one}-00f067aa0ba902b7-01"),
            format!("00-{none}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", one.to_uppercase()),
            String::new(),
        ] {
            assert_eq!(trace_id(&text), None, "{text}");
        }
    }
}
