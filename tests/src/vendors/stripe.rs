//! Stripe as far as refunds and customers: forms, minor units, idempotency keys that replay what they answered (a 500
//! too), refunds that never exceed the charge. <https://docs.stripe.com/api>, version 2025-09-30.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json as Body, Router};
use serde_json::{Map, Value as Json, json};

use super::{Served, bearer, pairs};

/// The restricted key that may refund.
pub const KEY: &str = "rk_test_0123456789abcdefghijkl";
/// A key that is always over its rate.
const LIMITED: &str = "sk_test_limited";
const CREATED: u64 = 1_790_000_000;
/// Most refunds of one page.
const PAGE_MAX: usize = 100;

type Answer = (u16, Json);

/// What it holds.
#[derive(Debug, Default)]
pub struct Held {
    pub charges: BTreeMap<String, Json>,
    pub customers: BTreeMap<String, Json>,
    pub refunds: Vec<Json>,
    /// First request of each key, and its answer; none while it is under way.
    keys: BTreeMap<String, (String, Option<Answer>)>,
    /// So many requests are answered with 429.
    pub limited: u32,
    /// So many refunds are recorded, and the bank pays nothing.
    pub declined: u32,
    /// So many writes are done and answered with 500, which the key replays.
    pub fails_after: u32,
}

/// The vendor.
#[derive(Debug, Clone)]
pub struct Stripe {
    pub served: Served,
    held: Arc<Mutex<Held>>,
}

type Shared = Arc<Mutex<Held>>;

impl Stripe {
    /// With `ch_1` (50.00 EUR), `ch_big` (5,000.00 EUR), `ch_yen` (5000 JPY) and `cus_1`.
    pub async fn start() -> Self {
        let held = Held {
            charges: BTreeMap::from([
                ("ch_1".to_owned(), charge("ch_1", 5_000, "eur")),
                ("ch_big".to_owned(), charge("ch_big", 500_000, "eur")),
                ("ch_yen".to_owned(), charge("ch_yen", 5_000, "jpy")),
            ]),
            customers: BTreeMap::from([("cus_1".to_owned(), customer("cus_1"))]),
            ..Held::default()
        };
        let held = Arc::new(Mutex::new(held));
        let app = Router::new()
            .route("/v1/balance", get(balance))
            .route("/v1/charges/{id}", get(one_charge))
            .route(
                "/v1/customers/{id}",
                get(one_customer).post(change_customer),
            )
            .route("/v1/refunds", get(refunds).post(refund))
            .route("/v1/refunds/{id}", get(one_refund))
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

fn charge(id: &str, amount: u64, currency: &str) -> Json {
    json!({
        "id": id, "object": "charge", "amount": amount, "amount_captured": amount, "amount_refunded": 0,
        "billing_details": {"address": null, "email": null, "name": null, "phone": null}, "captured": true,
        "created": CREATED, "currency": currency, "customer": "cus_1", "disputed": false, "livemode": false,
        "metadata": {}, "paid": true, "refunded": false, "status": "succeeded",
    })
}

fn customer(id: &str) -> Json {
    json!({"id": id, "object": "customer", "created": CREATED, "livemode": false, "description": "old",
        "email": "ben@example.com", "metadata": {}, "name": "Ben"})
}

fn error(status: u16, code: &str, message: &str, param: Option<&str>) -> Answer {
    let kind = if code == "idempotency" {
        "idempotency_error"
    } else {
        "invalid_request_error"
    };
    let mut inner = json!({"type": kind, "message": message});
    if code != "idempotency" && !code.is_empty() {
        inner["code"] = code.into();
    }
    if let Some(param) = param {
        inner["param"] = param.into();
    }
    (status, json!({ "error": inner }))
}

fn missing(kind: &str, id: &str) -> Answer {
    error(
        404,
        "resource_missing",
        &format!("No such {kind}: '{id}'"),
        Some("id"),
    )
}

fn told((status, body): Answer) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, Body(body)).into_response()
}

