//! Shopify's Admin GraphQL as far as orders: what is asked for is answered and nothing else, 200 whatever happened, refunds
//! that need `@idempotent`, metafields that are compared before they are set. <https://shopify.dev/docs/api/admin-graphql>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use apollo_compiler::ast::{Definition, Document, Field, Selection, Value};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Form, Json as Body, Router};
use serde_json::{Map, Value as Json, json};

use super::Served;

pub const TOKEN: &str = "shpat_0123456789abcdef0123456789abcdef";
/// Id and secret of an app.
pub const CLIENT: (&str, &str) = ("app-1", "shpss_fedcba9876543210");
const PREFIX: &str = "gid://shopify/Order/";

/// What it holds.
#[derive(Debug, Default)]
pub struct Held {
    /// By the number of their ids.
    pub orders: BTreeMap<String, Json>,
    /// Refunds by their keys.
    refunds: BTreeMap<String, Json>,
    /// So many requests are throttled.
    pub throttled: u32,
    /// What becomes of the payment of the next refunds; of those that are not paid nothing goes back.
    pub statuses: Vec<&'static str>,
    /// So many refunds are made and answered with 502.
    pub fails_after: u32,
    /// What the token may do beside reading and writing orders.
    pub more_scopes: Vec<&'static str>,
    ticks: u32,
}

/// The vendor.
#[derive(Debug, Clone)]
pub struct Shopify {
    pub served: Served,
    held: Arc<Mutex<Held>>,
}

type Shared = Arc<Mutex<Held>>;

impl Shopify {
    /// With the orders 1001 (100.00 EUR), 1002 (5,000.00 EUR) and 1003 (20.00 EUR by gift card and 80.00 by another one).
    pub async fn start() -> Self {
        let orders: [(&str, &[&str]); 3] = [
            ("1001", &["100.00"]),
            ("1002", &["5000.00"]),
            ("1003", &["20.00", "80.00"]),
        ];
        let orders = orders.map(|(id, paid)| (id.to_owned(), order(id, paid)));
        let held = Arc::new(Mutex::new(Held {
            orders: BTreeMap::from(orders),
            ..Held::default()
        }));
        let app = Router::new()
            .route("/admin/api/2026-10/graphql.json", post(graphql))
            .route("/admin/oauth/access_token", post(token))
            .route("/admin/oauth/access_scopes.json", get(scopes))
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

fn money(amount: &str) -> Json {
    let money = json!({"amount": amount, "currencyCode": "EUR"});
    json!({"shopMoney": money, "presentmentMoney": money})
}

fn order(id: &str, paid: &[&str]) -> Json {
    let payment = |(at, amount): (usize, &&str)| json!({"parent": format!("gid://shopify/OrderTransaction/{}", at + 7), "left": amount});
    let payments: Vec<Json> = paid.iter().enumerate().map(payment).collect();
    let total: u64 = paid.iter().filter_map(|amount| cents(amount)).sum();
    let total = &decimal(total);
    json!({
        "payments": payments,
        "id": format!("{PREFIX}{id}"), "name": format!("#{id}"), "note": null, "tags": ["web"], "currencyCode": "EUR", "refundable": true,
        "updatedAt": "2026-11-01T08:00:00Z", "totalPriceSet": money(total), "totalRefundedSet": money("0.00"), "refunds": [],
        "metafield": {"id": "gid://shopify/Metafield/1", "value": "new", "compareDigest": "d0"},
    })
}

/// Hundredths of a decimal text.
fn cents(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "00"));
    let part = format!("{part:0<2}");
    (part.len() == 2).then_some(())?;
    Some(whole.parse::<u64>().ok()? * 100 + part.parse::<u64>().ok()?)
}

