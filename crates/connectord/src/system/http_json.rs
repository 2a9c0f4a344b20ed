//! The driver for systems that speak JSON over HTTP; everything else about them is in the file.

use regex::Regex;
use serde_json::{Map as JsonMap, Value as Json};
use writ_proto::value::{Map, Value, value_from_json};

use super::file::{ObjectFile, StepFile, SystemFile, VerbFile, request_line};
use super::http::{Answer, CallError, HttpClient};
use super::template::Scope;
use super::{Applied, Happened, Leave, SystemError};
use crate::domain::identity::MATCHES_MAX;
use crate::domain::image::Image;
use crate::domain::plan::Plan;

/// A connection to one system of record.
#[derive(Debug)]
pub struct HttpJson {
    file: SystemFile,
    client: HttpClient,
}

fn unavailable(why: impl core::fmt::Display) -> SystemError {
    SystemError::Unavailable(why.to_string())
}

impl HttpJson {
    /// A driver for a checked file and a client.
    #[must_use]
    pub const fn new(file: SystemFile, client: HttpClient) -> Self {
        Self { file, client }
    }

    fn object(&self, name: &str) -> Result<&ObjectFile, SystemError> {
        let known = self.file.object.get(name);
        known.ok_or_else(|| SystemError::Unknown(format!("the system has no object `{name}`")))
    }

