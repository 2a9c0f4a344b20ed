//! What a denial says is allowed instead, in the form in which it is asked for.

use serde_json::{Value as Json, json};
use writ_proto::pb;

/// The request that is allowed, as `request_authorization` takes it.
pub(crate) fn offered(offer: &pb::CounterOffer) -> Option<Json> {
    let call = offer.call.as_ref()?;
    let Some(pb::action_call::Arguments::ArgsJson(text)) = &call.arguments else {
        return None;
    };
    let arguments: Json = serde_json::from_str(text).ok()?;
    let mode = if call.mode == i32::from(pb::Mode::Execute) {
        "execute"
    } else {
        "dry_run"
    };
    let mut request = json!({
        "action": call.action,
        "target_id": call.target.as_ref().map(|target| &target.id),
        "arguments": arguments,
        "mode": mode,
    });
    if let (Some(version), Json::Object(members)) = (&call.precondition, &mut request) {
        members.insert("precondition".to_owned(), json!(version));
    }
    Some(json!({"message": offer.sentence, "request": request}))
}

/// Whether it is of use to ask again; nothing is said of what is allowed.
pub(crate) fn retry(retry: i32) -> Option<&'static str> {
    match pb::Retry::try_from(retry) {
        Ok(pb::Retry::DoNot) => Some("do_not"),
        Ok(pb::Retry::Changed) => Some("changed"),
        Ok(pb::Retry::Later) => Some("later"),
        Ok(pb::Retry::Unspecified) | Err(_) => None,
    }
}