fn decimal(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// What of an order can still be paid back.
fn left(order: &Json) -> u64 {
    let of = |name: &str| cents(order[name]["shopMoney"]["amount"].as_str().unwrap()).unwrap();
    of("totalPriceSet") - of("totalRefundedSet")
}

/// The members of a value that are asked for, under the names that are asked for.
fn picked(value: &Json, selections: &[Selection]) -> Json {
    match value {
        Json::Array(items) => items.iter().map(|item| picked(item, selections)).collect(),
        Json::Object(members) if !selections.is_empty() => {
            let fields = selections.iter().filter_map(|one| one.as_field());
            let own = fields.map(|field| {
                let value = members.get(field.name.as_str()).unwrap_or(&Json::Null);
                (
                    field.response_name().to_string(),
                    picked(value, &field.selection_set),
                )
            });
            Json::Object(own.collect())
        }
        other => other.clone(),
    }
}

/// The value of an argument, with the variables of the request.
fn argument(field: &Field, name: &str, variables: &Json) -> Json {
    let own = field
        .arguments
        .iter()
        .find(|argument| argument.name == name);
    own.map_or(Json::Null, |own| valued(&own.value, variables))
}

fn valued(value: &Value, variables: &Json) -> Json {
    match value {
        Value::Variable(name) => variables[name.as_str()].clone(),
        Value::String(text) => text.clone().into(),
        Value::Boolean(truth) => (*truth).into(),
        Value::Object(members) => {
            let own = members
                .iter()
                .map(|(name, value)| (name.to_string(), valued(value, variables)));
            Json::Object(own.collect::<Map<_, _>>())
        }
        Value::List(items) => items.iter().map(|item| valued(item, variables)).collect(),
        other => other.to_string().into(),
    }
}

/// The client credentials grant, whose answer says of no type.
async fn token(Form(asked): Form<BTreeMap<String, String>>) -> Response {
    let of = |name: &str| asked.get(name).map(String::as_str);
    let client = (of("client_id"), of("client_secret"));
    if of("grant_type") != Some("client_credentials") || client != (Some(CLIENT.0), Some(CLIENT.1))
    {
        return (
            StatusCode::BAD_REQUEST,
            Body(json!({"error": "invalid_client"})),
        )
            .into_response();
    }
    Body(json!({"access_token": TOKEN, "scope": "write_orders,read_orders", "expires_in": 86_399}))
        .into_response()
}

/// <https://shopify.dev/docs/api/admin-rest/latest/resources/accessscope>
async fn scopes(State(held): State<Shared>, headers: HeaderMap) -> Response {
    if headers
        .get("x-shopify-access-token")
        .map(HeaderValue::as_bytes)
        != Some(TOKEN.as_bytes())
    {
        let said = json!({"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"});
        return (StatusCode::UNAUTHORIZED, Body(said)).into_response();
    }
    let more = held.lock().unwrap().more_scopes.clone();
    let all = ["read_orders", "write_orders"].into_iter().chain(more);
    let all: Vec<Json> = all.map(|handle| json!({"handle": handle})).collect();
    Body(json!({"access_scopes": all})).into_response()
}

fn failed(message: &str, code: &str) -> Response {
    let extensions = json!({"code": code});
    Body(json!({"errors": [{"message": message, "extensions": extensions}]})).into_response()
}

fn user_error(field: &str, message: &str) -> Json {
    json!([{"field": [field], "message": message}])
}

async fn graphql(
    State(held): State<Shared>,
    headers: HeaderMap,
    Body(body): Body<Json>,
) -> Response {
    let token = headers.get("x-shopify-access-token");
    if token.is_none_or(|token| token.as_bytes() != TOKEN.as_bytes()) {
        let errors = json!({"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"});
        return (StatusCode::UNAUTHORIZED, Body(errors)).into_response();
    }
    let mut held = held.lock().unwrap();
    if held.throttled > 0 {
        held.throttled -= 1;
        return failed("Throttled", "THROTTLED");
    }
    let Ok(document) = Document::parse(body["query"].as_str().unwrap_or_default(), "request")
    else {
        return failed("syntax error", "GRAPHQL_PARSE_FAILED");
    };
    let operation = document.definitions.iter().find_map(|one| match one {
        Definition::OperationDefinition(operation) => Some(operation),
        _ => None,
    });
    let variables = &body["variables"];
    let mut data = Map::new();
    for field in operation.into_iter().flat_map(|operation| {
        operation
            .selection_set
            .iter()
            .filter_map(|one| one.as_field())
    }) {
        let answer = held.answer(field, variables);
        if field.name == "refundCreate" && answer.is_ok() && held.fails_after > 0 {
            held.fails_after -= 1;
            return (StatusCode::BAD_GATEWAY, "<html>Bad Gateway</html>").into_response();
        }
        match answer {
            Ok(value) => data.insert(
                field.response_name().to_string(),
                picked(&value, &field.selection_set),
            ),
            Err((message, code)) => return failed(&message, code),
        };
    }
    let cost = json!({"requestedQueryCost": 10, "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 1990, "restoreRate": 100.0}});
    Body(json!({"data": data, "extensions": {"cost": cost}})).into_response()
}

impl Held {
    fn now(&mut self) -> String {
        self.ticks += 1;
        format!(
            "2026-11-02T08:{:02}:{:02}Z",
            self.ticks / 60 % 60,
            self.ticks % 60
        )
    }

    fn answer(&mut self, field: &Field, variables: &Json) -> Result<Json, (String, &'static str)> {
        let argument = |name: &str| argument(field, name, variables);
        match field.name.as_str() {
            "shop" => {
                Ok(json!({"id": "gid://shopify/Shop/1", "name": "Acme", "currencyCode": "EUR"}))
            }
            "order" => Ok(self.shown(argument("id").as_str().unwrap_or_default())),
            "orderUpdate" => Ok(self.update(&argument("input"))),
            "metafieldsSet" => Ok(self.set(&argument("metafields")[0])),
            "refundCreate" => {
                let once = field.directives.iter().find(|one| one.name == "idempotent");
                let key = once.and_then(|once| {
                    once.arguments
                        .iter()
                        .find(|argument| argument.name == "key")
                });
                let key = key.map(|key| valued(&key.value, variables));
                let key = key.as_ref().and_then(Json::as_str);
                let missing = || {
                    ("The @idempotent directive is required for this mutation but was not provided.".to_owned(), "BAD_REQUEST")
                };
                Ok(self.refund(&argument("input"), key.ok_or_else(missing)?))
            }
            other => Err((format!("Field '{other}' doesn't exist"), "undefinedField")),
        }
    }

    fn shown(&self, id: &str) -> Json {
        let order = id.strip_prefix(PREFIX).and_then(|id| self.orders.get(id));
        let Some(order) = order else {
            return Json::Null;
        };
        let mut shown = order.clone();
        let most = money(&decimal(left(order)));
        let payments = order["payments"].as_array().unwrap().iter();
        let transactions: Vec<Json> = payments
            .filter(|one| one["left"] != "0.00")
            .map(|one| {
                let left = money(one["left"].as_str().unwrap());
                let own = &one["parent"];
                let parent = own.as_str().map(|id| json!({"id": id}));
                json!({"gateway": "bogus", "kind": "SUGGESTED_REFUND", "amountSet": left, "maximumRefundableSet": left, "parentTransaction": parent})
            })
            .collect();
        shown["suggestedRefund"] = json!({"amountSet": most, "maximumRefundableSet": most, "suggestedTransactions": transactions});
        shown
    }

    fn of(&mut self, input: &Json, member: &str) -> Option<&mut Json> {
        let id = input[member].as_str()?.strip_prefix(PREFIX)?;
        self.orders.get_mut(id)
    }

    fn update(&mut self, input: &Json) -> Json {
        let now = self.now();
        let Some(order) = self.of(input, "id") else {
            return json!({"order": null, "userErrors": user_error("id", "Order does not exist")});
        };
        if input["note"]
            .as_str()
            .is_some_and(|note| note.chars().count() > 5_000)
        {
            return json!({"order": null, "userErrors": user_error("note", "Note is too long (maximum is 5000 characters)")});
        }
        for member in ["note", "tags"]
            .into_iter()
            .filter(|member| input.get(*member).is_some())
        {
            order[member] = input[member].clone();
        }
        order["updatedAt"] = now.into();
        json!({"order": order.clone(), "userErrors": []})
    }

    fn set(&mut self, input: &Json) -> Json {
        self.ticks += 1;
        let digest = format!("d{}", self.ticks);
        let Some(order) = self.of(input, "ownerId") else {
            return json!({"metafields": null, "userErrors": [{"field": ["ownerId"], "message": "Owner does not exist", "code": "INVALID"}]});
        };
        let kept = &mut order["metafield"];
        if input.get("compareDigest").is_some() && input["compareDigest"] != kept["compareDigest"] {
            let message = "The resource has been updated since it was loaded. Try again with an updated `compareDigest` value.";
            return json!({"metafields": null, "userErrors": [{"field": ["metafields"], "message": message, "code": "STALE_OBJECT"}]});
        }
        kept["value"] = input["value"].clone();
        kept["compareDigest"] = digest.into();
        json!({"metafields": [kept.clone()], "userErrors": []})
    }

    fn refund(&mut self, input: &Json, key: &str) -> Json {
        if let Some(made) = self.refunds.get(key) {
            return json!({"refund": made, "userErrors": []});
        }
        let number = self.refunds.len() + 1;
        let status = self.statuses.pop().unwrap_or("SUCCESS");
        let is_paid = ["SUCCESS", "PENDING", "AWAITING_RESPONSE"].contains(&status);
        let Some(order) = self.of(input, "orderId") else {
            return json!({"refund": null, "userErrors": user_error("orderId", "Order does not exist")});
        };
        let own = &input["transactions"][0];
        let Some(asked) = own["amount"].as_str().and_then(cents) else {
            return json!({"refund": null, "userErrors": user_error("transactions", "Amount is not a number")});
        };
        let is_foreign = input
            .get("currency")
            .is_some_and(|currency| *currency != order["currencyCode"]);
        if is_foreign {
            return json!({"refund": null, "userErrors": user_error("currency", "Currency is not that of the order")});
        }
        let Some(paid) = taken(order, &own["parentId"], asked, is_paid) else {
            return json!({"refund": null, "userErrors": user_error("transactions", "Refund amount cannot exceed the available amount")});
        };
        let code = match is_paid {
            true => Json::Null,
            false => "CARD_DECLINED".into(),
        };
        let transactions = json!({"nodes": [{"status": status, "errorCode": code}]});
        let made = json!({"id": format!("gid://shopify/Refund/{number}"), "note": input["note"], "totalRefundedSet": paid, "transactions": transactions});
        order["refunds"].as_array_mut().unwrap().push(made.clone());
        self.refunds.insert(key.to_owned(), made.clone());
        json!({"refund": made, "userErrors": []})
    }
}

/// Takes an amount from what is left of a payment of an order, unless the bank declines; what was paid back. None where it
/// is more.
fn taken(order: &mut Json, parent: &Json, asked: u64, is_paid: bool) -> Option<Json> {
    let payments = order["payments"].as_array_mut()?;
    let payment = payments.iter_mut().find(|one| one["parent"] == *parent)?;
    let rest = cents(payment["left"].as_str()?)?.checked_sub(asked)?;
    if !is_paid {
        return Some(money("0.00"));
    }
    payment["left"] = decimal(rest).into();
    let gone = cents(order["totalRefundedSet"]["shopMoney"]["amount"].as_str()?)?;
    order["totalRefundedSet"] = money(&decimal(gone + asked));
    Some(money(&decimal(asked)))
}
