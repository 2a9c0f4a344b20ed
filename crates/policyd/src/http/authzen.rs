//! The `AuthZEN` Authorization API 1.0 (`OpenID`): one evaluation, several, and where they are. Who asks is
//! the client certificate, so the subject of an evaluation can only be the caller. What is evaluated is
//! recorded like any other request; a token is given only where it is asked for.

mod reading;

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};
use writ_proto::Reason;
use writ_proto::host::serve::rate::Pace;
use writ_proto::limits::{BATCH_ITEMS_MAX, MESSAGE_BYTES_MAX};
use writ_proto::value::{Map, Value};

use crate::app::ask::authorize::Answer;
use crate::clock;
use crate::error::AppError;
use crate::grpc::authorization::{Agent, Authorization};
use reading::{asked, body, object, text};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The connection that is meant where none is named.
const CONNECTION: &str = "crm/main";

/// The routes.
pub fn routes(authorization: Authorization) -> Router {
    Router::new()
        .route("/.well-known/authzen-configuration", get(configuration))
        .route(EVALUATION, post(evaluation))
        .route(EVALUATIONS, post(evaluations))
        .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
        .with_state(authorization)
}

async fn configuration(uri: axum::http::Uri, headers: HeaderMap) -> Response {
    let named = uri.authority().map(ToString::to_string);
    let host = || headers.get(header::HOST)?.to_str().ok().map(str::to_owned);
    let base = format!("https://{}", named.or_else(host).unwrap_or_default());
    axum::Json(json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}{EVALUATION}"),
        "access_evaluations_endpoint": format!("{base}{EVALUATIONS}"),
    }))
    .into_response()
}

/// The HTTP status of an error: what is wrong with the request is 400.
fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::Unauthenticated => StatusCode::UNAUTHORIZED,
        Reason::AgentRequired => StatusCode::FORBIDDEN,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::StoreUnavailable
        | Reason::StoreRestored
        | Reason::DiskReserve
        | Reason::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Reason::StoreCorrupt | Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn told(error: &AppError) -> Json {
    json!({"reason": error.reason.code(), "message": error.public, "fix": error.fix()})
}

fn malformed(why: impl Into<String>) -> AppError {
    AppError::new(Reason::RequestMalformed, why)
}

/// Longest time of an answer; the server ends the call soon after, in the words of gRPC.
const ANSWER_MAX: Duration = Duration::from_secs(5);

async fn in_time(answer: impl Future<Output = Result<Json, AppError>>) -> Result<Json, AppError> {
    let answered = tokio::time::timeout(ANSWER_MAX, answer).await;
    answered.unwrap_or_else(|_| Err(AppError::of(Reason::Unavailable)))
}

/// An answer with the id that the caller gave its request.
fn answered(headers: &HeaderMap, result: Result<Json, AppError>) -> Response {
    let mut response = match result {
        Ok(body) => axum::Json(body).into_response(),
        Err(error) => (status(error.reason), axum::Json(told(&error))).into_response(),
    };
    if let Some(id) = headers.get(&REQUEST_ID) {
        response
            .headers_mut()
            .insert(REQUEST_ID, HeaderValue::clone(id));
    }
    response
}

fn decision(answer: &Answer, wants_token: bool) -> Json {
    let decided = &answer.decided;
    // What was allowed once is asked for again under the same id: it may be over.
    let alive = decided.expires > clock::now().timestamp();
    let token = answer.token.as_ref().filter(|_| alive);
    let expired = answer.token.is_some() && !alive;
    let reason = if expired {
        Reason::TokenExpired.code()
    } else {
        &decided.reason_code
    };
    let at = chrono::DateTime::from_timestamp_millis(decided.created_ms).unwrap_or_default();
    let mut context = json!({
        "evaluation_id": decided.id,
        "evaluated_at": at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "verdict": decided.verdict,
        "reason": reason,
        "message": decided.message,
        "remedy": decided.remedy,
    });
    if let Some(fields) = context.as_object_mut().filter(|_| answer.token.is_some()) {
        fields.insert("expires".to_owned(), json!(decided.expires));
    }
    let shown = token.filter(|_| wants_token);
    if let (Some(token), Some(fields)) = (shown, context.as_object_mut()) {
        let token = URL_SAFE_NO_PAD.encode(token);
        fields.insert("decision_token".to_owned(), json!(token));
    }
    json!({"decision": token.is_some(), "context": context})
}

