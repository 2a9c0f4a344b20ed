//! The tools by name, with what they take and give. Their order is fixed.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value as Json, json};
use writ_proto::card::Verb;
use writ_proto::limits::TOOL_NAME_CHARS_MAX;
use writ_proto::pb;

use crate::mcp::tools::descriptions::{
    DECIDED, EXECUTED, UNTRUSTED, again, asking, confidence, doing, evidence, gives, mode,
    precondition, reason, request_id, takes, uncertain,
};
use crate::mcp::tools::schema::of_arguments;

/// Which tools are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ToolSet {
    /// Ask, poll, preview, execute, undo: the same seven for every tenant.
    Generic,
    /// One tool per action card, which asks and executes in one call, and what goes with it.
    PerCard,
}

const BASIC: [&str; 7] = [
    "list_actions",
    "request_authorization",
    "get_decision",
    "cancel_request",
    "preview_action",
    "execute_action",
    "undo_action",
];
/// What the tool of a card does in one call.
const IN_ONE_CALL: [&str; 2] = ["request_authorization", "preview_action"];

fn object(value: Json) -> Arc<JsonObject> {
    Arc::new(match value {
        Json::Object(map) => map,
        _ => JsonObject::new(),
    })
}

fn tool(name: String, about: String, hints: (bool, bool, bool), input: Json, output: Json) -> Tool {
    let (read_only, destructive, idempotent) = hints;
    let annotations = ToolAnnotations::new()
        .read_only(read_only)
        .destructive(destructive)
        .idempotent(idempotent)
        .open_world(false);
    Tool::new(name, about, object(input))
        .with_raw_output_schema(object(output))
        .with_annotations(annotations)
}

/// Whether the tools of a set include a basic one of this name.
pub(super) fn has_basic(set: ToolSet, name: &str) -> bool {
    let skipped = set == ToolSet::PerCard && IN_ONE_CALL.contains(&name);
    BASIC.contains(&name) && !skipped
}

/// Whether a card has a tool of its own. One that is named like a basic tool, or longer than clients take, has none.
pub(super) fn has_card(set: ToolSet, action: &pb::Action) -> bool {
    let shaped = !action.name.is_empty()
        && action.name.len() <= TOOL_NAME_CHARS_MAX
        && action
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    set == ToolSet::PerCard && shaped && !BASIC.contains(&action.name.as_str())
}

/// All tools of a set, the basic ones first, then the cards by name.
pub(super) fn tools(set: ToolSet, actions: &[pb::Action]) -> Vec<Tool> {
    let basic = BASIC.into_iter().filter(|name| has_basic(set, name));
    let basic = basic
        .filter_map(|name| asking(name).or_else(|| doing(name)))
        .map(|(name, about, hints, input, output)| {
            tool(name.to_owned(), about, hints, input, output)
        });
    let cards = actions.iter().filter(|action| has_card(set, action));
    basic.chain(cards.map(of_card)).collect()
}

fn verb(action: &pb::Action) -> Option<Verb> {
    Verb::from_name(&action.verb)
}

/// Whether an action only looks.
pub(super) fn reads(action: &pb::Action) -> bool {
    verb(action).is_some_and(Verb::reads)
}

fn of_card(action: &pb::Action) -> Tool {
    let about = format!(
        "{} Acts on one {} of {}. Rolled out: {}. Undo: {}. It is authorized and carried out in \
         one call; the answer is a verdict or an outcome.{UNTRUSTED}",
        action.sentence,
        action.target_type,
        action.connection,
        rollout(action.rollout),
        action.undo
    );
    let target = format!("Id of the {}.", action.target_type);
    let mut required = Vec::new();
    let mut members = JsonObject::new();
    let mut member = |name: &str, schema: Json| members.insert(name.to_owned(), schema);
    member("reason", reason());
    member("confidence", confidence());
    member("uncertain", uncertain());
    member("evidence", evidence());
    member("again", again());
    member("request_id", request_id());
    if verb(action).is_none_or(Verb::has_record) {
        let id = json!({"type": "string", "minLength": 1, "maxLength": 128, "description": target});
        member("target_id", id);
        required.push("target_id");
    }
    if !action.arguments.is_empty() {
        member("arguments", of_arguments(action));
        required.push("arguments");
    }
    if !reads(action) {
        member("mode", mode());
        member("precondition", precondition());
    }
    if action.version_required {
        required.push("precondition");
    }
    let input = takes(&Json::Object(members), &json!(required));
    let output = gives(&[&DECIDED[..], &EXECUTED[..]].concat());
    tool(
        action.name.clone(),
        about,
        (reads(action), !reads(action), false),
        input,
        output,
    )
}

/// The rollout of an action by name; what is not known writes nothing.
pub(super) fn rollout(rollout: i32) -> &'static str {
    match pb::Rollout::try_from(rollout) {
        Ok(pb::Rollout::Live) => "live",
        Ok(pb::Rollout::Pilot) => "pilot",
        Ok(pb::Rollout::DryRun) => "dry_run",
        Ok(pb::Rollout::Suggest | pb::Rollout::Unspecified) | Err(_) => "suggest",
    }
}

pub(crate) mod arguments;
pub(crate) mod descriptions;
pub(crate) mod listing;
pub(crate) mod schema;
#[cfg(test)]
mod tests;
