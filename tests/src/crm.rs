//! A CRM in this process that speaks like the sandbox and fails in a chosen way: what it holds is
//! looked at directly, so that a test never has to believe an answer either.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value as Json, json};

/// How the CRM fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fails {
    /// Not at all.
    No,
    /// Writes nothing and answers this status with this body and media type.
    Instead(u16, &'static str, &'static str),
    /// Writes, and answers this status.
    DoneBut(u16),
    /// Writes nothing and answers as if it had.
    Pretends,
    /// Takes over everything but nulls, and answers as if it had.
    IgnoresNull,
    /// Writes another spelling than it was given.
    Normalises,
    /// Writes, and a person changes the field before anybody reads it again.
    PersonAfter(&'static str),
    /// Reads show the record of this id whatever id was asked for.
    Alias(&'static str),
    /// This field stands in answers as this literal.
    Literal(&'static str, &'static str),
    /// This field is not in answers.
    Lacks(&'static str),
    /// Lists ignore every parameter.
    NoFilter,
    /// Answers nothing for so long.
    Hangs(Duration),
    /// Answers no read for so long.
    HangsReading(Duration),
    /// Sends the caller elsewhere.
    Redirects(String),
    /// Writes nothing, asks to wait so many seconds.
    Limits(u32),
}

/// What it holds.
#[derive(Debug)]
pub struct Held {
    pub fails: Fails,
    pub records: BTreeMap<(String, String), Json>,
    pub versions: BTreeMap<(String, String), u64>,
    /// Requests that could change something, as they came.
    pub writes: Vec<String>,
    /// Requests that only read.
    pub reads: usize,
    /// Reads that were left hanging.
    pub hung: usize,
}

/// The CRM; it ends with the test.
#[derive(Debug, Clone)]
pub struct Crm {
    pub port: u16,
    held: Arc<Mutex<Held>>,
}

fn seeded() -> BTreeMap<(String, String), Json> {
    let of = |kind: &str, id: &str, fields: Json| ((kind.to_owned(), id.to_owned()), fields);
    BTreeMap::from([
        of(
            "deals",
            "D-104",
            json!({"name": "Renewal", "stage": "new", "owner": "U-1", "customer": "C-1", "log": ""}),
        ),
        of(
            "contacts",
            "C-1",
            json!({"name": "Ida", "email": "ida@example.com", "phone": null, "street": "2 B st", "score": 1}),
        ),
        of(
            "contacts",
            "C-2",
            json!({"name": "Ben", "email": "ben@example.com", "phone": null, "street": "1 A st", "score": 1}),
        ),
        of(
            "orders",
            "O-7",
            json!({"status": "paid", "number": "7", "customer": "C-1", "email": "a@example.com", "total_minor": 12000, "refunded_minor": 0, "currency": "EUR", "hold": ""}),
        ),
    ])
}

impl Crm {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = Held {
            fails: Fails::No,
            records: seeded(),
            versions: BTreeMap::new(),
            writes: Vec::new(),
            reads: 0,
            hung: 0,
        };
        let crm = Self {
            port,
            held: Arc::new(Mutex::new(held)),
        };
        let app = Router::new().fallback(axum::routing::any(unknown));
        let app = app
            .route("/{kind}", axum::routing::any(list))
            .route("/{kind}/{id}", axum::routing::any(record))
            .with_state(crm.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        crm
    }

    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }

    pub fn fails(&self, how: Fails) {
        self.held().fails = how;
    }

    /// Everything as at the start.
    pub fn reset(&self) {
        let mut held = self.held();
        (held.fails, held.records) = (Fails::No, seeded());
        held.versions.clear();
    }

    /// A field as the CRM holds it.
    pub fn field(&self, kind: &str, id: &str, name: &str) -> Json {
        self.held().records[&(kind.to_owned(), id.to_owned())][name].clone()
    }

    /// A person changes a field.
    pub fn edit(&self, kind: &str, id: &str, name: &str, value: Json) {
        let mut held = self.held();
        let key = (kind.to_owned(), id.to_owned());
        held.records.get_mut(&key).unwrap()[name] = value;
        held.records.get_mut(&key).unwrap()["_changed_by"] = json!("person");
        *held.versions.entry(key).or_insert(1) += 1;
    }

    /// How many records of a kind there are.
    pub fn count(&self, kind: &str) -> usize {
        self.held()
            .records
            .keys()
            .filter(|(known, _)| known == kind)
            .count()
    }
}

async fn unknown() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

fn plain(status: u16, body: String, media: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, media.to_owned())], body).into_response()
}

fn shown(held: &Held, key: &(String, String), status: u16) -> Response {
    let version = held.versions.get(key).copied().unwrap_or(1);
    let mut body = held.records[key].clone();
    body["id"] = match held.fails {
        Fails::Alias(other) => json!(other),
        _ => json!(key.1),
    };
    let mut text = body.to_string();
    match &held.fails {
        Fails::Literal(name, literal) => {
            body[*name] = json!("@@");
            text = body.to_string().replace("\"@@\"", literal);
        }
        Fails::Lacks(name) => {
            body.as_object_mut().unwrap().remove(*name);
            text = body.to_string();
        }
        _ => {}
    }
    let status = StatusCode::from_u16(status).unwrap();
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::ETAG, format!("\"{version}\"")),
    ];
    (status, headers, text).into_response()
}