/// Who may not, and when there is too much.
fn refused(held: &mut Held, headers: &HeaderMap) -> Option<Answer> {
    if bearer(headers) == LIMITED {
        held.limited = 1;
    } else if bearer(headers) != KEY {
        return Some(error(401, "", "Invalid API Key provided", None));
    }
    if held.limited > 0 {
        held.limited -= 1;
        return Some(error(
            429,
            "rate_limit",
            "Request rate limit exceeded.",
            None,
        ));
    }
    None
}

async fn nowhere(method: Method, uri: Uri) -> Response {
    let message = format!("Unrecognized request URL ({method}: {}).", uri.path());
    told(error(404, "", &message, None))
}

fn read(held: &Shared, headers: &HeaderMap, find: impl FnOnce(&Held) -> Answer) -> Response {
    let mut held = held.lock().unwrap();
    told(refused(&mut held, headers).unwrap_or_else(|| find(&held)))
}

async fn balance(State(held): State<Shared>, headers: HeaderMap) -> Response {
    read(&held, &headers, |_| {
        (
            200,
            json!({"object": "balance", "available": [], "livemode": false, "pending": []}),
        )
    })
}

async fn one_charge(
    State(held): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    read(&held, &headers, |held| match held.charges.get(&id) {
        Some(charge) => (200, charge.clone()),
        None => missing("charge", &id),
    })
}

async fn one_customer(
    State(held): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    read(&held, &headers, |held| match held.customers.get(&id) {
        Some(customer) => (200, customer.clone()),
        None => missing("customer", &id),
    })
}

async fn one_refund(
    State(held): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    read(&held, &headers, |held| {
        let found = held.refunds.iter().find(|refund| refund["id"] == id);
        found.map_or_else(|| missing("refund", &id), |found| (200, found.clone()))
    })
}

async fn refunds(State(held): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    read(&held, &headers, |held| {
        let asked: BTreeMap<String, String> =
            pairs(uri.query().unwrap_or_default()).into_iter().collect();
        let wanted = asked.get("charge");
        let limit = asked.get("limit").and_then(|text| text.parse().ok());
        let limit: usize = limit.unwrap_or(10).min(PAGE_MAX);
        let own = held.refunds.iter().rev();
        let own = own.filter(|refund| wanted.is_none_or(|id| refund["charge"] == **id));
        let all: Vec<Json> = own.cloned().collect();
        let more = all.len() > limit;
        let page: Vec<Json> = all.into_iter().take(limit).collect();
        (
            200,
            json!({"object": "list", "url": "/v1/refunds", "has_more": more, "data": page}),
        )
    })
}

/// A write under its key: a known key answers what it answered, another request under it is refused.
fn once(
    held: &Shared,
    headers: &HeaderMap,
    asked: (&str, &Bytes),
    write: impl FnOnce(&mut Held, &str) -> Answer,
) -> Response {
    let mut held = held.lock().unwrap();
    if let Some(answer) = refused(&mut held, headers) {
        return told(answer);
    }
    let body = String::from_utf8_lossy(asked.1).into_owned();
    let request = format!("{} {body}", asked.0);
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok());
    match key.and_then(|key| held.keys.get(key)) {
        Some((first, _)) if *first != request => {
            let message = "Keys for idempotent requests can only be used with the same parameters they were first used with.";
            return told(error(400, "idempotency", message, None));
        }
        Some((_, Some(answer))) => {
            let mut replayed = told(answer.clone());
            let yes = HeaderValue::from_static("true");
            replayed.headers_mut().insert("idempotent-replayed", yes);
            return replayed;
        }
        Some((_, None)) => {
            return told(error(
                409,
                "idempotency_key_in_use",
                "There is currently another in-progress request.",
                None,
            ));
        }
        None => {}
    }
    let mut answer = write(&mut held, &body);
    if answer.0 == 200 && held.fails_after > 0 {
        held.fails_after -= 1;
        answer = (
            500,
            json!({"error": {"type": "api_error", "message": "An unknown error occurred"}}),
        );
    }
    // What did not pass the check of its parameters is not kept.
    if let Some(key) = key.filter(|_| answer.0 == 200 || answer.0 == 500) {
        held.keys
            .insert(key.to_owned(), (request, Some(answer.clone())));
    }
    told(answer)
}

