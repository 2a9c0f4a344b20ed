//! Reading a request: strictly, and what is not known is ignored.

use axum::http::{HeaderMap, header};
use writ_proto::pb;
use writ_proto::value::{Map, Value, args_from_json};

use super::{CONNECTION, malformed};
use crate::error::AppError;
use crate::grpc::authorization::Agent;
use crate::ids;

/// The body as an object, read by the same strict reader as arguments: no key twice, exact numbers.
pub(super) fn body(headers: &HeaderMap, bytes: &[u8]) -> Result<Map, AppError> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(malformed("Content-Type: application/json is wanted"));
    }
    let text = core::str::from_utf8(bytes).map_err(|_| malformed("the body is not UTF-8"))?;
    args_from_json(text).map_err(|error| AppError::new(error.reason, error.to_string()))
}

pub(super) fn object<'a>(of: &'a Map, name: &str) -> Result<Option<&'a Map>, AppError> {
    match of.get(name) {
        None => Ok(None),
        Some(Value::Map(map)) => Ok(Some(map)),
        Some(_) => Err(malformed(format!("{name}: an object is wanted"))),
    }
}

fn needed<'a>(of: &'a Map, name: &str) -> Result<&'a Map, AppError> {
    object(of, name)?.ok_or_else(|| malformed(format!("{name} is missing")))
}

pub(super) fn text<'a>(of: &'a Map, path: &str) -> Result<Option<&'a str>, AppError> {
    let name = path.rsplit('.').next().unwrap_or(path);
    match of.get(name) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(format!("{path}: a text is wanted"))),
    }
}

fn needed_text<'a>(of: &'a Map, path: &str) -> Result<&'a str, AppError> {
    text(of, path)?.ok_or_else(|| malformed(format!("{path} is missing")))
}

/// One evaluation, as it is asked for.
pub(super) struct Asked {
    pub(super) subject: String,
    pub(super) wants_token: bool,
    pub(super) request: pb::AuthorizeRequest,
}

/// Reads an evaluation. Only what stands in `action.properties.arguments` becomes an argument.
pub(super) fn asked(of: &Map, own: &Agent) -> Result<Asked, AppError> {
    let subject = needed(of, "subject")?;
    needed_text(subject, "subject.type")?;
    let (action, resource) = (needed(of, "action")?, needed(of, "resource")?);
    let (none, context) = (Map::default(), object(of, "context")?);
    let context = context.unwrap_or(&none);
    let properties = object(action, "properties")?.unwrap_or(&none);
    let arguments = object(properties, "arguments")?.unwrap_or(&none);
    let mode = match text(properties, "action.properties.mode")? {
        None | Some("execute") => pb::Mode::Execute,
        Some("dry_run") => pb::Mode::DryRun,
        Some(other) => {
            let why = format!("action.properties.mode: `{other}` is neither execute nor dry_run");
            return Err(malformed(why));
        }
    };
    let own_text = |path: &str| -> Result<String, AppError> {
        Ok(text(context, path)?.unwrap_or_default().to_owned())
    };
    let request_id = own_text("context.request_id")?;
    let connection = text(properties, "action.properties.connection")?;
    let call = pb::ActionCall {
        connection: connection.unwrap_or(CONNECTION).to_owned(),
        action: needed_text(action, "action.name")?.to_owned(),
        target: Some(pb::Target {
            r#type: needed_text(resource, "resource.type")?.to_owned(),
            id: needed_text(resource, "resource.id")?.to_owned(),
        }),
        mode: mode.into(),
        precondition: text(properties, "action.properties.precondition")?.map(str::to_owned),
        arguments: Some(pb::action_call::Arguments::ArgsCbor(arguments.encode())),
    };
    Ok(Asked {
        subject: needed_text(subject, "subject.id")?.to_owned(),
        wants_token: context.get("decision_token") == Some(&Value::Bool(true)),
        request: pb::AuthorizeRequest {
            parent: format!("tenants/{}", own.0),
            request_id: if request_id.is_empty() {
                ids::new_id().to_string()
            } else {
                request_id
            },
            call: Some(call),
            reason: own_text("context.reason")?,
            run_id: own_text("context.run_id")?,
            traceparent: own_text("context.traceparent")?,
            ..pb::AuthorizeRequest::default()
        },
    })
}