/// What it answers instead of doing anything, if it does.
async fn instead(crm: &Crm) -> Option<Response> {
    let fails = crm.held().fails.clone();
    match fails {
        Fails::Instead(status, body, media) => Some(plain(status, body.to_owned(), media)),
        Fails::Hangs(span) => {
            tokio::time::sleep(span).await;
            None
        }
        Fails::Redirects(to) => {
            let status = StatusCode::TEMPORARY_REDIRECT;
            Some((status, [(header::LOCATION, to)]).into_response())
        }
        Fails::Limits(wait) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            Some((status, [(header::RETRY_AFTER, wait.to_string())]).into_response())
        }
        _ => None,
    }
}

async fn hang_reading(crm: &Crm) {
    let fails = crm.held().fails.clone();
    if let Fails::HangsReading(span) = fails {
        crm.held().hung += 1;
        tokio::time::sleep(span).await;
    }
}

async fn list(
    State(crm): State<Crm>,
    Path(kind): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    (method, headers, body): (Method, HeaderMap, Bytes),
) -> Response {
    if method == Method::GET {
        hang_reading(&crm).await;
        let mut held = crm.held();
        held.reads += 1;
        let fits = |fields: &Json| {
            let same = |(name, value): (&String, &String)| fields[name].as_str() == Some(value);
            held.fails == Fails::NoFilter || query.iter().all(same)
        };
        let of_kind = held
            .records
            .iter()
            .filter(|((known, _), fields)| *known == kind && fits(fields));
        let items: Vec<Json> = of_kind
            .map(|((_, id), fields)| {
                let mut item = fields.clone();
                item["id"] = json!(id);
                item
            })
            .collect();
        return plain(200, Json::Array(items).to_string(), "application/json");
    }
    crm.held().writes.push(format!(
        "{method} /{kind} {}",
        String::from_utf8_lossy(&body)
    ));
    if let Some(answer) = instead(&crm).await {
        return answer;
    }
    let mut held = crm.held();
    let mut fields: Json = serde_json::from_slice(&body).unwrap();
    if held.fails == Fails::Pretends {
        return plain(201, json!({"id": "X-0"}).to_string(), "application/json");
    }
    if held.fails == Fails::NoFilter {
        return plain(
            503,
            json!({"message": "try later"}).to_string(),
            "application/json",
        );
    }
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok());
    fields["key"] = json!(key);
    let id = format!("X-{}", held.records.len());
    held.records.insert((kind.clone(), id.clone()), fields);
    match held.fails {
        Fails::DoneBut(status) => plain(
            status,
            json!({"message": "no"}).to_string(),
            "application/json",
        ),
        _ => shown(&held, &(kind, id), 201),
    }
}

async fn record(
    State(crm): State<Crm>,
    Path((kind, id)): Path<(String, String)>,
    (method, headers, body): (Method, HeaderMap, Bytes),
) -> Response {
    let key = (kind, id);
    let missing = || {
        plain(
            404,
            json!({"message": "no such record"}).to_string(),
            "application/json",
        )
    };
    if method == Method::GET {
        hang_reading(&crm).await;
        let mut held = crm.held();
        held.reads += 1;
        return if held.records.contains_key(&key) {
            shown(&held, &key, 200)
        } else {
            missing()
        };
    }
    crm.held().writes.push(format!(
        "{method} /{}/{} {}",
        key.0,
        key.1,
        String::from_utf8_lossy(&body)
    ));
    if let Some(answer) = instead(&crm).await {
        return answer;
    }
    let mut held = crm.held();
    if !held.records.contains_key(&key) {
        return missing();
    }
    let version = held.versions.get(&key).copied().unwrap_or(1);
    let sent = headers
        .get(header::IF_MATCH)
        .and_then(|tag| tag.to_str().ok());
    if sent != Some(&format!("\"{version}\"")) {
        return plain(
            412,
            json!({"message": "another version"}).to_string(),
            "application/json",
        );
    }
    let fields: Json = serde_json::from_slice(&body).unwrap();
    if held.fails != Fails::Pretends {
        let fails = held.fails.clone();
        let record = held.records.get_mut(&key).unwrap();
        for (name, value) in fields.as_object().unwrap() {
            record[name] = match &fails {
                Fails::IgnoresNull if value.is_null() => continue,
                Fails::Normalises => json!(value.as_str().map(str::to_uppercase)),
                _ => value.clone(),
            };
        }
        let change = headers
            .get("x-change-key")
            .and_then(|key| key.to_str().ok());
        record["_changed_by"] = json!(change);
        held.versions.insert(key.clone(), version + 1);
    }
    let answer = match held.fails {
        Fails::DoneBut(status) => plain(
            status,
            json!({"message": "no"}).to_string(),
            "application/json",
        ),
        _ => shown(&held, &key, 200),
    };
    let after = held.fails.clone();
    drop(held);
    if let Fails::PersonAfter(value) = after {
        let name = fields.as_object().unwrap().keys().next().unwrap().clone();
        crm.edit(&key.0, &key.1, &name, json!(value));
    }
    answer
}
