//! Slips that Cedar accepts are named, with the place; the shipped sets have none.

use super::*;
use crate::domain::policy::tests::shipped;

fn warnings(sources: &Sources) -> Vec<Finding> {
    TenantPolicies::build(sources).unwrap().warnings
}

#[test]
fn the_shipped_sets_have_no_warnings() {
    for tenant in ["acme", "globex"] {
        assert_eq!(warnings(&shipped(tenant)), [], "{tenant}");
    }
}

#[test]
fn a_name_that_is_too_long_for_a_tool_is_told() {
    let mut sources = shipped("acme");
    let long = "a".repeat(TOOL_NAME_CHARS_MAX + 1);
    let (_, stage) = sources
        .cards
        .iter()
        .find(|(name, _)| name == "set_stage.toml")
        .unwrap()
        .clone();
    let text = stage.replacen("name = \"set_stage\"", &format!("name = \"{long}\""), 1);
    sources.cards.push((format!("{long}.toml"), text));
    let said = warnings(&sources);
    let found = said
        .iter()
        .find(|finding| finding.message.contains("54 characters"));
    assert!(
        found.is_some_and(|finding| finding.at.is_some()),
        "{said:?}"
    );
}

/// A rule; what must be said of it; the word above the caret.
const SLIPS: [(&str, &str, &str); 14] = [
    (
        "forbid (principal in Role::\"suspendd\", action, resource)",
        "no Role::\"suspendd\". Did you mean `suspended`?",
        "\"suspendd\"",
    ),
    (
        "permit (principal == Agent::\"trige\", action == Action::\"refund\", resource)",
        "no Agent::\"trige\". Did you mean `triage`?",
        "\"trige\"",
    ),
    (
        "forbid (principal, action == Action::\"refund\", resource) when { resource has customer && resource.customer == Customer::\"C-11\" }",
        "no Customer::\"C-11\". Did you mean `C-1`?",
        "\"C-11\"",
    ),
    (
        "forbid (principal, action, resource) when { context.environment == \"Production\" }",
        "set.toml says environment = \"production\"",
        "\"Production\"",
    ),
    (
        "forbid (principal, action, resource) when { \"prod\" == context.environment }",
        "set.toml says environment = \"production\"",
        "\"prod\"",
    ),
    (
        "forbid (principal, action, resource) when { context.mode == \"exec\" }",
        "no mode \"exec\". Did you mean `execute`?",
        "\"exec\"",
    ),
    (
        "forbid (principal, action == Action::\"set_stage\", resource) when { context.args.stage == \"wonn\" }",
        "`stage` is never \"wonn\". Did you mean `won`?",
        "\"wonn\"",
    ),
    (
        "forbid (principal, action == Action::\"set_stage\", resource) when { [\"won\", \"lsot\"].contains(context.args.stage) }",
        "`stage` is never \"lsot\". Did you mean `lost`?",
        "\"lsot\"",
    ),
    (
        "forbid (principal, action == Action::\"refund\", resource) when { context.amount_minor > 500 && context.amount_minor < 400 }",
        "never forbids anything",
        "when",
    ),
    (
        "permit (principal, action == Action::\"refund\", resource) when { 500 < context.amount_minor && context.amount_minor <= 500 }",
        "never permits anything",
        "when",
    ),
    (
        "permit (principal, action == Action::\"refund\", resource) when { context.currency == \"EUR\" && context.currency == \"USD\" }",
        "never permits anything",
        "when",
    ),
    (
        "forbid (principal, action == Action::\"refund\", resource) when { resource has custmer && context.amount_minor > 5 }",
        "no agent, record or request has `custmer`. Did you mean `customer`?",
        "custmer",
    ),
    (
        "forbid (principal, action == Action::\"refund\", resource) unless { context has confidense }",
        "no agent, record or request has `confidense`. Did you mean `confidence`?",
        "confidense",
    ),
    (
        "permit (principal, action, resource)",
        "every action on every record",
        "permit",
    ),
];

#[test]
fn a_slip_in_a_rule_is_named_with_its_place() {
    for (rule, expected, word) in SLIPS {
        let mut sources = shipped("acme");
        let text = format!(
            "// A comment.\n@id(\"extra\")\n@reason(\"why\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@acme.example\")\n{rule};\n"
        );
        sources.policies.push(("extra.cedar".into(), text));
        let found = warnings(&sources);
        let [one] = found.as_slice() else {
            panic!("{rule}: {found:?}");
        };
        assert!(one.message.contains(expected), "{rule}: {}", one.message);
        let at = one.at.as_ref().unwrap();
        let below: String = at.text.chars().skip(at.column - 1).collect();
        assert!(below.starts_with(word), "{rule}: {below}");
        assert_eq!((one.file.as_str(), at.line), ("extra.cedar", 5));
    }
}

