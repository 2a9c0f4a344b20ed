//! Zendesk's tickets: safe updates by a stamp, closed tickets that nothing changes, fields that are not known and are
//! left out without a word. <https://developer.zendesk.com/api-reference/ticketing>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json as Body, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::Served;

/// User and token, as a credential of two parts.
pub const SECRET: &str = "writ@acme.example:0123456789abcdefghijklmnopqrstuv";
const STATUSES: [&str; 6] = ["new", "open", "pending", "hold", "solved", "closed"];
/// What of a ticket can be changed.
const FIELDS: [&str; 6] = [
    "status",
    "priority",
    "subject",
    "tags",
    "assignee_id",
    "custom_fields",
];

/// What it holds.
#[derive(Debug, Default)]
pub struct Held {
    pub tickets: BTreeMap<u64, Json>,
    pub comments: BTreeMap<u64, Vec<Json>>,
    /// So many requests are answered with 429 and a time.
    pub limited: u32,
    ticks: u64,
}

/// The vendor.
#[derive(Debug, Clone)]
pub struct Zendesk {
    pub served: Served,
    held: Arc<Mutex<Held>>,
}

type Shared = Arc<Mutex<Held>>;

impl Zendesk {
    /// With tickets 35 (open) and 36 (closed).
    pub async fn start() -> Self {
        let held = Held {
            tickets: BTreeMap::from([(35, ticket(35, "open")), (36, ticket(36, "closed"))]),
            ..Held::default()
        };
        let held = Arc::new(Mutex::new(held));
        let app = Router::new()
            .route("/api/v2/users/me.json", get(me))
            .route("/api/v2/tickets/{id}", get(one).put(change))
            .route("/api/v2/tickets/{id}/comments", get(comments))
            .route("/api/v2/tickets/{id}/comments.json", get(comments))
            .fallback(nowhere)
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

impl Held {
    /// Somebody says something on a ticket.
    pub fn comment(&mut self, id: u64, public: bool, text: &str) {
        let own = self.comments.entry(id).or_default();
        own.push(json!({"id": 8_000 + own.len(), "type": "Comment", "author_id": 7, "body": text, "public": public,
            "html_body": text, "plain_body": text, "created_at": "2026-11-02T08:00:00Z", "attachments": [], "audit_id": 1}));
    }

    /// A later moment, to the second as Zendesk writes it.
    fn now(&mut self) -> String {
        self.ticks += 1;
        let at =
            chrono::DateTime::from_timestamp(1_795_000_000 + i64::try_from(self.ticks).unwrap(), 0);
        at.unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// A person's edit.
    pub fn edit(&mut self, id: u64, field: &str, value: Json) {
        let now = self.now();
        let ticket = self.tickets.get_mut(&id).unwrap();
        ticket[field] = value;
        ticket["updated_at"] = now.into();
    }
}

fn ticket(id: u64, status: &str) -> Json {
    json!({
        "id": id, "url": format!("https://acme.zendesk.com/api/v2/tickets/{id}.json"), "subject": "Late delivery",
        "description": "It is late", "status": status, "priority": "normal", "type": "question", "tags": ["delivery"],
        "requester_id": 20_978_392_u64, "submitter_id": 76_872_u64, "assignee_id": 235_323_u64, "group_id": 98_738_u64,
        "organization_id": null, "external_id": null, "is_public": true, "has_incidents": false,
        "custom_status_id": 7, "custom_fields": [{"id": 42, "value": null}], "created_at": "2026-11-01T08:00:00Z", "updated_at": "2026-11-02T08:00:00Z",
    })
}

fn error(status: u16, error: &str, description: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (
        status,
        Body(json!({"error": error, "description": description})),
    )
        .into_response()
}

fn missing() -> Response {
    error(404, "RecordNotFound", "Not found")
}

async fn nowhere() -> Response {
    error(404, "InvalidEndpoint", "Not found")
}

/// Who may not, and when there is too much.
fn refused(held: &mut Held, headers: &HeaderMap) -> Option<Response> {
    let (user, token) = SECRET.split_once(':').unwrap();
    let wanted = format!("Basic {}", STANDARD.encode(format!("{user}/token:{token}")));
    let given = headers.get(header::AUTHORIZATION);
    if given.is_none_or(|given| given.as_bytes() != wanted.as_bytes()) {
        return Some(error(401, "Couldn't authenticate you", ""));
    }
    if held.limited > 0 {
        held.limited -= 1;
        let mut limited = error(
            429,
            "APIRateLimitExceeded",
            "Number of allowed API requests per minute exceeded",
        );
        let wait = HeaderValue::from_static("7");
        limited.headers_mut().insert(header::RETRY_AFTER, wait);
        return Some(limited);
    }
    None
}

async fn me(State(held): State<Shared>, headers: HeaderMap) -> Response {
    let refused = refused(&mut held.lock().unwrap(), &headers);
    let body =
        json!({"user": {"id": 1, "email": "writ@acme.example", "role": "agent", "name": "Writ"}});
    refused.unwrap_or_else(|| Body(body).into_response())
}

async fn one(State(held): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    match number(&id).and_then(|id| held.tickets.get(&id)) {
        Some(ticket) => Body(json!({ "ticket": ticket })).into_response(),
        None => missing(),
    }
}

/// `35` and `35.json`.
fn number(id: &str) -> Option<u64> {
    id.strip_suffix(".json").unwrap_or(id).parse().ok()
}

async fn comments(
    State(held): State<Shared>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    let Some(id) = number(&id).filter(|id| held.tickets.contains_key(id)) else {
        return missing();
    };
    let mut all = held.comments.get(&id).cloned().unwrap_or_default();
    if uri
        .query()
        .is_some_and(|query| query.contains("sort_order=desc"))
    {
        all.reverse();
    }
    let body =
        json!({"count": all.len(), "comments": all, "next_page": null, "previous_page": null});
    Body(body).into_response()
}

fn invalid(field: &str, why: &str) -> Response {
    let details = json!({field: [{"description": why, "error": "InvalidValue"}]});
    let body = json!({"error": "RecordInvalid", "description": "Record validation errors", "details": details});
    (StatusCode::UNPROCESSABLE_ENTITY, Body(body)).into_response()
}

/// What of a wish the ticket cannot be.
fn flaw(ticket: &Json, wish: &Json) -> Option<Response> {
    if ticket["status"] == "closed" {
        return Some(invalid("status", "Status: closed prevents ticket update"));
    }
    let status = wish.get("status")?;
    let known = status
        .as_str()
        .is_some_and(|status| STATUSES.contains(&status));
    (!known).then(|| invalid("status", "Status: is not included in the list"))
}

async fn change(
    State(held): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(body): Body<Json>,
) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    let Some(id) = number(&id) else {
        return missing();
    };
    let Some(ticket) = held.tickets.get(&id).cloned() else {
        return missing();
    };
    let wish = &body["ticket"];
    // A value of false means the same as true.
    if wish.get("safe_update").is_some() && wish["updated_stamp"] != ticket["updated_at"] {
        let why = "Safe Update prevented the update due to outdated ticket data. Please fetch the latest ticket data and try again.";
        return error(409, "UpdateConflict", why);
    }
    if let Some(flaw) = flaw(&ticket, wish) {
        return flaw;
    }
    let audit_id = 2_127_301_143_u64 + held.ticks;
    let (after, mut events) = changed(&ticket, wish);
    if let Some(text) = wish.pointer("/comment/body").and_then(Json::as_str) {
        let public = wish
            .pointer("/comment/public")
            .and_then(Json::as_bool)
            .unwrap_or(true);
        let own = held.comments.entry(id).or_default();
        let comment = json!({"id": 9_000 + own.len(), "type": "Comment", "author_id": 1, "body": text, "public": public,
            "html_body": text, "plain_body": text, "created_at": "2026-11-02T08:00:00Z", "attachments": [], "audit_id": audit_id});
        events.push(json!({"id": 9_000 + own.len(), "type": "Comment", "author_id": 1, "body": text, "public": public}));
        own.push(comment);
    }
    let now = held.now();
    let kept = held.tickets.get_mut(&id).unwrap();
    *kept = after;
    if !events.is_empty() {
        kept["updated_at"] = now.into();
    }
    let audit = json!({"id": audit_id, "ticket_id": id, "author_id": 1, "created_at": "2026-11-02T08:00:00Z", "events": events});
    Body(json!({"ticket": held.tickets[&id], "audit": audit})).into_response()
}

/// The ticket after a wish, and an event for each field that it changes.
fn changed(ticket: &Json, wish: &Json) -> (Json, Vec<Json>) {
    let (mut after, mut events) = (ticket.clone(), Vec::new());
    for field in FIELDS {
        let Some(value) = wish.get(field) else {
            continue;
        };
        let before = after[field].clone();
        if field == "custom_fields" {
            for own in value.as_array().into_iter().flatten() {
                let listed = after[field].as_array_mut().into_iter().flatten();
                let kept = listed.into_iter().find(|kept| kept["id"] == own["id"]);
                // One that the ticket form does not have is left out.
                if let Some(kept) = kept {
                    kept["value"] = own["value"].clone();
                }
            }
        } else {
            after[field] = value.clone();
        }
        if after[field] != before {
            events.push(json!({"id": 1, "type": "Change", "field_name": field, "value": after[field], "previous_value": before}));
        }
    }
    (after, events)
}
