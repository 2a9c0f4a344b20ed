//! Salesforce's opportunities and tasks: tokens that end, writes that are refused if the record changed since a second,
//! composites that answer 200 whatever became of them, limits that are a 403, and upserts by external id.
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/>

mod issuer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch, post};
use axum::{Json as Body, Router};
use serde_json::{Value as Json, json};

use super::{Served, bearer, pairs};
pub use issuer::{CLIENT, Issuer, SECRET};

/// The one opportunity there is.
pub const OPPORTUNITY: &str = "006Hs00000DxQ1aIAF";
const VERSION: &str = "/services/data/v64.0";
/// Fields of an opportunity that can be written, with whether they are texts.
const WRITABLE: [(&str, bool); 6] = [
    ("Name", true),
    ("StageName", true),
    ("Amount", false),
    ("CloseDate", true),
    ("NextStep", true),
    ("Writ_Decision__c", true),
];

/// What it holds.
#[derive(Debug)]
pub struct Held {
    pub issuer: Issuer,
    pub opportunity: BTreeMap<String, Json>,
    /// Milliseconds since 1970 of its last change.
    modified: i64,
    /// Tasks by their external id.
    pub tasks: BTreeMap<String, Json>,
    /// Active values of the stage.
    pub stages: Vec<&'static str>,
    /// So many requests are over the limit.
    pub limited: u32,
    /// So many writes find the row locked.
    pub locked: u32,
    /// So many writes are made and answered with 500.
    pub fails_after: u32,
    /// Whether queries leave their filter out.
    pub ignores_filters: bool,
    /// So many writes find that every session has just ended.
    pub ends_at_write: u32,
    /// Whether no token is taken for anything.
    pub takes_no_token: bool,
    /// Whether no token is taken for a write.
    pub takes_no_write: bool,
}

type Shared = Arc<Mutex<Held>>;

/// The vendor.
#[derive(Debug, Clone)]
pub struct Salesforce {
    pub served: Served,
    held: Shared,
}

impl Salesforce {
    pub async fn start() -> Self {
        let opportunity = json!({"Name": "Renewal", "StageName": "Prospecting", "Amount": 1500.5, "CloseDate": "2026-12-31",
            "NextStep": null, "OwnerId": "005Hs00000AbCdEIAV", "IsClosed": false, "Writ_Decision__c": null});
        let held = Held {
            issuer: Issuer::default(),
            opportunity: serde_json::from_value(opportunity).unwrap(),
            modified: 1_795_000_000_250,
            tasks: BTreeMap::new(),
            stages: vec!["Prospecting", "Qualification", "Closed Won"],
            limited: 0,
            locked: 0,
            fails_after: 0,
            ignores_filters: false,
            ends_at_write: 0,
            takes_no_token: false,
            takes_no_write: false,
        };
        let held = Arc::new(Mutex::new(held));
        let app = Router::new()
            .route("/services/oauth2/token", post(issuer::token))
            .route(&format!("{VERSION}/composite"), post(composite))
            .route(&format!("{VERSION}/query"), get(query))
            .route(&format!("{VERSION}/query/"), get(query))
            .route(
                &format!("{VERSION}/sobjects/Opportunity/describe"),
                get(describe),
            )
            .route(
                &format!("{VERSION}/sobjects/Opportunity/{{id}}"),
                get(read).patch(change),
            )
            .route(
                &format!("{VERSION}/sobjects/Task/Writ_Decision__c/{{key}}"),
                patch(upsert),
            )
            .with_state(Arc::clone(&held));
        let served = Served::start(app).await;
        held.lock().unwrap().issuer.instance = served.base();
        Self { served, held }
    }

    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }
}

impl Held {
    /// A person's edit, some seconds after the change before.
    pub fn edit(&mut self, name: &str, value: Json) {
        self.opportunity.insert(name.to_owned(), value);
        self.modified += 5_000;
    }

    /// As it stands, by its fields; `SystemModstamp` has no colon in its zone.
    fn shown(&self, fields: Option<&str>) -> Json {
        let at = chrono::DateTime::from_timestamp_millis(self.modified).unwrap();
        let mut all = self.opportunity.clone();
        all.insert("Id".to_owned(), OPPORTUNITY.into());
        let stamp = at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string();
        all.insert("SystemModstamp".to_owned(), stamp.into());
        if let Some(fields) = fields {
            let named: Vec<&str> = fields.split(',').collect();
            all.retain(|name, _| named.contains(&name.as_str()));
        }
        let url = format!("{VERSION}/sobjects/Opportunity/{OPPORTUNITY}");
        all.insert(
            "attributes".to_owned(),
            json!({"type": "Opportunity", "url": url}),
        );
        json!(all)
    }