/// `metadata[a]` of a form.
fn metadata(form: &[(String, String)]) -> Map<String, Json> {
    let own = form.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("metadata[")?.strip_suffix(']')?;
        Some((name.to_owned(), Json::from(value.clone())))
    });
    own.collect()
}

/// The first parameter that is not known.
fn unknown(form: &[(String, String)], known: &[&str]) -> Option<Answer> {
    let odd = form.iter().map(|(name, _)| name.as_str());
    let odd = odd
        .filter(|name| !name.starts_with("metadata["))
        .find(|name| !known.contains(name))?;
    Some(error(
        400,
        "parameter_unknown",
        &format!("Received unknown parameter: {odd}"),
        Some(odd),
    ))
}

async fn change_customer(
    State(held): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    once(&held, &headers, (&id, &body), |held, body| {
        let form = pairs(body);
        if let Some(refused) = unknown(&form, &["description", "name", "email", "phone"]) {
            return refused;
        }
        let Some(customer) = held.customers.get_mut(&id) else {
            return missing("customer", &id);
        };
        for (name, value) in form
            .iter()
            .filter(|(name, _)| !name.starts_with("metadata["))
        {
            customer[name.as_str()] = if value.is_empty() {
                Json::Null
            } else {
                value.clone().into()
            };
        }
        for (name, value) in metadata(&form) {
            customer["metadata"][name] = value;
        }
        (200, customer.clone())
    })
}

async fn refund(State(held): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    once(&held, &headers, ("refunds", &body), refunded)
}

fn refunded(held: &mut Held, body: &str) -> Answer {
    let form = pairs(body);
    if let Some(refused) = unknown(&form, &["charge", "payment_intent", "amount", "reason"]) {
        return refused;
    }
    let of = |wanted: &str| {
        form.iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    };
    let id = of("charge").unwrap_or_default();
    let Some(charge) = held.charges.get_mut(id) else {
        return missing("charge", id);
    };
    let reasons = ["duplicate", "fraudulent", "requested_by_customer"];
    if let Some(reason) = of("reason").filter(|reason| !reasons.contains(reason)) {
        return error(
            400,
            "",
            &format!(
                "Invalid reason: must be one of {}, not {reason}",
                reasons.join(", ")
            ),
            Some("reason"),
        );
    }
    let (all, gone) = (
        charge["amount"].as_u64().unwrap(),
        charge["amount_refunded"].as_u64().unwrap(),
    );
    let asked = match of("amount").map(str::parse::<u64>) {
        None => all - gone,
        Some(Ok(amount)) if amount > 0 => amount,
        Some(_) => {
            return error(
                400,
                "parameter_invalid_integer",
                "Invalid integer",
                Some("amount"),
            );
        }
    };
    if gone == all {
        return error(
            400,
            "charge_already_refunded",
            &format!("Charge {id} has already been refunded."),
            None,
        );
    }
    if asked > all - gone {
        let message = format!(
            "Refund amount ({asked}) is greater than unrefunded amount on charge ({})",
            all - gone
        );
        return error(400, "", &message, Some("amount"));
    }
    if held.declined > 0 {
        held.declined -= 1;
        let made = json!({
            "id": format!("re_{}", held.refunds.len() + 1), "object": "refund", "amount": asked, "charge": id,
            "created": CREATED, "currency": charge["currency"], "metadata": metadata(&form), "reason": of("reason"),
            "status": "failed", "failure_reason": "expired_or_canceled_card",
        });
        held.refunds.push(made.clone());
        return (200, made);
    }
    charge["amount_refunded"] = (gone + asked).into();
    charge["refunded"] = (gone + asked == all).into();
    let made = json!({
        "id": format!("re_{}", held.refunds.len() + 1), "object": "refund", "amount": asked, "charge": id,
        "created": CREATED, "currency": charge["currency"], "metadata": metadata(&form),
        "reason": of("reason"), "status": "succeeded",
    });
    held.refunds.push(made.clone());
    (200, made)
}
