//! Slack's messages: 200 whatever happened, `ok` says what; no idempotency; a rate for each channel.
//! <https://docs.slack.dev/reference/methods/chat.postMessage>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json as Body, Router};
use serde_json::{Value as Json, json};

use super::{Served, bearer, pairs};

pub const TOKEN: &str = "xoxb-0123456789-0123456789012-abcdefghijklmnop";
/// What the token may do, as Slack says in a header of every answer.
const SCOPES: &str = "chat:write,channels:read,channels:history";
/// What stands for a message of blocks alone where those are not shown.
const NO_TEXT: &str = "This content can't be displayed.";
/// Longest text of a section.
const TEXT_MAX: usize = 3_000;

/// What it holds.
#[derive(Debug, Default)]
pub struct Held {
    /// Name, and whether it is archived, by id.
    channels: BTreeMap<&'static str, (&'static str, bool)>,
    /// Messages by channel, oldest first.
    pub messages: BTreeMap<String, Vec<Json>>,
    /// So many messages are answered with 429 and a time.
    pub limited: u32,
}

/// The vendor.
#[derive(Debug, Clone)]
pub struct Slack {
    pub served: Served,
    held: Arc<Mutex<Held>>,
}

type Shared = Arc<Mutex<Held>>;

impl Slack {
    /// With the channels `C0000SALES` and `C0000GONE1`, which is archived.
    pub async fn start() -> Self {
        let channels = BTreeMap::from([
            ("C0000SALES", ("sales", false)),
            ("C0000GONE1", ("gone", true)),
        ]);
        let held = Arc::new(Mutex::new(Held {
            channels,
            ..Held::default()
        }));
        let app = Router::new()
            .route("/api/auth.test", post(test))
            .route("/api/conversations.info", get(info).post(info))
            .route("/api/conversations.history", get(history).post(history))
            .route("/api/chat.postMessage", post(message))
            .with_state(Arc::clone(&held));
        Self {
            served: Served::start(app).await,
            held,
        }
    }

    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }
}

fn no(error: &str) -> Response {
    Body(json!({"ok": false, "error": error})).into_response()
}

fn stranger(headers: &HeaderMap) -> Option<Response> {
    match bearer(headers) {
        "" => Some(no("not_authed")),
        token if token == TOKEN => None,
        _ => Some(no("invalid_auth")),
    }
}

async fn test(headers: HeaderMap) -> Response {
    let body = json!({"ok": true, "url": "https://acme.slack.com/", "team": "acme", "user": "writ", "team_id": "T1", "user_id": "U01WRIT"});
    let scopes = [("x-oauth-scopes", SCOPES)];
    stranger(&headers).unwrap_or_else(|| (scopes, Body(body)).into_response())
}

/// The parameters of a query and of a form.
fn given(uri: &Uri, body: &str) -> BTreeMap<String, String> {
    let query = pairs(uri.query().unwrap_or_default());
    query.into_iter().chain(pairs(body)).collect()
}

async fn info(State(held): State<Shared>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    if let Some(refused) = stranger(&headers) {
        return refused;
    }
    let given = given(&uri, &body);
    let id = given.get("channel").map_or("", String::as_str);
    match held.lock().unwrap().channels.get(id) {
        Some((name, archived)) => {
            let channel = json!({"id": id, "name": name, "is_channel": true, "is_archived": archived, "created": 1_700_000_000});
            Body(json!({"ok": true, "channel": channel})).into_response()
        }
        None => no("channel_not_found"),
    }
}

async fn history(
    State(held): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    if let Some(refused) = stranger(&headers) {
        return refused;
    }
    let given = given(&uri, &body);
    let id = given.get("channel").map_or("", String::as_str);
    let held = held.lock().unwrap();
    if !held.channels.contains_key(id) {
        return no("channel_not_found");
    }
    let limit = given.get("limit").and_then(|text| text.parse().ok());
    let limit: usize = limit.unwrap_or(100);
    let with_metadata = given
        .get("include_all_metadata")
        .is_some_and(|word| ["true", "1"].contains(&word.as_str()));
    let all = held.messages.get(id).cloned().unwrap_or_default();
    let more = all.len() > limit;
    let mut page: Vec<Json> = all.into_iter().rev().take(limit).collect();
    if !with_metadata {
        for message in page.iter_mut().filter_map(Json::as_object_mut) {
            message.remove("metadata");
        }
    }
    Body(json!({"ok": true, "messages": page, "has_more": more, "pin_count": 0})).into_response()
}

/// What Slack finds wrong with a message.
fn flaw(held: &Held, body: &Json) -> Option<&'static str> {
    let channel = body["channel"].as_str().unwrap_or_default();
    let Some((_, archived)) = held.channels.get(channel) else {
        return Some("channel_not_found");
    };
    if *archived {
        return Some("is_archived");
    }
    let said = |body: &Json| body.as_str().is_some_and(|text| !text.is_empty());
    let blocks = body["blocks"].as_array();
    let long = blocks.into_iter().flatten().any(|block| {
        let text = block.pointer("/text/text").and_then(Json::as_str);
        text.is_none_or(|text| text.is_empty() || text.chars().count() > TEXT_MAX)
    });
    if long {
        return Some("invalid_blocks");
    }
    (!said(&body["text"]) && body["blocks"].is_null()).then_some("no_text")
}

async fn message(
    State(held): State<Shared>,
    headers: HeaderMap,
    Body(body): Body<Json>,
) -> Response {
    if let Some(refused) = stranger(&headers) {
        return refused;
    }
    let mut held = held.lock().unwrap();
    if held.limited > 0 {
        held.limited -= 1;
        let mut limited = (StatusCode::TOO_MANY_REQUESTS, no("ratelimited")).into_response();
        let wait = HeaderValue::from_static("30");
        limited.headers_mut().insert(header::RETRY_AFTER, wait);
        return limited;
    }
    if let Some(flaw) = flaw(&held, &body) {
        return no(flaw);
    }
    let channel = body["channel"].as_str().unwrap_or_default().to_owned();
    let own = held.messages.entry(channel.clone()).or_default();
    let ts = format!("1795000000.{:06}", own.len() + 1);
    let mut kept = json!({"type": "message", "user": "U01WRIT", "bot_id": "B01WRIT", "ts": ts, "text": body["text"].as_str().unwrap_or(NO_TEXT)});
    for member in ["blocks", "metadata"]
        .into_iter()
        .filter(|member| !body[*member].is_null())
    {
        kept[member] = body[member].clone();
    }
    own.push(kept.clone());
    // The archived description of the answer is older than metadata.
    kept.as_object_mut().unwrap().remove("metadata");
    Body(json!({"ok": true, "channel": channel, "ts": ts, "message": kept})).into_response()
}