    /// What is wrong with a change of an opportunity, as status and code; otherwise it is made.
    fn write(&mut self, id: &str, body: &Json, since: Option<&str>) -> Result<(), Refused> {
        let refuse = |status, code, message: &str| Err(Refused(status, code, message.to_owned()));
        if id != OPPORTUNITY {
            return refuse(404, "NOT_FOUND", "The requested resource does not exist");
        }
        if let Some(since) = since {
            let Ok(since) = chrono::DateTime::parse_from_rfc2822(since) else {
                return refuse(400, "INVALID_HEADER", "If-Unmodified-Since is no date");
            };
            // The header has seconds, so what is compared has too.
            if self.modified / 1_000 > since.timestamp() {
                return refuse(412, "PRECONDITION_FAILED", "The record has been modified");
            }
        }
        if self.locked > 0 {
            self.locked -= 1;
            return refuse(
                400,
                "UNABLE_TO_LOCK_ROW",
                "unable to obtain exclusive access to this record",
            );
        }
        for (name, value) in body.as_object().into_iter().flatten() {
            let Some((_, is_text)) = WRITABLE.iter().find(|(known, _)| known == name) else {
                let message = format!("No such column '{name}' on sobject of type Opportunity");
                return refuse(400, "INVALID_FIELD", &message);
            };
            if !value.is_null() && value.is_string() != *is_text {
                return refuse(
                    400,
                    "JSON_PARSER_ERROR",
                    &format!("Cannot deserialize instance of {name}"),
                );
            }
            if name == "StageName" && !self.stages.iter().any(|stage| value == stage) {
                let code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST";
                return refuse(
                    400,
                    code,
                    &format!("Stage: bad value for restricted picklist field: {value}"),
                );
            }
        }
        for (name, value) in body.as_object().into_iter().flatten() {
            // An empty text is none.
            let value = if value == "" {
                Json::Null
            } else {
                value.clone()
            };
            self.opportunity.insert(name.clone(), value);
        }
        self.modified += 1_000;
        Ok(())
    }
}

/// Status, code and sentence of a refusal.
struct Refused(u16, &'static str, String);

impl Refused {
    fn body(&self) -> Json {
        json!([{"message": self.2, "errorCode": self.1}])
    }

    fn answer(&self) -> Response {
        (StatusCode::from_u16(self.0).unwrap(), Body(self.body())).into_response()
    }
}

fn answered(status: StatusCode, body: Json) -> Response {
    let used = [("sforce-limit-info", "api-usage=18/100000")];
    (status, used, Body(body)).into_response()
}

fn refused(held: &mut Held, headers: &HeaderMap) -> Option<Response> {
    if held.takes_no_token || !held.issuer.knows(bearer(headers)) {
        let why = "Session expired or invalid".to_owned();
        return Some(Refused(401, "INVALID_SESSION_ID", why).answer());
    }
    if held.limited > 0 {
        held.limited -= 1;
        let why = "TotalRequests Limit exceeded.".to_owned();
        return Some(Refused(403, "REQUEST_LIMIT_EXCEEDED", why).answer());
    }
    None
}

/// The same for a write.
fn refused_write(held: &mut Held, headers: &HeaderMap) -> Option<Response> {
    if held.ends_at_write > 0 {
        held.ends_at_write -= 1;
        held.issuer.end();
    }
    if held.takes_no_write {
        return refused(held, &HeaderMap::new());
    }
    refused(held, headers)
}

async fn describe(State(held): State<Shared>, headers: HeaderMap) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    let value = |(value, active): (&str, bool)| json!({"active": active, "defaultValue": false, "label": value, "validFor": null, "value": value});
    let stages = held.stages.iter().map(|stage| value((stage, true)));
    let stages: Vec<Json> = stages.chain([value(("Retired", false))]).collect();
    let types: Vec<Json> = ["Existing", "New"].map(|kind| value((kind, true))).into();
    let field = |name: &str, values: &[Json]| json!({"name": name, "type": "picklist", "restrictedPicklist": true, "picklistValues": values});
    let fields = [field("Type", &types), field("StageName", &stages)];
    answered(
        StatusCode::OK,
        json!({"name": "Opportunity", "updateable": true, "fields": fields}),
    )
}

async fn read(
    State(held): State<Shared>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    if id != OPPORTUNITY {
        let why = "The requested resource does not exist".to_owned();
        return Refused(404, "NOT_FOUND", why).answer();
    }
    let asked = pairs(uri.query().unwrap_or_default());
    let fields = asked.iter().find(|(name, _)| name == "fields");
    let shown = held.shown(fields.map(|(_, fields)| fields.as_str()));
    answered(StatusCode::OK, shown)
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
    let since = headers.get(header::IF_UNMODIFIED_SINCE);
    let since = since.and_then(|since| since.to_str().ok());
    match held.write(&id, &body, since) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => refused.answer(),
    }
}

