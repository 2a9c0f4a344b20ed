//! Slips of a hand in policies, cards, sets, entities, tests and the configuration: `policyd check` names
//! each with its line, shows it with a caret, and says what was most likely meant.

use e2e::World;

/// File, what stands there, what somebody types instead, and what must be said beside the place.
const SLIPS: [(&str, &str, &str, &str); 41] = [
    (
        "guardrails.cedar",
        "@reason(\"this agent is suspended\")",
        "@reson(\"this agent is suspended\")",
        "did you mean `@reason`",
    ),
    (
        "guardrails.cedar",
        "@id(\"suspended\")",
        "@id(\"missing-reason\")",
        "first in guardrails.cedar:9",
    ),
    (
        "guardrails.cedar",
        "Role::\"suspended\"",
        "Role::\"suspnded\"",
        "Did you mean `suspended`",
    ),
    (
        "guardrails.cedar",
        "context.environment == \"production\"",
        "context.environment == \"prodution\"",
        "environment = \"production\"",
    ),
    (
        "guardrails.cedar",
        "context.mode == \"execute\"",
        "context.mode == \"excute\"",
        "Did you mean `execute`",
    ),
    (
        "guardrails.cedar",
        "context.reason == \"\"",
        "context.reson == \"\"",
        "reson",
    ),
    (
        "guardrails.cedar",
        "forbid (principal, action in Action::\"risk:high\", resource)",
        "forbit (principal, action in Action::\"risk:high\", resource)",
        "forbit",
    ),
    (
        "guardrails.cedar",
        "unless { principal in Role::\"support-agent\" }",
        "unless { princpal in Role::\"support-agent\" }",
        "princpal",
    ),
    (
        "refunds.cedar",
        "context.amount_minor <= 25000",
        "context.amout_minor <= 25000",
        "amout_minor",
    ),
    (
        "refunds.cedar",
        "permit (principal in Role::\"support-agent\", action == Action::\"refund\", resource)\nwhen { resource.tenant == principal.tenant && context.currency == \"EUR\" && context.amount_minor <= 25000 };",
        "permit (principal in Role::\"support-agent\", action == Action::\"refnd\", resource);",
        "refnd",
    ),
    ("refunds.cedar", "ttl:24h", "ttl:24hh", "24hh"),
    ("refunds.cedar", "quorum:1", "quorm:1", "@approval"),
    (
        "refunds.cedar",
        "resource.customer.tier",
        "resource.custmer.tier",
        "custmer",
    ),
    (
        "refunds.cedar",
        "tier == \"gold\"",
        "tier == \"gold",
        "not closed in its line",
    ),
    (
        "sales.cedar",
        "Role::\"sales-agent\"",
        "Role::\"sales-agnt\"",
        "Did you mean `sales-agent`",
    ),
    (
        "set.toml",
        "Europe/Amsterdam",
        "Europe/Amsterdm",
        "Did you mean `Europe/Amsterdam`",
    ),
    (
        "set.toml",
        "environment = ",
        "enviroment = ",
        "Did you mean `environment`",
    ),
    (
        "set.toml",
        "actions = [\"refund\"]",
        "actions = [\"refnd\"]",
        "refnd",
    ),
    (
        "set.toml",
        "window = \"day\"",
        "window = \"dya\"",
        "Did you mean `day`",
    ),
    (
        "set.toml",
        "scope = \"tenant\"",
        "scope = \"tennant\"",
        "Did you mean `tenant`",
    ),
    (
        "set.toml",
        "currency = \"EUR\"",
        "currency = \"EURO\"",
        "EURO",
    ),
    (
        "set.toml",
        "customer = \"Customer\"\ntotal",
        "customer = \"Custmer\"\ntotal",
        "Custmer",
    ),
    (
        "set.toml",
        "spike_floor",
        "spike_flor",
        "Did you mean `spike_floor`",
    ),
    (
        "set.toml",
        "[[budget]]",
        "[[budgt]]",
        "Did you mean `budget`",
    ),
    (
        "actions/set_stage.toml",
        "target = ",
        "tartget = ",
        "Did you mean `target`",
    ),
    (
        "actions/set_stage.toml",
        "\"update_fields\"",
        "\"update_field\"",
        "update_fields",
    ),
    (
        "actions/set_stage.toml",
        "\"medium\"",
        "\"meduim\"",
        "Did you mean `medium`",
    ),
    (
        "actions/set_stage.toml",
        "rollback_window = \"24h\"",
        "rollback_window = \"24 hours\"",
        "24 hours",
    ),
    (
        "actions/set_stage.toml",
        "records_per_day",
        "record_per_day",
        "Did you mean `records_per_day`",
    ),
    (
        "actions/set_stage.toml",
        "type = \"choice\"",
        "type = \"choise\"",
        "choise",
    ),
    (
        "actions/set_stage.toml",
        "\"won\", \"lost\"]",
        "\"won\", \"lost]",
        "missing comma",
    ),
    (
        "actions/set_stage.toml",
        "when = { stage = [\"new\", \"qualified\"",
        "when = { stage = [\"new\", \"qualifed\"",
        "Did you mean `qualified`",
    ),
    (
        "actions/set_stage.toml",
        "when = { stage",
        "when = { stge",
        "Did you mean `stage`",
    ),
    (
        "actions/set_stage.toml",
        "crm/main",
        "crm/mian",
        "Did you mean `crm/main`",
    ),
    (
        "actions/set_stage.toml",
        "target = \"deal\"",
        "target = \"dael\"",
        "Did you mean `deal`",
    ),
    (
        "entities.json",
        "\"type\": \"Agent\", \"id\": \"triage\"",
        "\"type\": \"Agnt\", \"id\": \"triage\"",
        "Agnt",
    ),
    (
        "entities.json",
        "\"Role\", \"id\": \"suspended\" }] }",
        "\"Role\", \"id\": \"suspnded\" }] }",
        "did you mean `suspended`?",
    ),
    (
        "entities.json",
        "\"stage\": \"new\"",
        "\"stge\": \"new\"",
        "stge",
    ),
    (
        "tests/story.json",
        "\"set_stage\"",
        "\"set_stge\"",
        "set_stage",
    ),
    (
        "policyd.toml",
        "grpc_addr",
        "grpc_adr",
        "Did you mean `grpc_addr`",
    ),
    (
        "policyd.toml",
        "trust_domain",
        "trust_domian",
        "Did you mean `trust_domain`",
    ),
];

