//! Reading a policy in Cedar's JSON form: which entities it names and what it compares.

use serde_json::Value as Json;

/// What something is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Literal {
    Text(String),
    Number(i64),
}

/// `path OP value`, turned so that the value stands on the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// `context`, `args`, `stage`.
    pub(crate) path: Vec<String>,
    /// `==`, `<` and so on.
    pub(crate) op: String,
    pub(crate) value: Literal,
}

/// Calls `visit` for every part, without recursion.
fn walk<'a>(json: &'a Json, mut visit: impl FnMut(&'a Json)) {
    let mut open = vec![json];
    while let Some(part) = open.pop() {
        visit(part);
        match part {
            Json::Array(items) => open.extend(items),
            Json::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
}

/// Type and id of every entity that a policy names, once.
pub(crate) fn entities(policy: &Json) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(policy, |part| {
        let Json::Object(members) = part else { return };
        let text = |name: &str| members.get(name).and_then(Json::as_str).map(str::to_owned);
        if let (2, Some(kind), Some(id)) = (members.len(), text("type"), text("id")) {
            found.push((kind, id));
        }
    });
    found.sort();
    found.dedup();
    found
}

/// The attribute that is named, or each of a path: `has customer.tier`.
fn names_in(attr: Option<&Json>) -> Vec<String> {
    match attr {
        Some(Json::String(name)) => vec![name.clone()],
        Some(Json::Array(path)) => path
            .iter()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// Attributes that a policy asks for with `has`, once.
pub(crate) fn asked_for(policy: &Json) -> Vec<String> {
    let mut found = Vec::new();
    walk(policy, |part| {
        let attr = part.get("has").and_then(|has| has.get("attr"));
        found.extend(names_in(attr));
    });
    found.sort();
    found.dedup();
    found
}

/// Attributes that a policy reads or asks for with `has`, once.
pub(crate) fn attributes(policy: &Json) -> Vec<String> {
    let mut found = Vec::new();
    walk(policy, |part| {
        found.extend(names_in(part.get("attr")));
    });
    found.sort();
    found.dedup();
    found
}

/// The bodies of `when`.
pub(crate) fn conditions(policy: &Json) -> Vec<Json> {
    clauses(policy, "when")
}

fn clauses(policy: &Json, kind: &str) -> Vec<Json> {
    let all = policy.get("conditions").and_then(Json::as_array);
    let own = |clause: &&Json| clause.get("kind").and_then(Json::as_str) == Some(kind);
    let bodies = all.into_iter().flatten().filter(own);
    bodies
        .filter_map(|clause| clause.get("body").cloned())
        .collect()
}

/// `context.args.stage` as its parts.
fn path(mut json: &Json) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    loop {
        if let Some(variable) = json.get("Var").and_then(Json::as_str) {
            parts.push(variable.to_owned());
            parts.reverse();
            return Some(parts);
        }
        let access = json.get(".")?;
        parts.push(access.get("attr")?.as_str()?.to_owned());
        json = access.get("left")?;
    }
}

fn literal(json: &Json) -> Option<Literal> {
    match json.get("Value")? {
        Json::String(text) => Some(Literal::Text(text.clone())),
        number => number.as_i64().map(Literal::Number),
    }
}

/// A comparison as it reads from the other side.
fn turned(op: &str) -> &str {
    match op {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        same => same,
    }
}

/// What one part of an expression compares; a list that contains a value compares each of its items.
fn compared(part: &Json) -> Vec<Comparison> {
    let Json::Object(members) = part else {
        return Vec::new();
    };
    let Some((op, sides)) = members.iter().next().filter(|_| members.len() == 1) else {
        return Vec::new();
    };
    let (Some(left), Some(right)) = (sides.get("left"), sides.get("right")) else {
        return Vec::new();
    };
    if op == "contains" {
        let items = left
            .get("Set")
            .and_then(Json::as_array)
            .into_iter()
            .flatten();
        let Some(path) = path(right) else {
            return Vec::new();
        };
        let each = |value| Comparison {
            path: path.clone(),
            op: "contains".to_owned(),
            value,
        };
        return items.filter_map(literal).map(each).collect();
    }
    let straight = path(left)
        .zip(literal(right))
        .map(|sides| (sides, op.as_str()));
    let turned = || {
        path(right)
            .zip(literal(left))
            .map(|sides| (sides, turned(op)))
    };
    let found = straight.or_else(turned);
    let found = found.map(|((path, value), op)| Comparison {
        path,
        op: op.to_owned(),
        value,
    });
    found.into_iter().collect()
}

/// Every comparison of an expression, wherever it stands.
pub(crate) fn comparisons(expression: &Json) -> Vec<Comparison> {
    let mut found = Vec::new();
    walk(expression, |part| found.extend(compared(part)));
    found
}

/// The comparisons that must all hold for a policy to be satisfied.
pub(crate) fn required(policy: &Json) -> Vec<Comparison> {
    let clauses = clauses(policy, "when");
    let mut open: Vec<&Json> = clauses.iter().collect();
    let mut found = Vec::new();
    while let Some(part) = open.pop() {
        match part.get("&&") {
            Some(both) => open.extend(["left", "right"].iter().filter_map(|side| both.get(*side))),
            None => found.extend(
                compared(part)
                    .into_iter()
                    .filter(|found| found.op != "contains"),
            ),
        }
    }
    found
}