/// A write and what it left, both or neither.
async fn composite(
    State(held): State<Shared>,
    headers: HeaderMap,
    Body(body): Body<Json>,
) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused_write(&mut held, &headers) {
        return refused;
    }
    let (write, after) = (&body["compositeRequest"][0], &body["compositeRequest"][1]);
    let id_of = |one: &Json| {
        let url = one["url"].as_str().unwrap_or_default();
        let path = url.strip_prefix(&format!("{VERSION}/sobjects/Opportunity/"));
        let path = path.unwrap_or_default();
        path.split('?').next().unwrap_or_default().to_owned()
    };
    let shape = body["allOrNone"] == true && write["method"] == "PATCH" && after["method"] == "GET";
    if !shape || id_of(after) != id_of(write) {
        let why = "Composite subrequests are not as expected".to_owned();
        return Refused(400, "INVALID_INPUT", why).answer();
    }
    let part = |status: u16, body: Json, reference: &Json| json!({"body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": reference});
    let since = write["httpHeaders"]["If-Unmodified-Since"].as_str();
    let parts = match held.write(&id_of(write), &write["body"], since) {
        Ok(()) => {
            let shown = held.shown(Some("SystemModstamp"));
            [
                part(204, Json::Null, &write["referenceId"]),
                part(200, shown, &after["referenceId"]),
            ]
        }
        Err(refused) => {
            let halted = json!([{"errorCode": "PROCESSING_HALTED", "message": "The transaction was rolled back since another operation in the same transaction failed."}]);
            let first = part(refused.0, refused.body(), &write["referenceId"]);
            [first, part(400, halted, &after["referenceId"])]
        }
    };
    if held.fails_after > 0 && parts[0]["httpStatusCode"] == 204 {
        held.fails_after -= 1;
        return Refused(500, "UNKNOWN_EXCEPTION", "An unexpected error".to_owned()).answer();
    }
    answered(StatusCode::OK, json!({ "compositeResponse": parts }))
}

async fn upsert(
    State(held): State<Shared>,
    Path(key): Path<String>,
    headers: HeaderMap,
    Body(body): Body<Json>,
) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused_write(&mut held, &headers) {
        return refused;
    }
    if body["WhatId"] != OPPORTUNITY {
        let why = "Related To ID: id value of incorrect type".to_owned();
        return Refused(400, "MALFORMED_ID", why).answer();
    }
    let number = held.tasks.len() + 1;
    let created = !held.tasks.contains_key(&key);
    let task = held
        .tasks
        .entry(key.clone())
        .or_insert_with(|| json!({"Id": format!("00THs0000012{number:03}MAA")}));
    for (name, value) in body.as_object().into_iter().flatten() {
        task[name.as_str()] = value.clone();
    }
    task["Writ_Decision__c"] = key.into();
    let id = task["Id"].clone();
    if held.fails_after > 0 {
        held.fails_after -= 1;
        return Refused(500, "UNKNOWN_EXCEPTION", "An unexpected error".to_owned()).answer();
    }
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    answered(
        status,
        json!({"id": id, "success": true, "errors": [], "created": created}),
    )
}

/// The queries that are understood: stages, whether there is anything, and tasks by their external id.
async fn query(State(held): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    let asked = pairs(uri.query().unwrap_or_default());
    let soql = asked.iter().find(|(name, _)| name == "q");
    let soql = soql.map_or("", |(_, soql)| soql);
    let record =
        |kind: &str, name: &str, value: &Json| json!({"attributes": {"type": kind}, name: value});
    let hits: Vec<Json> = match soql {
        "SELECT ApiName FROM OpportunityStage WHERE IsActive=true" => {
            let stages = held.stages.iter();
            let stage = |stage: &&str| record("OpportunityStage", "ApiName", &json!(stage));
            stages.map(stage).collect()
        }
        "SELECT Id FROM Opportunity LIMIT 1" => {
            vec![record("Opportunity", "Id", &json!(OPPORTUNITY))]
        }
        tasks if tasks.contains(" FROM Task WHERE Writ_Decision__c") => {
            let wanted = tasks.split('\'').nth(1);
            let known = held.tasks.iter();
            let known =
                known.filter(|(key, _)| held.ignores_filters || Some(key.as_str()) == wanted);
            let task = |(key, task): (&String, &Json)| {
                let mut hit = record("Task", "Writ_Decision__c", &json!(key));
                hit["Id"] = task["Id"].clone();
                hit
            };
            known.map(task).collect()
        }
        other => {
            return Refused(400, "MALFORMED_QUERY", format!("unexpected token: {other}")).answer();
        }
    };
    let body = json!({"totalSize": hits.len(), "done": true, "records": hits});
    answered(StatusCode::OK, body)
}