/// The line of a finding about a file, and whether a caret stands below it.
fn found(said: &str, file: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut rest = said.lines().peekable();
    while let Some(line) = rest.next() {
        let Some((_, behind)) = line.split_once(&format!("{file}:")) else {
            continue;
        };
        let number = behind
            .split(':')
            .next()
            .and_then(|number| number.parse::<usize>().ok());
        let shows = rest.peek().is_some_and(|next| next.contains(" | "));
        lines.extend(number.filter(|_| shows));
    }
    lines
}

#[test]
fn forty_one_slips_are_named_with_line_and_caret() {
    let world = World::prepare(&[]);
    let mut wrong = Vec::new();
    for (file, from, to, hint) in SLIPS {
        let path = match file {
            "policyd.toml" => world.path(file),
            _ => world.path(&format!("policies/acme/{file}")),
        };
        let good = std::fs::read_to_string(&path).unwrap();
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{file}: {from}");
        std::fs::write(&path, &bad).unwrap();
        let output = world.run("policyd", &["check", "--deny-warnings"]);
        std::fs::write(&path, &good).unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let at = good.find(from).unwrap();
        let line = good[..at].matches('\n').count() + 1;
        let near = |other: &usize| other.abs_diff(line) <= 1;
        if output.status.success()
            || !found(&said, file).iter().any(near)
            || !said.to_lowercase().contains(&hint.to_lowercase())
        {
            wrong.push(format!("{file}:{line} {to}\n{said}"));
        }
    }
    let good = world.run("policyd", &["check", "--deny-warnings"]);
    assert!(good.status.success(), "{good:?}");
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        SLIPS.len(),
        wrong.join("\n")
    );
}