#[test]
fn a_rule_for_another_environment_or_a_free_argument_is_no_slip() {
    let table = [
        "forbid (principal, action, resource) when { context.environment == \"staging\" }",
        "forbid (principal, action == Action::\"add_note\", resource) when { context.args.text == \"wonn\" }",
        "forbid (principal, action, resource) when { context.hour > 22 || context.hour < 6 }",
    ];
    for rule in table {
        let mut sources = shipped("acme");
        let text = format!(
            "@id(\"extra\")\n@reason(\"why\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@acme.example\")\n{rule};\n"
        );
        sources.policies.push(("extra.cedar".into(), text));
        assert_eq!(warnings(&sources), [], "{rule}");
    }
}

#[test]
fn a_slip_in_a_card_or_a_role_of_approvers_is_named() {
    let mut sources = shipped("acme");
    for (name, text) in &mut sources.cards {
        if name == "add_note.toml" {
            *text = text.replace("\"crm/main\"", "\"crm/man\"");
        }
    }
    let found = warnings(&sources);
    assert!(
        found.iter().any(|one| one.file == "actions/add_note.toml"
            && one.message.contains("crm/main")
            && one.at.is_some()),
        "{found:?}"
    );
    let mut sources = shipped("acme");
    for (name, text) in &mut sources.cards {
        if name == "add_note.toml" {
            *text = text.replace("role:sales-ops", "role:sale-ops");
        }
    }
    let found = warnings(&sources);
    assert!(
        found.iter().any(|one| one.file == "actions/add_note.toml"
            && one
                .message
                .contains("only this card names the role `sale-ops`. Did you mean `sales-ops`?")),
        "{found:?}"
    );
    let mut sources = shipped("acme");
    let rule = |id: &str, role: &str| {
        format!(
            "@id(\"{id}\")\n@reason(\"why\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@a.example\")\n@approval(\"role:{role};quorum:1;ttl:1h\")\npermit (principal == Agent::\"triage\", action == Action::\"refund\", resource);\n"
        )
    };
    sources.policies.push((
        "extra.cedar".into(),
        rule("a", "finance") + &rule("b", "finanse"),
    ));
    let found = warnings(&sources);
    assert!(
        found
            .iter()
            .any(|one| one.message.contains("Did you mean `finance`?")),
        "{found:?}"
    );
}

#[test]
fn a_slip_in_the_parent_of_an_agent_is_named_whatever_else_is_there() {
    let mut sources = shipped("acme");
    let teams: Vec<String> = (0..WARNINGS_MAX)
        .map(|number| format!("{{\"type\": \"Role\", \"id\": \"a-team-like-no-other-{number}\"}}"))
        .collect();
    let slip = "{\"type\": \"Role\", \"id\": \"suspendd\"}";
    let all = format!("{}, {slip}", teams.join(", "));
    sources.entities_json =
        sources
            .entities_json
            .replacen("\"parents\": [{", &format!("\"parents\": [{all}, {{"), 1);
    let found = warnings(&sources);
    let told: Vec<_> = found
        .iter()
        .filter(|one| one.message.contains("has the parent `suspendd`"))
        .collect();
    let [told] = told.as_slice() else {
        panic!("{found:?}")
    };
    assert!(
        told.message.contains("Did you mean `suspended`?"),
        "{told:?}"
    );
    assert!(told.at.is_some(), "{told:?}");
    // Nor need anybody have declared the one that a rule names.
    let declared = "\"type\": \"Role\", \"id\": \"suspended\"";
    assert!(sources.entities_json.contains(declared));
    sources.entities_json = sources
        .entities_json
        .replace(declared, "\"type\": \"Role\", \"id\": \"gone\"");
    let found = warnings(&sources);
    let told = found
        .iter()
        .any(|one| one.message.contains("has the parent `suspendd`"));
    assert!(told, "{found:?}");
    // Where the declaration has the slip, the rule is not said to name nothing.
    let mut sources = shipped("acme");
    let slip = "\"type\": \"Role\", \"id\": \"suspendd\"";
    sources.entities_json = sources.entities_json.replacen(declared, slip, 1);
    let found = warnings(&sources);
    let told = found.iter().any(|one| {
        one.message.contains("`suspended`, as a rule names it")
            && one.message.contains("declares Role `suspendd`")
    });
    assert!(told, "{found:?}");
}

#[test]
fn amounts_between_two_rules_are_a_gap_unless_a_rule_closes_it() {
    let mut sources = shipped("acme");
    let gaps = TenantPolicies::build(&sources).unwrap().gaps();
    let [gap] = gaps.as_slice() else {
        panic!("{gaps:?}")
    };
    assert_eq!(
        (gap.action.as_str(), gap.currency.as_str()),
        ("refund", "EUR")
    );
    assert_eq!((gap.from, gap.to), (40_001, 50_000));
    let rule = "@id(\"between\")\n@reason(\"ask for less or for more\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@a.example\")\nforbid (principal, action == Action::\"refund\", resource) when { context.currency == \"EUR\" && context.amount_minor > 40000 && context.amount_minor <= 50000 };\n";
    sources.policies.push(("extra.cedar".into(), rule.into()));
    assert_eq!(TenantPolicies::build(&sources).unwrap().gaps(), []);
}