async fn evaluated(
    authorization: &Authorization,
    agent: &Agent,
    of: &Map,
) -> Result<Json, AppError> {
    let asked = match asked(of, agent) {
        Ok(asked) => asked,
        Err(error) => {
            let action = object(of, "action").ok().flatten();
            let named = action.and_then(|action| action.get("name"));
            let named = named.and_then(Value::as_text).unwrap_or_default();
            return Err(authorization
                .unreadable_in_turn((agent, named), error)
                .await);
        }
    };
    if asked.subject != agent.1.as_str() {
        let error = AppError::new(
            Reason::AgentRequired,
            "subject.id: an agent asks for itself, and the client certificate says which one it is",
        );
        let action = asked.request.call.as_ref();
        let named = action.map_or("", |call| call.action.as_str());
        let error = authorization
            .unreadable_in_turn((agent, named), error)
            .await;
        return Ok(json!({"decision": false, "context": told(&error)}));
    }
    let answer = authorization.decide(asked.request, agent.clone()).await?;
    Ok(decision(&answer, asked.wants_token))
}

async fn evaluation(
    State(authorization): State<Authorization>,
    extensions: Extensions,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let result = in_time(async {
        let agent = authorization.authn.agent_of(&extensions)?;
        match body(&headers, &bytes) {
            Ok(body) => evaluated(&authorization, &agent, &body).await,
            Err(error) => Err(authorization.unreadable_in_turn((&agent, ""), error).await),
        }
    });
    answered(&headers, Box::pin(result).await)
}

/// The keys of an evaluation; each of a batch has its own or that of all.
const PARTS: [&str; 4] = ["subject", "action", "resource", "context"];

/// When a batch ends before its last evaluation.
fn ends_at(body: &Map) -> Result<Option<bool>, AppError> {
    let options = object(body, "options")?;
    let semantic = options.map(|options| text(options, "options.evaluations_semantic"));
    match semantic.transpose()?.flatten() {
        None | Some("execute_all") => Ok(None),
        Some("deny_on_first_deny") => Ok(Some(false)),
        Some("permit_on_first_permit") => Ok(Some(true)),
        Some(other) => Err(malformed(format!(
            "options.evaluations_semantic: `{other}` is none of execute_all, deny_on_first_deny, \
             permit_on_first_permit"
        ))),
    }
}

/// The evaluations of a batch, and what the last one says, if it ends before all are done.
type Batch<'a> = (&'a [Value], Option<bool>);

/// The batch of a body; none where it is a single evaluation.
fn batch(body: &Map) -> Result<Option<Batch<'_>>, AppError> {
    let items = match body.get("evaluations") {
        None => return Ok(None),
        Some(Value::List(items)) if items.is_empty() => return Ok(None),
        Some(Value::List(items)) => items.as_slice(),
        Some(_) => return Err(malformed("evaluations: a list is wanted")),
    };
    if items.len() > BATCH_ITEMS_MAX {
        let message = format!("evaluations: at most {BATCH_ITEMS_MAX}");
        return Err(AppError::new(Reason::RequestTooLarge, message));
    }
    let end = ends_at(body)?;
    // Before the first is decided: a batch that is refused has no effect.
    if items.iter().any(|item| !matches!(item, Value::Map(_))) {
        return Err(malformed("evaluations: each is an object"));
    }
    Ok(Some((items, end)))
}

async fn all(
    authorization: &Authorization,
    (agent, pace): (&Agent, Pace),
    body: &Map,
) -> Result<Json, AppError> {
    let (items, end) = match batch(body) {
        Ok(Some(batch)) => batch,
        Ok(None) => return evaluated(authorization, agent, body).await,
        Err(error) => return Err(authorization.unreadable_in_turn((agent, ""), error).await),
    };
    let more = u32::try_from(items.len().saturating_sub(1)).unwrap_or(u32::MAX);
    if pace.spend(more).await.is_err() {
        return Err(AppError::of(Reason::RateLimited));
    }
    let mut done = Vec::with_capacity(items.len());
    for item in items {
        let Value::Map(own) = item else { continue };
        let mut whole = Map::default();
        for part in PARTS {
            if let Some(value) = own.get(part).or_else(|| body.get(part)) {
                whole.set(part, value.clone());
            }
        }
        // What is wrong with one is told in its place, and is no permission.
        let one = evaluated(authorization, agent, &whole).await;
        let one = one.unwrap_or_else(|error| {
            let status = status(error.reason).as_u16();
            let error = json!({"status": status, "message": error.public});
            json!({"decision": false, "context": {"error": error}})
        });
        let permitted = one.get("decision") == Some(&Json::Bool(true));
        done.push(one);
        if end == Some(permitted) {
            break;
        }
    }
    Ok(json!({"evaluations": done}))
}

async fn evaluations(
    State(authorization): State<Authorization>,
    extensions: Extensions,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let result = in_time(async {
        let agent = authorization.authn.agent_of(&extensions)?;
        let pace = extensions.get::<Pace>().cloned().unwrap_or_default();
        match body(&headers, &bytes) {
            Ok(body) => all(&authorization, (&agent, pace), &body).await,
            Err(error) => Err(authorization.unreadable_in_turn((&agent, ""), error).await),
        }
    });
    answered(&headers, Box::pin(result).await)
}

#[cfg(test)]
mod tests;
