//! The answer of `list_actions`: a page of actions, the same ones in the text and in the JSON.

use serde_json::{Map, Value as Json, json};
use writ_proto::pb;

use crate::mcp::calls::answer::{TEXT_CHARS_MAX, Told};
use crate::mcp::calls::identity::Identity;
use crate::mcp::tools;
use crate::mcp::tools::schema::of_arguments;

/// Most actions of one page.
const PAGE_ACTIONS_MAX: usize = 50;
/// What the text of a page may have beside its actions, in characters.
const AROUND: usize = 300;

/// The actions behind a cursor, which is the name of the last one before; as many as fit into a text.
pub(crate) fn listed(cards: &[pb::Action], cursor: &str, identity: &Identity) -> Told {
    let mut sorted: Vec<&pb::Action> = cards.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let rest = sorted.partition_point(|card| card.name.as_str() <= cursor);
    let rest = sorted.get(rest..).unwrap_or_default();
    let (mut lines, mut used) = (Vec::new(), AROUND);
    for card in rest.iter().take(PAGE_ACTIONS_MAX) {
        let line = line(card);
        used = used.saturating_add(line.chars().count()).saturating_add(1);
        // One is always there, or a long one would end the list.
        if used > TEXT_CHARS_MAX && !lines.is_empty() {
            break;
        }
        lines.push(line);
    }
    let page = rest.get(..lines.len()).unwrap_or_default();
    let more = rest.len().saturating_sub(page.len());
    let next = page.last().filter(|_| more > 0).map(|card| &card.name);
    let message = format!(
        "{} of {} actions of {}; policy decides each request",
        page.len(),
        cards.len(),
        identity.tenant
    );
    let mut text = format!("{message}\n{}", lines.join("\n"));
    if let Some(next) = next {
        text.push_str(&format!(
            "\n{more} more: call list_actions with cursor \"{next}\"."
        ));
    }
    let actions: Vec<Json> = page.iter().map(|card| one(card)).collect();
    let json = json!({"tenant": identity.tenant, "agent": identity.agent,
        "actions": actions, "next_cursor": next, "message": message});
    Told::new(json, &text, false)
}

fn one(card: &pb::Action) -> Json {
    let conditions: Map<String, Json> = card
        .conditions
        .iter()
        .map(|condition| (condition.field.clone(), json!(condition.values)))
        .collect();
    json!({"name": card.name, "sentence": card.sentence, "verb": card.verb,
        "target_type": card.target_type, "readable_fields": card.readable_fields,
        "connection": card.connection, "tier": card.tier, "risk": card.risk,
        "rollout": tools::rollout(card.rollout), "arguments_schema": of_arguments(card),
        "conditions": conditions, "version_required": card.version_required,
        "records_per_day": card.records_per_day, "undo": card.undo})
}

fn line(card: &pb::Action) -> String {
    let arguments: Vec<String> = card
        .arguments
        .iter()
        .map(|argument| {
            let allowed = argument.r#type.as_ref().map(|kind| kind.allowed.as_str());
            format!("{} ({})", argument.name, allowed.unwrap_or_default())
        })
        .collect();
    format!(
        "{} on {}: {} Arguments: {}. Rollout: {}.",
        card.name,
        card.target_type,
        card.sentence,
        arguments.join("; "),
        tools::rollout(card.rollout)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name: &str, sentence: &str) -> pb::Action {
        pb::Action {
            name: name.into(),
            sentence: sentence.into(),
            target_type: "deal".into(),
            ..pb::Action::default()
        }
    }

    #[test]
    fn every_action_is_on_one_page_in_the_text_and_in_the_json() {
        let identity = Identity {
            tenant: "acme".into(),
            agent: "triage".into(),
            expires: 0,
        };
        for (count, length) in [
            (0, 10),
            (1, 10),
            (20, 200),
            (50, 10),
            (51, 10),
            (120, 10),
            (3, 9_000),
        ] {
            let cards: Vec<pb::Action> = (0..count)
                .map(|index| card(&format!("action_{index:03}"), &"x".repeat(length)))
                .collect();
            let (mut cursor, mut seen, mut pages) = (String::new(), Vec::new(), 0);
            loop {
                let told = listed(&cards, &cursor, &identity);
                pages += 1;
                assert!(pages <= count + 1, "{count} {length}");
                let page = told.json["actions"].as_array().unwrap();
                for action in page {
                    let name = action["name"].as_str().unwrap();
                    assert!(told.text.contains(&format!("{name} on deal")), "{name}");
                    seen.push(name.to_owned());
                }
                let Some(next) = told.json.get("next_cursor").and_then(Json::as_str) else {
                    break;
                };
                assert!(length > 4_000 || told.text.contains(&format!("cursor \"{next}\"")));
                cursor = next.to_owned();
            }
            let names: Vec<&String> = cards.iter().map(|card| &card.name).collect();
            assert_eq!(seen.iter().collect::<Vec<_>>(), names);
        }
    }
}
