//! What a set says of its facts, and when a system is asked for them.

use super::*;
use crate::domain::decide::tests::{now, refund};
use crate::domain::policy::Sources;
use crate::domain::policy::tests::as_shipped;

fn read_text(text: &str) -> Result<(FactTypes, AskedKinds), String> {
    read(&toml::from_str(text).unwrap())
}

/// What is written instead of something, and what is said of it.
const FLAWS: &[(&str, &str, &str)] = &[
    (
        "from = \"system\"",
        "from = \"crm\"",
        "`from` is \"system\"",
    ),
    (
        "fields = [\"total\", \"customer\"]",
        "fields = []",
        "`fields` lists 1 to 32",
    ),
    (
        "fields = [\"total\", \"customer\"]",
        "fields = [3]",
        "is in fields and has no type",
    ),
    (
        "\"customer\"]",
        "\"left\"]",
        "`left` is in fields and has no type: add left = \"String\"",
    ),
    ("max_age = \"5s\"\n", "", "`max_age` says for how long"),
    (
        "max_age = \"5s\"",
        "max_age = \"61s\"",
        "`max_age` says for how long",
    ),
    (
        "max_age = \"5s\"",
        "max_age = \"0s\"",
        "`max_age` says for how long",
    ),
    (
        "customer = \"Customer\"",
        "customer = \"Set<Long>\"",
        "`customer`: what a system is asked for is",
    ),
    (
        "customer = \"Customer\"",
        "customer = 5",
        "`customer` is a type of Cedar in quotes",
    ),
    (
        "max_age = \"5s\"",
        "max_age = \"5s\"\nobject = \"\"",
        "`object` is an object",
    ),
];

#[test]
fn what_a_system_is_asked_for_is_said_whole_or_refused() {
    let good = "[order]\nfrom = \"system\"\nfields = [\"total\", \"customer\"]\nmax_age = \"5s\"\n\
                total = '{ currency: String, minor: Long }'\ncustomer = \"Customer\"\nnote = \"String\"";
    let (types, asked) = read_text(good).unwrap();
    assert_eq!(types["order"].len(), 3, "keys of the question are no facts");
    let order = &asked["order"];
    assert_eq!((order.object.as_str(), order.max_age_seconds), ("order", 5));
    assert_eq!(order.fields["total"], FactKind::Money);
    assert_eq!(
        order.fields["customer"],
        FactKind::Entity("Customer".into())
    );
    assert!(
        !order.fields.contains_key("note"),
        "note is in entities.json"
    );
    for (from, to, says) in FLAWS {
        let text = good.replace(from, to);
        assert_ne!(text, good);
        let why = read_text(&text).unwrap_err();
        assert!(
            why.starts_with("facts.order: ") && why.contains(says),
            "{to}: {why}"
        );
    }
    // Without `from` the other words are facts like any other.
    assert!(
        read_text("[order]\nobject = \"String\"")
            .unwrap()
            .1
            .is_empty()
    );
}

#[test]
fn no_fact_stands_in_two_places() {
    let mut sources = as_shipped("acme");
    let order = "{\"uid\":{\"type\":\"Order\",\"id\":\"O-7\"},\"attrs\":{\"tenant\":\"acme\",\"status\":\"paid\"},\"parents\":[]},";
    sources.entities_json = sources.entities_json.replacen('[', &format!("[{order}"), 1);
    let errors = TenantPolicies::build(&sources).unwrap_err().to_string();
    assert!(errors.contains("Order::\"O-7\" says `status`"), "{errors}");
    assert!(errors.contains("entities.json:1"), "{errors}");
}

fn asks(sources: &Sources, change: impl Fn(&mut Request)) -> bool {
    let set = TenantPolicies::build(sources).unwrap();
    let mut request = refund("49.00");
    change(&mut request);
    let card = std::sync::Arc::clone(set.card(&request.action).unwrap());
    set.asks(&request, &card, now()).is_some()
}

#[test]
fn a_system_is_asked_only_where_a_rule_or_a_budget_needs_it() {
    let whole = as_shipped("acme");
    assert!(asks(&whole, |_| {}));
    // A stranger is denied without it, and costs the system nothing.
    assert!(!asks(&whole, |request| request.agent = "stranger".parse_agent()));
    assert!(!asks(&whole, |request| request.tenant =
        writ_proto::ids::TenantId::parse("globex").unwrap()));
    assert!(!asks(&whole, |request| request.target =
        Some(("ticket".into(), "T-1".into()))));
    // A rule that mentions none of the facts needs none; a budget by customer does.
    let mut plain = whole.clone();
    for (file, text) in &mut plain.policies {
        if file == "refunds.cedar" {
            *text = text
                .split("@id")
                .filter(|rule| !rule.contains("resource has"))
                .fold(String::new(), |all, rule| {
                    if rule.is_empty() {
                        all
                    } else {
                        all + "@id" + rule
                    }
                });
        }
    }
    assert!(asks(&plain, |_| {}), "the budget counts customers");
    plain.set_toml = plain
        .set_toml
        .replace("scope = \"customer\"", "scope = \"tenant\"");
    assert!(!asks(&plain, |_| {}));
}

trait ParseAgent {
    fn parse_agent(&self) -> writ_proto::ids::AgentId;
}

impl ParseAgent for str {
    fn parse_agent(&self) -> writ_proto::ids::AgentId {
        writ_proto::ids::AgentId::parse(self).unwrap()
    }
}
