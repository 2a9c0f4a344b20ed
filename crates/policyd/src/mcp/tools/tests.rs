//! What of a card becomes a tool.

use super::*;

fn card(name: &str) -> pb::Action {
    pb::Action {
        name: name.into(),
        ..pb::Action::default()
    }
}

fn names(set: ToolSet, cards: &[pb::Action]) -> Vec<String> {
    let tools = tools(set, cards);
    tools.iter().map(|tool| tool.name.to_string()).collect()
}

#[test]
fn each_set_has_its_tools_in_one_order() {
    let cards = [card("add_note"), card("undo_action"), card("set-stage")];
    assert_eq!(names(ToolSet::Generic, &cards), BASIC);
    let expected = [
        "list_actions",
        "get_decision",
        "cancel_request",
        "execute_action",
        "undo_action",
        "add_note",
    ];
    assert_eq!(names(ToolSet::PerCard, &cards), expected);
}

#[test]
fn with_the_name_of_the_server_before_it_every_name_is_one_that_clients_take() {
    let fits = "a".repeat(TOOL_NAME_CHARS_MAX);
    let (cards, long) = (
        [card(&fits), card(&format!("{fits}a"))],
        format!("mcp__writ__{fits}"),
    );
    assert_eq!(long.len(), 64);
    let named = names(ToolSet::PerCard, &cards);
    assert!(named.contains(&fits) && named.len() == BASIC.len() - IN_ONE_CALL.len() + 1);
    for name in BASIC {
        assert!(name.len() <= TOOL_NAME_CHARS_MAX, "{name}");
    }
}

#[test]
fn every_tool_says_what_it_takes_and_gives_and_how_it_acts() {
    for tool in tools(ToolSet::PerCard, &[card("add_note")])
        .iter()
        .chain(&tools(ToolSet::Generic, &[]))
    {
        let input = &tool.input_schema;
        assert_eq!(input["additionalProperties"], json!(false), "{}", tool.name);
        let output = tool.output_schema.as_ref().unwrap();
        assert_eq!(output["required"], json!(["message"]), "{}", tool.name);
        let hints = tool.annotations.as_ref().unwrap();
        let reads = ["list_actions", "get_decision", "preview_action"];
        let read_only = reads.contains(&tool.name.as_ref());
        assert_eq!(hints.read_only_hint, Some(read_only), "{}", tool.name);
    }
}
