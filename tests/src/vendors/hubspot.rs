//! HubSpot's deals, notes and tasks: every value is a text, an unknown property or option is refused, nothing has a
//! version, and searches show what was written only after a while. <https://developers.hubspot.com/docs/api/crm/deals>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json as Body, Router};
use serde_json::{Map, Value as Json, json};

use super::{Served, bearer, pairs};

pub const TOKEN: &str = "pat-eu1-01234567-89ab-cdef-0123-456789abcdef";
/// Properties of deals, the custom one among them.
const DEAL: [&str; 8] = [
    "dealname",
    "dealstage",
    "pipeline",
    "amount",
    "closedate",
    "hubspot_owner_id",
    "hs_next_step",
    "writ_decision",
];
const NOTE: [&str; 2] = ["hs_timestamp", "hs_note_body"];
const TASK: [&str; 4] = [
    "hs_timestamp",
    "hs_task_subject",
    "hs_task_body",
    "hs_task_status",
];
/// Longest body of a note.
const NOTE_MAX: usize = 65_536;
/// Most that a search answers at once.
const PAGE_MAX: usize = 200;

#[derive(Debug, Clone)]
struct Object {
    properties: BTreeMap<String, String>,
    updated: String,
    made: Instant,
}

/// What it holds.
#[derive(Debug)]
pub struct Held {
    objects: BTreeMap<(&'static str, String), Object>,
    /// How long a search does not know what was made.
    pub lag: Duration,
    /// Whether searches leave their filter out.
    pub ignores_filters: bool,
    /// So many objects are made and answered with 500.
    pub fails_after: u32,
    /// So many requests are answered with 429.
    pub limited: u32,
    /// Stages of the one pipeline.
    pub stages: Vec<&'static str>,
    ticks: u32,
}

/// The vendor.
#[derive(Debug, Clone)]
pub struct HubSpot {
    pub served: Served,
    held: Arc<Mutex<Held>>,
}

type Shared = Arc<Mutex<Held>>;

impl HubSpot {
    /// With the deal 512.
    pub async fn start() -> Self {
        let mut held = Held {
            objects: BTreeMap::new(),
            lag: Duration::ZERO,
            ignores_filters: false,
            limited: 0,
            fails_after: 0,
            stages: vec![
                "appointmentscheduled",
                "qualifiedtobuy",
                "contractsent",
                "closedwon",
                "closedlost",
            ],
            ticks: 0,
        };
        let deal = [
            ("dealname", "Renewal"),
            ("dealstage", "appointmentscheduled"),
            ("pipeline", "default"),
            ("amount", "1500.00"),
        ];
        held.put(
            "deals",
            "512",
            deal.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        );
        let held = Arc::new(Mutex::new(held));
        let app = Router::new()
            .route("/crm/v3/pipelines/deals", get(pipelines))
            .route("/crm/v3/pipelines/deals/{id}/stages", get(stages))
            .route("/crm/v3/objects/deals/{id}", get(read).patch(change))
            .route("/crm/v3/objects/{kind}", post(make))
            .route("/crm/v3/objects/{kind}/search", post(search))
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
    fn now(&mut self) -> String {
        self.ticks += 1;
        let at = chrono::DateTime::from_timestamp_millis(1_795_000_000_000 + i64::from(self.ticks));
        at.unwrap()
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }

    fn put(&mut self, kind: &'static str, id: &str, properties: BTreeMap<String, String>) {
        let updated = self.now();
        let made = Instant::now();
        let object = Object {
            properties,
            updated,
            made,
        };
        self.objects.insert((kind, id.to_owned()), object);
    }

    /// A property of an object.
    pub fn property(&self, kind: &'static str, id: &str, name: &str) -> Option<&str> {
        let object = self.objects.get(&(kind, id.to_owned()))?;
        object.properties.get(name).map(String::as_str)
    }

    /// The bodies of all notes, or tasks.
    pub fn texts(&self, kind: &str) -> Vec<String> {
        let own = self.objects.iter().filter(|((own, _), _)| *own == kind);
        let body = |name: &String| name.ends_with("_body");
        let texts =
            own.filter_map(|(_, object)| object.properties.iter().find(|(name, _)| body(name)));
        texts.map(|(_, text)| text.clone()).collect()
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: &str) -> usize {
        self.objects.keys().filter(|(own, _)| *own == kind).count()
    }

    /// A person's edit of a deal.
    pub fn edit(&mut self, id: &str, name: &str, value: &str) {
        let now = self.now();
        let object = self.objects.get_mut(&("deals", id.to_owned())).unwrap();
        object.properties.insert(name.to_owned(), value.to_owned());
        object.updated = now;
    }
}

fn error(status: u16, category: &str, message: &str) -> Response {
    let body = json!({"status": "error", "message": message, "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf", "category": category});
    (StatusCode::from_u16(status).unwrap(), Body(body)).into_response()
}

fn refused(held: &mut Held, headers: &HeaderMap) -> Option<Response> {
    if bearer(headers) != TOKEN {
        return Some(error(
            401,
            "INVALID_AUTHENTICATION",
            "Authentication credentials not found.",
        ));
    }
    if held.limited > 0 {
        held.limited -= 1;
        let message = "You have reached your ten_secondly_rolling limit.";
        return Some(error(429, "RATE_LIMITS", message));
    }
    None
}

/// Stages by pipeline: one that is in use, and another whose stages are none of it.
fn stages_of(held: &Held, pipeline: &str) -> Option<Vec<Json>> {
    let created = "2026-01-01T00:00:00Z";
    let stage = |(order, id): (usize, &&str)| {
        json!({"id": id, "label": id, "displayOrder": order, "archived": false, "createdAt": created,
            "updatedAt": created, "metadata": {}, "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT"})
    };
    let named: &[&str] = match pipeline {
        "default" => &held.stages,
        "partners" => &["retired"],
        _ => return None,
    };
    Some(named.iter().enumerate().map(stage).collect())
}

async fn pipelines(State(held): State<Shared>, headers: HeaderMap) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    let created = "2026-01-01T00:00:00Z";
    let pipeline = |id: &&str| {
        json!({"id": id, "label": id, "displayOrder": 0, "archived": false, "createdAt": created, "updatedAt": created,
            "stages": stages_of(&held, id)})
    };
    let all: Vec<Json> = ["default", "partners"].iter().map(pipeline).collect();
    Body(json!({ "results": all })).into_response()
}

async fn stages(
    State(held): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    match stages_of(&held, &id) {
        Some(stages) => Body(json!({ "results": stages })).into_response(),
        None => error(404, "OBJECT_NOT_FOUND", "Pipeline not found"),
    }
}

/// An object with the named properties; one that it does not have is null.
fn shown(id: &str, object: &Object, named: &[&str]) -> Json {
    let value = |name: &str| {
        object
            .properties
            .get(name)
            .map_or(Json::Null, |value| value.clone().into())
    };
    let mut properties: Map<String, Json> = named
        .iter()
        .map(|name| ((*name).to_owned(), value(name)))
        .collect();
    properties.insert("hs_object_id".to_owned(), id.into());
    json!({"id": id, "properties": properties, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": object.updated, "archived": false})
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
    let asked = pairs(uri.query().unwrap_or_default());
    let asked = asked.iter().filter(|(name, _)| name == "properties");
    let named: Vec<&str> = asked.flat_map(|(_, value)| value.split(',')).collect();
    match held.objects.get(&("deals", id.clone())) {
        Some(object) => Body(shown(&id, object, &named)).into_response(),
        None => error(404, "OBJECT_NOT_FOUND", "resource not found"),
    }
}

/// The properties of a wish, or what is wrong with them.
fn wished(body: &Json, known: &[&str], held: &Held) -> Result<BTreeMap<String, String>, String> {
    let mut wished = BTreeMap::new();
    let given = body["properties"]
        .as_object()
        .ok_or("properties is missing")?;
    for (name, value) in given {
        let value = value.as_str().ok_or(format!(
            "Cannot deserialize value of type `java.lang.String` for {name}"
        ))?;
        if !known.contains(&name.as_str()) {
            return Err(format!(
                "Property values were not valid: PROPERTY_DOESNT_EXIST: Property \"{name}\" does not exist"
            ));
        }
        if name == "dealstage" && !held.stages.contains(&value) {
            return Err(format!(
                "Property values were not valid: INVALID_OPTION: {value} was not one of the allowed options"
            ));
        }
        if name == "amount" && !value.is_empty() && value.parse::<f64>().is_err() {
            return Err(format!(
                "Property values were not valid: INVALID_DOUBLE: {value} was not a valid number."
            ));
        }
        if name == "hs_note_body" && value.chars().count() > NOTE_MAX {
            return Err("Property values were not valid: hs_note_body is too long".to_owned());
        }
        wished.insert(name.clone(), value.to_owned());
    }
    Ok(wished)
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
    let key = ("deals", id.clone());
    if !held.objects.contains_key(&key) {
        return error(404, "OBJECT_NOT_FOUND", "resource not found");
    }
    let wished = match wished(&body, &DEAL, &held) {
        Ok(wished) => wished,
        Err(why) => return error(400, "VALIDATION_ERROR", &why),
    };
    let names: Vec<&str> = wished.keys().map(String::as_str).collect();
    let now = held.now();
    let object = held.objects.get_mut(&key).unwrap();
    for (name, value) in &wished {
        // An empty value clears.
        match value.as_str() {
            "" => object.properties.remove(name),
            _ => object.properties.insert(name.clone(), value.clone()),
        };
    }
    object.updated = now;
    Body(shown(&id, object, &names)).into_response()
}

/// The kinds that can be made, by their names in addresses.
fn kind(name: &str) -> Option<(&'static str, &'static [&'static str])> {
    match name {
        "notes" => Some(("notes", &NOTE)),
        "tasks" => Some(("tasks", &TASK)),
        _ => None,
    }
}

async fn make(
    State(held): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(body): Body<Json>,
) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    let Some((kind, known)) = kind(&name) else {
        return error(404, "OBJECT_NOT_FOUND", "Unable to infer object type");
    };
    let wished = match wished(&body, known, &held) {
        Ok(wished) => wished,
        Err(why) => return error(400, "VALIDATION_ERROR", &why),
    };
    let number = if kind == "notes" { 214 } else { 216 };
    if body.pointer("/associations/0/types/0/associationTypeId") != Some(&number.into()) {
        return error(
            400,
            "VALIDATION_ERROR",
            "association type is not valid between these objects",
        );
    }
    let to = body.pointer("/associations/0/to/id").and_then(Json::as_str);
    if to.is_none_or(|id| !held.objects.contains_key(&("deals", id.to_owned()))) {
        return error(404, "OBJECT_NOT_FOUND", "No deal with this ID exists");
    }
    let id = format!("{}", 9_000 + held.objects.len());
    held.put(kind, &id, wished);
    if held.fails_after > 0 {
        held.fails_after -= 1;
        return error(500, "INTERNAL_ERROR", "internal error");
    }
    let object = &held.objects[&(kind, id.clone())];
    (StatusCode::CREATED, Body(shown(&id, object, known))).into_response()
}

async fn search(
    State(held): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(body): Body<Json>,
) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(refused) = refused(&mut held, &headers) {
        return refused;
    }
    let Some((kind, known)) = kind(&name) else {
        return error(404, "OBJECT_NOT_FOUND", "Unable to infer object type");
    };
    let filter = body
        .pointer("/filterGroups/0/filters/0")
        .cloned()
        .unwrap_or_default();
    let (property, wanted) = (
        filter["propertyName"].as_str().unwrap_or_default(),
        filter["value"].as_str().unwrap_or_default(),
    );
    let limit = body["limit"]
        .as_u64()
        .and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(10).min(PAGE_MAX);
    let fits = |object: &Object| {
        held.ignores_filters
            || object
                .properties
                .get(property)
                .is_some_and(|text| text.contains(wanted))
    };
    let own = held.objects.iter().filter(|((own, _), object)| {
        *own == kind && object.made.elapsed() >= held.lag && fits(object)
    });
    let all: Vec<Json> = own
        .map(|((_, id), object)| shown(id, object, known))
        .collect();
    let mut answer =
        json!({"total": all.len(), "results": all.iter().take(limit).collect::<Vec<_>>()});
    if all.len() > limit {
        answer["paging"] = json!({"next": {"after": limit.to_string()}});
    }
    Body(answer).into_response()
}