    fn verb<'a>(object: &'a ObjectFile, plan: &Plan) -> Option<&'a VerbFile> {
        object.verb.get(&plan.verb)
    }

    /// Reads the named and the watched fields of a record, and its version.
    ///
    /// # Errors
    /// When there is no such record or it cannot be read.
    pub async fn read(
        &self,
        name: &str,
        id: &str,
        fields: &[String],
    ) -> Result<Image, SystemError> {
        let object = self.object(name)?;
        let pattern: Regex = object.id_pattern().map_err(unavailable)?;
        if !pattern.is_match(id) {
            return Err(SystemError::Unknown(format!(
                "`{id}` is not an id of a {name}"
            )));
        }
        let plan = Plan {
            id: id.to_owned(),
            ..Plan::nowhere(name.to_owned(), Map::new())
        };
        let scope = Scope {
            plan: &plan,
            fields: &Json::Null,
            answers: &[],
        };
        let (method, path) = request_line(&object.read.request, &["GET"]).map_err(unavailable)?;
        let path = scope
            .path(path)
            .ok_or_else(|| unavailable("the path cannot be filled"))?;
        let answer = self
            .client
            .call(method, &path, &[], None)
            .await
            .map_err(unavailable)?;
        match answer.status {
            200 => self.image(object, &answer, fields),
            404 | 410 => Err(SystemError::NotFound),
            status => Err(unavailable(format!("HTTP {status}"))),
        }
    }

    /// Ids of the records that carry a signal, at most one more than may match.
    ///
    /// # Errors
    /// When the system file has no such search, or it gives no list.
    pub async fn find(
        &self,
        name: &str,
        signal: &str,
        args: &Map,
    ) -> Result<Vec<String>, SystemError> {
        let object = self.object(name)?;
        let find = object.find.get(signal).ok_or_else(|| {
            SystemError::Unknown(format!("the system cannot find a {name} by `{signal}`"))
        })?;
        let plan = Plan::nowhere(name.to_owned(), args.clone());
        let scope = Scope {
            plan: &plan,
            fields: &Json::Null,
            answers: &[],
        };
        let (method, path) = request_line(&find.request, &["GET"]).map_err(unavailable)?;
        let path = scope
            .path(path)
            .ok_or_else(|| unavailable("the search cannot be filled"))?;
        let answer = self.client.call(method, &path, &[], None).await;
        let answer = answer.map_err(unavailable)?;
        if answer.status != 200 {
            return Err(unavailable(format!("HTTP {}", answer.status)));
        }
        let list = answer.body.pointer(&find.found).and_then(Json::as_array);
        let list = list.ok_or_else(|| unavailable("the search gave no list"))?;
        let id = |item: &Json| match item.pointer(&find.id) {
            Some(Json::String(id)) => Ok(id.clone()),
            Some(Json::Number(id)) => Ok(id.to_string()),
            _ => Err(unavailable("a record without an id")),
        };
        list.iter()
            .take(MATCHES_MAX.saturating_add(1))
            .map(id)
            .collect()
    }

    fn image(
        &self,
        object: &ObjectFile,
        answer: &Answer,
        fields: &[String],
    ) -> Result<Image, SystemError> {
        let found = answer
            .body
            .pointer(&object.read.fields)
            .and_then(Json::as_object);
        let found = found.ok_or_else(|| unavailable("the answer holds no fields"))?;
        let version = match object.read.version.as_str() {
            "header:ETag" => answer.etag.clone(),
            pointer => answer
                .body
                .pointer(pointer)
                .and_then(Json::as_str)
                .map(str::to_owned),
        };
        let mut image = Image {
            fields: Map::new(),
            version,
        };
        for name in fields.iter().chain(&object.watch) {
            let Some(mut value) = found.get(name) else {
                continue;
            };
            if let Some(pointer) = object.read.inside.get(name) {
                value = value.pointer(pointer).unwrap_or(&Json::Null);
            }
            let read = value_from_json(&value.to_string()).map_err(unavailable)?;
            image.fields.set(name, Self::named(object, name, read));
        }
        Ok(image)
    }

    /// From the value a system stores to the name that cards use.
    fn named(object: &ObjectFile, field: &str, stored: Value) -> Value {
        let Some(names) = object.values.get(field) else {
            return stored;
        };
        let same = |value: &&toml::Value| match value {
            toml::Value::String(text) => stored == Value::Text(text.clone()),
            toml::Value::Integer(number) => stored == Value::Int(*number),
            _ => false,
        };
        let name = names
            .iter()
            .find(|(_, value)| same(value))
            .map(|(name, _)| name.clone());
        name.map_or(stored, Value::Text)
    }

    /// From the name that cards use to the value a system stores.
    fn stored(object: &ObjectFile, field: &str, value: &Value) -> Json {
        let named = object.values.get(field).zip(value.as_text());
        match named.and_then(|(names, name)| names.get(name)) {
            Some(toml::Value::Integer(number)) => Json::from(*number),
            Some(toml::Value::String(text)) => Json::String(text.clone()),
            _ => serde_json::from_str(&value.to_json()).unwrap_or(Json::Null),
        }
    }

    /// Makes the one write of a plan. The leave is not looked into: it is the proof that somebody
    /// with the right to let this happen did.
    pub async fn write(&self, _leave: Leave<'_>, plan: &Plan) -> Applied {
        let Ok(object) = self.object(&plan.object) else {
            return Applied::Refused("the system has no such object".to_owned());
        };
        let Some(verb) = Self::verb(object, plan) else {
            let refusal = format!(
                "the system file has no `{}` for a {}",
                plan.verb, plan.object
            );
            return Applied::Refused(refusal);
        };
        let mut fields = JsonMap::new();
        for field in &plan.fields {
            fields.insert(
                field.field.clone(),
                Self::stored(object, &field.field, &field.new),
            );
        }
        let (fields, mut answers) = (Json::Object(fields), Vec::new());
        let mut version = plan.version.clone();
        for (index, step) in verb.step.iter().enumerate() {
            let scope = Scope {
                plan,
                fields: &fields,
                answers: &answers,
            };
            let result = self.step(verb, step, &scope, version.as_deref()).await;
            let answer = match result {
                Ok(answer) => answer,
                // After the first step something is there, so "nothing happened" would be a lie.
                Err(Applied::Unknown(why)) => return Applied::Unknown(why),
                Err(other) if index == 0 => return other,
                Err(other) => return Applied::Unknown(format!("step {}: {other:?}", index + 1)),
            };
            version = answer.etag.or(version);
            answers.push(answer.body);
        }
        let scope = Scope {
            plan,
            fields: &fields,
            answers: &answers,
        };
        let created_id = verb.created.as_deref().and_then(|from| scope.answer(from));
        let created_id =
            created_id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        Applied::Done {
            created_id: created_id.unwrap_or_default(),
        }
    }

    async fn step(
        &self,
        verb: &VerbFile,
        step: &StepFile,
        scope: &Scope<'_>,
        version: Option<&str>,
    ) -> Result<Answer, Applied> {
        let refused = |why: &str| Applied::Refused(why.to_owned());
        let (method, path) = request_line(&step.request, &["POST", "PATCH", "PUT"])
            .map_err(|error| Applied::Refused(error.0))?;
        let path = scope
            .path(path)
            .ok_or_else(|| refused("the path cannot be filled"))?;
        let body = scope
            .body(&step.body)
            .ok_or_else(|| refused("the body cannot be filled"))?;
        let mut headers = Vec::new();
        if step.if_match {
            // A conditional write without a version would overwrite silently.
            let version = version.ok_or_else(|| refused("no version to write against"))?;
            headers.push(("If-Match", version));
        }
        if let Some(name) = verb.idempotency.as_deref() {
            headers.push((name, scope.plan.key.as_str()));
        }
        let answer = self.client.call(method, &path, &headers, Some(&body)).await;
        match answer {
            Ok(answer) => self.judge(answer),
            Err(CallError::NotSent(why)) => Err(Applied::Refused(why)),
            Err(CallError::Lost(why)) => Err(Applied::Unknown(why)),
        }
    }

    /// A definite no is one that a server gives before it changes anything; a 5xx is not one.
    fn judge(&self, answer: Answer) -> Result<Answer, Applied> {
        let said = answer
            .body
            .pointer(&self.file.error_message)
            .and_then(Json::as_str);
        let said = said
            .unwrap_or("no message")
            .chars()
            .take(200)
            .collect::<String>();
        match answer.status {
            200..=299 => Ok(answer),
            409 | 412 => Err(Applied::Conflict(said)),
            429 => {
                let wait = answer.retry_after.unwrap_or_else(|| "some".to_owned());
                Err(Applied::RateLimited(format!("asks to wait {wait} s")))
            }
            400..=499 => Err(Applied::Refused(format!("HTTP {}: {said}", answer.status))),
            status => Err(Applied::Unknown(format!("HTTP {status}: {said}"))),
        }
    }

    /// Looks whether a write of unknown outcome has happened.
    pub async fn reconcile(&self, plan: &Plan) -> Happened {
        let Ok(object) = self.object(&plan.object) else {
            return Happened::CannotTell("the system has no such object".to_owned());
        };
        let verb = Self::verb(object, plan);
        match verb.and_then(|verb| Some((verb, verb.reconcile.as_ref()?))) {
            Some((_, reconcile)) if reconcile.is_after_image() => self.compare(plan).await,
            Some((verb, reconcile)) => self
                .search(reconcile.searches(), &verb.found, plan)
                .await
                .unwrap_or_else(Happened::CannotTell),
            None => Happened::CannotTell("the system file cannot tell".to_owned()),
        }
    }

    async fn compare(&self, plan: &Plan) -> Happened {
        let names: Vec<String> = plan
            .fields
            .iter()
            .map(|field| field.field.clone())
            .collect();
        match self.read(&plan.object, &plan.id, &names).await {
            Ok(image) if plan.is_untouched_in(&image) => Happened::No,
            Ok(image) if plan.is_applied_in(&image) => Happened::Yes {
                created_id: String::new(),
            },
            Ok(_) => Happened::CannotTell("somebody else changed the record".to_owned()),
            Err(error) => Happened::CannotTell(error.to_string()),
        }
    }

    /// Every search must find something; what the first one finds is what was created. The error
    /// says why it cannot be told.
    async fn search(&self, lines: &[String], found: &str, plan: &Plan) -> Result<Happened, String> {
        let (mut answers, mut created_id) = (Vec::new(), None);
        for line in lines {
            let scope = Scope {
                plan,
                fields: &Json::Null,
                answers: &answers,
            };
            let (method, path) = request_line(line, &["GET"]).map_err(|error| error.0)?;
            let path = scope.path(path).ok_or("the search cannot be filled")?;
            let answer = self.client.call(method, &path, &[], None).await;
            let answer = answer.map_err(|error| error.to_string())?;
            if answer.status != 200 {
                return Err(format!("HTTP {}", answer.status));
            }
            let list = answer.body.pointer(found).and_then(Json::as_array);
            let Some(first) = list.ok_or("the search gave no list")?.first() else {
                return Ok(Happened::No);
            };
            let id = first.get("id").and_then(Json::as_str).unwrap_or_default();
            created_id.get_or_insert_with(|| id.to_owned());
            answers.push(answer.body);
        }
        Ok(Happened::Yes {
            created_id: created_id.unwrap_or_default(),
        })
    }
}
