//! Holds what was asked and answered against the published description of a vendor's API. Those are data of others: they
//! lie outside of the repository, and where they are not, the tests say that they skip this.

use apollo_compiler::{ExecutableDocument, Schema};
use e2e::root;
use e2e::vendors::{Heard, Served};
use serde_json::{Map, Value as Json, json};

fn text(file: &str) -> Option<String> {
    let found = std::fs::read_to_string(root().join("../shared/specs").join(file)).ok();
    if found.is_none() {
        println!("SKIPPED: {file} is not here, so no message is held against it");
    }
    found
}

/// OpenAPI 3.0 says `nullable` where JSON Schema says another type.
fn loosened(schema: &Json) -> Json {
    match schema {
        Json::Array(items) => items.iter().map(loosened).collect(),
        Json::Object(members) => {
            let inner = members.iter().filter(|(name, _)| *name != "nullable");
            let inner: Map<String, Json> = inner
                .map(|(name, value)| (name.clone(), loosened(value)))
                .collect();
            match members.get("nullable") {
                Some(Json::Bool(true)) => json!({"anyOf": [inner, {"type": "null"}]}),
                _ => Json::Object(inner),
            }
        }
        other => other.clone(),
    }
}

/// One description.
struct Spec(Json);

impl Spec {
    /// The methods of the path that a request went to: one that is spelt out before one with a parameter.
    fn path(&self, asked: &str) -> Option<&Json> {
        let asked = asked.split('?').next().unwrap();
        let base = self.0["basePath"].as_str().unwrap_or_default();
        let asked = asked.strip_prefix(base).unwrap_or(asked);
        let asked: Vec<&str> = asked.trim_end_matches(".json").split('/').collect();
        let fits = |known: &str| {
            let known: Vec<&str> = known.split('/').collect();
            known.len() == asked.len()
                && known
                    .iter()
                    .zip(&asked)
                    .all(|(known, asked)| known.starts_with('{') || known == asked)
        };
        let paths = self.0["paths"].as_object().unwrap().iter();
        let found = paths.filter(|(known, _)| fits(known));
        found
            .min_by_key(|(known, _)| known.matches('{').count())
            .map(|(_, methods)| methods)
    }

    /// What a reference points to.
    fn resolved<'a>(&'a self, value: &'a Json) -> &'a Json {
        let to = value["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
        to.map_or(value, |to| self.0.pointer(to).unwrap())
    }

    fn check(&self, schema: &Json, value: &Json, what: &str) {
        let mut schema = schema.clone();
        for shared in ["components", "definitions"] {
            if let Some(own) = self.0.get(shared) {
                schema[shared] = own.clone();
            }
        }
        let compiled = match self.0.get("swagger") {
            Some(_) => jsonschema::draft4::new(&schema),
            None => jsonschema::validator_for(&schema),
        };
        let compiled = compiled.unwrap();
        let wrong: Vec<String> = compiled
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{value:#}");
    }

    fn holds(&self, heard: &Heard) -> bool {
        let method = heard.method.to_lowercase();
        let operation = self.path(&heard.path).and_then(|path| path.get(&method));
        let Some(operation) = operation else {
            return false;
        };
        let what = format!("{} {} {}", heard.method, heard.path, heard.status);
        // What the vendor refuses need not be what it describes.
        if heard.status < 300 {
            for (media, content) in self.resolved(&operation["requestBody"])["content"]
                .as_object()
                .into_iter()
                .flatten()
            {
                let schema = &content["schema"];
                let sent = if media.contains("form") {
                    form(&heard.body, schema)
                } else {
                    serde_json::from_str(&heard.body).unwrap()
                };
                self.check(schema, &sent, &format!("request of {what}"));
            }
        }
        // What is over its rate is answered before anything is looked at.
        if heard.status == 429 {
            return true;
        }
        let answers = &operation["responses"];
        // Slack refuses with 200.
        let status = Some(heard.status.to_string()).filter(|_| heard.answer["ok"] != false);
        let answer = status.and_then(|status| answers.get(status));
        let Some(answer) = answer.or_else(|| answers.get("default")) else {
            return true;
        };
        let answer = self.resolved(answer);
        let content = answer["content"].as_object().into_iter().flatten();
        let schemas = content.map(|(_, content)| &content["schema"]);
        for schema in schemas.chain(answer.get("schema")) {
            let answer = filled(&heard.answer);
            self.check(schema, &answer, &format!("answer of {what}"));
        }
        true
    }
}

/// Without members that are null: descriptions seldom say that a value may be absent.
fn filled(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(filled).collect(),
        Json::Object(members) => {
            let own = members.iter().filter(|(_, value)| !value.is_null());
            let own: Map<String, Json> = own
                .map(|(name, value)| (name.clone(), filled(value)))
                .collect();
            Json::Object(own)
        }
        other => other.clone(),
    }
}

/// A form as the object that it stands for; whole numbers where the schema wants them.
fn form(body: &str, schema: &Json) -> Json {
    let mut whole = Map::new();
    for (name, value) in e2e::vendors::pairs(body) {
        let is_number = schema["properties"][&name]["type"] == "integer";
        let value = match value.parse::<i64>() {
            Ok(number) if is_number => Json::from(number),
            _ => Json::from(value),
        };
        match name.split_once('[') {
            None => drop(whole.insert(name, value)),
            Some((outer, inner)) => {
                let own = whole.entry(outer).or_insert_with(|| json!({}));
                own[inner.trim_end_matches(']')] = value;
            }
        }
    }
    Json::Object(whole)
}

/// Every message that the description knows is as it says; at least so many are known.
pub(super) fn holds(served: &Served, file: &str, least: usize) {
    let Some(text) = text(file) else { return };
    let spec: Json = serde_json::from_str(&text).unwrap();
    let is_old = spec["openapi"]
        .as_str()
        .is_none_or(|version| version < "3.1");
    let spec = Spec(if is_old { loosened(&spec) } else { spec });
    let heard = served.heard();
    let known = heard.iter().filter(|one| spec.holds(one)).count();
    assert!(known >= least, "{file} knows {known} of {}", heard.len());
}

/// Every operation is one of the schema.
pub(super) fn holds_graphql(served: &Served, file: &str) {
    let Some(text) = text(file) else { return };
    // Newer than what the compiler knows by itself.
    let text = format!("directive @oneOf on INPUT_OBJECT\n{text}");
    let schema = Schema::parse_and_validate(text, file).unwrap_or_else(|error| panic!("{error}"));
    let heard = served.heard();
    for heard in heard
        .iter()
        .filter(|one| one.path.ends_with("/graphql.json"))
    {
        let body: Json = serde_json::from_str(&heard.body).unwrap();
        let query = body["query"].as_str().unwrap();
        let parsed = ExecutableDocument::parse_and_validate(&schema, query, "operation");
        assert!(parsed.is_ok(), "{query}: {}", parsed.unwrap_err());
    }
}
