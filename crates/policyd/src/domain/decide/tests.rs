//! Errors deny, groups forbid, slices agree with the whole.

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use proptest::test_runner::{Config, TestRunner};
use writ_proto::ids::{ActionName, AgentId, RequestId, TenantId};
use writ_proto::token::Mode;
use writ_proto::value::args_from_json;

use super::*;
use crate::domain::decide::cedar::evaluate_unsliced;
use crate::domain::decide::facts::HaltView;
use crate::domain::policy::{Sources, TenantPolicies};

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_793_703_600, 0).unwrap()
}

fn with_rules(extra: &str) -> Arc<TenantPolicies> {
    let mut sources: Sources = crate::domain::policy::tests::shipped("acme");
    sources.policies.push(("extra.cedar".into(), extra.into()));
    Arc::new(TenantPolicies::build(&sources).unwrap())
}

pub(crate) fn refund(amount: &str) -> Request {
    let args = args_from_json(&format!(
        "{{\"amount\":{{\"currency\":\"EUR\",\"value\":{amount}}}}}"
    ))
    .unwrap();
    Request {
        provenance: Default::default(),
        caller_tenant: TenantId::parse("acme").unwrap(),
        agent: AgentId::parse("triage").unwrap(),
        cert_sha256: None,
        tenant: TenantId::parse("acme").unwrap(),
        request_id: RequestId::new(uuid::Uuid::from_u128(1)),
        connection: "crm/main".into(),
        action: ActionName::parse("refund").unwrap(),
        target: Some(("order".into(), "O-7".into())),
        args_cbor: args.encode(),
        args,
        precondition: None,
        mode: Mode::Execute,
        reason: "broken".into(),
        evidence: vec![],
        confidence: None,
        again: false,
        trace_id: None,
        run: None,
    }
}

fn decide_with(extra: &str, request: &Request) -> Outcome {
    decide(request, &plain(&with_rules(extra), now()))
}

#[test]
fn a_forbid_that_errors_beside_a_permit_that_matches_is_a_policy_error() {
    // Each overflows for 49.00 EUR, in another way; strict validation cannot see it.
    let conditions = [
        "context.amount_minor * 9223372036854775807 > 0",
        "context.amount_minor + 9223372036854775807 > 0",
        "-9223372036854775807 - context.amount_minor > 0",
        "context.amount_minor * context.amount_minor * context.amount_minor * context.amount_minor * context.amount_minor * context.amount_minor > 0",
    ];
    for effect in ["forbid", "permit"] {
        for condition in conditions {
            let extra = format!(
                "@id(\"fails\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") {effect} (principal, action == Action::\"refund\", \
                 resource) when {{ {condition} }};"
            );
            let outcome = decide_with(&extra, &refund("49.00"));
            assert_eq!(outcome.verdict, Verdict::Deny, "{effect} {condition}");
            assert_eq!(
                outcome.reason,
                Some(Reason::PolicyError),
                "{effect} {condition}"
            );
            // By id only: the words of the engine may quote a record.
            assert_eq!(outcome.errors, ["fails"], "{effect} {condition}");
        }
    }
    assert_eq!(decide_with("", &refund("49.00")).verdict, Verdict::Allow);
}

#[test]
fn a_forbid_over_an_action_group_fires() {
    for group in ["write", "verb:refund", "tier:compensable", "risk:high"] {
        let extra = format!(
            "@id(\"group\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") forbid (principal, action in Action::\"{group}\", resource);"
        );
        let outcome = decide_with(&extra, &refund("49.00"));
        assert_eq!(outcome.reason, Some(Reason::Forbidden), "{group}");
        assert!(outcome.determining.contains(&"group".to_owned()), "{group}");
    }
    let other = "@id(\"group\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") forbid (principal, action in Action::\"verb:set_status\", resource);";
    assert_eq!(decide_with(other, &refund("49.00")).verdict, Verdict::Allow);
}

#[test]
fn what_a_field_sets_off_is_known_to_policies() {
    let forbid = "@id(\"effect\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") forbid (principal, action == Action::\"refund\", \
                  resource) when { context.effects.contains(\"payout\") };";
    for (declared, expected) in [
        ("effects = [\"payout\", \"mail\"]", Verdict::Deny),
        ("effects = [\"mail\"]", Verdict::Allow),
        ("", Verdict::Allow),
    ] {
        let mut sources: Sources = crate::domain::policy::tests::shipped("acme");
        sources.policies.push(("extra.cedar".into(), forbid.into()));
        let file = sources
            .cards
            .iter_mut()
            .find(|(name, _)| name == "refund.toml");
        let card = &mut file.unwrap().1;
        let shipped = "effects = [\"email:customer\", \"ledger\"]";
        assert!(card.contains(shipped));
        *card = card.replace(shipped, declared);
        let set = Arc::new(TenantPolicies::build(&sources).unwrap());
        let facts = plain(&set, now());
        let outcome = decide(&refund("49.00"), &facts);
        assert_eq!(outcome.verdict, expected, "{declared}: {outcome:?}");
    }
}

#[test]
fn the_least_demanding_approval_is_asked_for() {
    let extra = "@id(\"two\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") @approval(\"role:board;quorum:2;ttl:1h\") \
                 permit (principal, action == Action::\"refund\", resource);";
    let mut request = refund("900.00");
    request.target = Some(("order".into(), "O-9".into()));
    let outcome = decide_with(extra, &request);
    assert_eq!(outcome.verdict, Verdict::RequireApproval);
    assert_eq!(
        outcome.approval.map(|need| (need.role, need.quorum)),
        Some(("finance".into(), 1))
    );
    let free = "@id(\"free\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") permit (principal, action == Action::\"refund\", resource);";
    assert_eq!(decide_with(free, &request).verdict, Verdict::Allow);
}

#[test]
fn the_message_is_that_of_the_rule_whose_approval_is_asked_for() {
    let extra = "@id(\"a-board\") @reason(\"the board decides\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") \
                 @approval(\"role:board;quorum:2;ttl:1h\") \
                 permit (principal, action == Action::\"refund\", resource);";
    let mut request = refund("900.00");
    request.target = Some(("order".into(), "O-9".into()));
    let outcome = decide_with(extra, &request);
    assert_eq!(outcome.message, "refunds over 500 EUR need finance");
}

#[test]
fn whether_another_tenant_is_halted_is_not_told() {
    let halted = |scope: &str| Facts {
        now: now(),
        policies: with_rules(""),
        known: Default::default(),
        grounds: Default::default(),
        halts: HaltView {
            epoch: 0,
            scopes: vec![scope.parse().unwrap()],
            heard_ms: None,
        },
    };
    let mut request = refund("49.00");
    request.tenant = TenantId::parse("globex").unwrap();
    let reason = |scope| decide(&request, &halted(scope)).reason;
    assert_eq!(reason("tenant:globex"), Some(Reason::Forbidden));
    assert_eq!(reason("tenant:acme"), Some(Reason::Halted));
}

/// The shipped set with facts that name others: an order its deal and a record with a deal, a
/// deal its parent and itself.
fn with_links(rule: &str) -> Result<TenantPolicies, String> {
    let mut sources = crate::domain::policy::tests::shipped("acme");
    sources.set_toml = sources
        .set_toml
        .replace(
            "status = \"String\"",
            "status = \"String\"\ndeal = \"Deal\"\nlast = \"{ deal: Deal }\"\nself = \"Order\"",
        )
        .replace(
            "stage = \"String\"",
            "stage = \"String\"\nparent = \"Deal\"",
        );
    let deal = |id: &str| format!("{{\"type\":\"Deal\",\"id\":\"{id}\"}}");
    let (one, two) = (deal("D-1"), deal("D-2"));
    let links = format!(
        "\"minor\": 12000}}, \"deal\": {one}, \"last\": {{\"deal\": {two}}}, \
         \"self\": {{\"type\":\"Order\",\"id\":\"O-7\"}},"
    );
    let deals = format!(
        ",{{\"uid\":{one},\"attrs\":{{\"tenant\":\"acme\",\"stage\":\"open\",\"parent\":{two}}},\
         \"parents\":[]}},{{\"uid\":{two},\"attrs\":{{\"tenant\":\"acme\",\"stage\":\"disputed\"}},\
         \"parents\":[]}}\n]"
    );
    sources.entities_json = sources
        .entities_json
        .replace("\"minor\": 12000}", links.trim_end_matches(','))
        .replace("\n]", &deals);
    let rule = format!(
        "@id(\"linked\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") forbid (principal, action == Action::\"refund\", \
         resource) when {{ {rule} }};"
    );
    sources.policies.push(("extra.cedar".into(), rule));
    TenantPolicies::build(&sources).map_err(|errors| errors.to_string())
}

#[test]
fn a_forbid_over_a_linked_fact_fires_or_is_refused_at_load_and_never_vanishes() {
    // Cedar answers `has` with false for an entity that the slice lacks, without any error.
    let reached = [
        "resource has deal && resource.deal has stage && resource.deal.stage == \"open\"",
        "resource has last && resource.last.deal has stage && \
         resource.last.deal.stage == \"disputed\"",
        "resource has self && resource.self has status && resource.self.status == \"paid\"",
    ];
    for rule in reached {
        let facts = plain(&Arc::new(with_links(rule).unwrap()), now());
        let outcome = decide(&refund("49.00"), &facts);
        assert_eq!(outcome.reason, Some(Reason::Forbidden), "{rule}");
        assert!(outcome.determining.contains(&"linked".to_owned()), "{rule}");
    }
    let too_far = [
        "resource has deal && resource.deal has parent && resource.deal.parent has stage && \
         resource.deal.parent.stage == \"disputed\"",
        "resource has self && resource.self has deal && resource.self.deal has stage && \
         resource.self.deal.stage == \"open\"",
        "Deal::\"D-2\" has stage && Deal::\"D-2\".stage == \"disputed\"",
    ];
    for rule in too_far {
        let error = with_links(rule).expect_err(rule);
        assert!(error.contains("extra.cedar"), "{rule}: {error}");
    }
}

#[test]
fn a_rule_counts_only_between_its_dates() {
    let at = |from: &str, until: &str| {
        format!(
            "@id(\"dated\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") @effective_from(\"{from}\") @effective_until(\"{until}\") \
             forbid (principal, action == Action::\"refund\", resource);"
        )
    };
    let table = [
        (
            "2026-11-03T11:00:00Z",
            "2026-12-01T00:00:00Z",
            Verdict::Deny,
        ),
        (
            "2026-11-03T11:00:01Z",
            "2026-12-01T00:00:00Z",
            Verdict::Allow,
        ),
        (
            "2026-01-01T00:00:00Z",
            "2026-11-03T11:00:00Z",
            Verdict::Allow,
        ),
    ];
    for (from, until, want) in table {
        assert_eq!(
            decide_with(&at(from, until), &refund("49.00")).verdict,
            want,
            "{from} {until}"
        );
    }
}

#[test]
fn another_tenant_is_refused_even_where_every_policy_allows_it() {
    let mut sources = crate::domain::policy::tests::shipped("acme");
    let all = "@id(\"all\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") permit (principal, action, resource);";
    sources.policies = vec![("all.cedar".into(), all.into())];
    let policies = Arc::new(TenantPolicies::build(&sources).unwrap());
    let facts = plain(&policies, now());
    let mut request = refund("49.00");
    assert_eq!(decide(&request, &facts).verdict, Verdict::Allow);
    request.tenant = TenantId::parse("globex").unwrap();
    assert_eq!(decide(&request, &facts).reason, Some(Reason::Forbidden));
}

#[test]
fn every_scope_of_a_halt_stops_its_requests_and_no_others() {
    let table = [
        ("global", true),
        ("tenant:acme", true),
        ("tenant:globex", false),
        ("connection:crm/main", true),
        ("action:refund", true),
        ("action:set_stage", false),
        ("agent:triage", true),
        ("agent:other", false),
        ("tenant:acme/agent:triage", true),
        ("tenant:globex/agent:triage", false),
        ("tenant:acme/customer:C-1", true),
        ("tenant:acme/customer:C-2", false),
        ("tenant:acme/run:r-1", true),
        ("tenant:acme/run:r-2", false),
    ];
    for (scope, halted) in table {
        let halts = HaltView {
            epoch: 0,
            scopes: vec![scope.parse().unwrap()],
            heard_ms: None,
        };
        let facts = Facts {
            now: now(),
            policies: with_rules(""),
            halts,
            known: Default::default(),
            grounds: Default::default(),
        };
        let mut request = refund("49.00");
        request.run = Some(writ_proto::ids::RunId::parse("r-1").unwrap());
        let stopped = decide(&request, &facts).reason == Some(Reason::Halted);
        assert_eq!(stopped, halted, "{scope}");
    }
}

#[test]
fn slices_and_the_whole_set_agree_on_ten_thousand_requests() {
    let mut extra = String::new();
    for index in 0..40 {
        let action = ["refund", "set_stage", "add_note", "set_ticket_status"][index % 4];
        let group = ["write", "verb:refund", "risk:high", "tier:reversible"][index % 4];
        let scope = if index % 3 == 0 {
            format!("action in Action::\"{group}\"")
        } else {
            format!("action == Action::\"{action}\"")
        };
        let effect = if index % 5 == 0 { "forbid" } else { "permit" };
        let hour = index % 24;
        let _ = writeln!(
            extra,
            "@id(\"r{index}\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") {effect} (principal, {scope}, resource) when {{ context.hour * {} == {hour} }};",
            if index % 7 == 0 {
                "9223372036854775807"
            } else {
                "1"
            },
        );
    }
    let set = with_rules(&extra);
    let mut runner = TestRunner::new(Config {
        cases: 10_000,
        ..Config::default()
    });
    let strategy = (0_usize..4, 0_i64..86_400 * 7, 1_i64..100_000, 0_usize..4);
    let outcome = runner.run(&strategy, |(which, seconds, amount, who)| {
        let (action, target, args) = [
            (
                "refund",
                ("order", "O-7"),
                format!(
                    "{{\"amount\":{{\"currency\":\"EUR\",\"value\":{}.{:02}}}}}",
                    amount / 100,
                    amount % 100
                ),
            ),
            (
                "set_stage",
                ("deal", "D-104"),
                "{\"stage\":\"lost\"}".to_owned(),
            ),
            ("add_note", ("deal", "D-1"), "{\"text\":\"x\"}".to_owned()),
            (
                "set_ticket_status",
                ("ticket", "T-1"),
                "{\"status\":\"open\"}".to_owned(),
            ),
        ][which]
            .clone();
        let mut request = refund("1");
        request.action = ActionName::parse(action).unwrap();
        request.target = Some((target.0.into(), target.1.into()));
        request.args = args_from_json(&args).unwrap();
        request.agent = AgentId::parse(["triage", "seller", "rogue", "nobody"][who]).unwrap();
        let now = now() + chrono::Duration::seconds(seconds);
        let card = set.card(&request.action).unwrap();
        let facts = plain(&set, now);
        let (sliced, whole) = (
            evaluate(&request, card, (&facts, &Default::default())),
            evaluate_unsliced(&request, card, (&facts, &Default::default())),
        );
        assert_eq!(sliced, whole);
        Ok(())
    });
    outcome.unwrap();
}

/// Nothing is known beside the set.
fn plain(set: &Arc<TenantPolicies>, now: DateTime<Utc>) -> Facts {
    Facts {
        now,
        policies: Arc::clone(set),
        halts: Default::default(),
        known: Default::default(),
        grounds: Default::default(),
    }
}

/// The shipped set with its card of refunds changed.
fn with_card(from: &str, to: &str, now: &str) -> Facts {
    let mut sources: Sources = crate::domain::policy::tests::shipped("acme");
    let file = sources
        .cards
        .iter_mut()
        .find(|(name, _)| name == "refund.toml");
    let card = &mut file.unwrap().1;
    assert!(card.contains(from));
    *card = card.replace(from, to);
    Facts {
        now: now.parse().unwrap(),
        policies: Arc::new(TenantPolicies::build(&sources).unwrap()),
        halts: HaltView::default(),
        known: Default::default(),
        grounds: Default::default(),
    }
}

const MONDAY: &str = "2026-11-02T11:00:00Z";

#[test]
fn a_version_that_the_card_requires_is_named() {
    let from = "[precondition]";
    let facts = with_card(from, "[precondition]\nversion = \"required\"", MONDAY);
    let mut request = refund("49.00");
    assert_eq!(
        decide(&request, &facts).reason,
        Some(Reason::InvalidArguments)
    );
    request.precondition = Some("v7".into());
    assert_eq!(decide(&request, &facts).verdict, Verdict::Allow);
}

#[test]
fn the_hours_of_a_card_hold_at_the_moment_of_the_decision() {
    let hours = "hours = { days = \"mon-fri\", from = \"08:00\", to = \"18:00\", zone = \"Europe/Amsterdam\" }\n[caps]";
    for (now, reason) in [
        (MONDAY, None),
        ("2026-11-02T17:00:00Z", Some(Reason::OutsideHours)),
    ] {
        let outcome = decide(&refund("49.00"), &with_card("[caps]", hours, now));
        assert_eq!(outcome.reason, reason, "{now}");
    }
}

#[test]
fn a_rule_shortens_the_life_of_a_token_that_rests_on_it() {
    let short = "@id(\"short\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") @ttl(\"10s\") \
                 permit (principal, action == Action::\"refund\", resource);";
    assert_eq!(decide_with("", &refund("49.00")).ttl_seconds, None);
    let outcome = decide_with(short, &refund("49.00"));
    assert_eq!(outcome.ttl_seconds, Some(10));
}

#[test]
fn an_allowed_execution_takes_the_places_of_its_intent_before_any_budget() {
    let intent = "[intent]\nby = [\"target\", \"amount\"]\nwithin = \"15m\"\n\n[precondition]";
    let facts = with_card("[precondition]", intent, MONDAY);
    let places = |request: &Request| {
        let (_, holds) = reserve(request, &facts, decide(request, &facts), 60);
        let place = |hold: &Hold| intent::is_place(&hold.key);
        (
            holds.first().is_some_and(place),
            holds.iter().filter(|hold| place(hold)).count(),
        )
    };
    assert_eq!(places(&refund("49.00")), (true, 4));
    let again = Request {
        again: true,
        ..refund("49.00")
    };
    assert_eq!(places(&again), (false, 0));
}

#[test]
fn the_same_request_id_of_another_agent_is_another_request() {
    let (own, mut other) = (refund("49.00"), refund("49.00"));
    assert_eq!(own.stored_id(), other.stored_id());
    other.agent = AgentId::parse("seller").unwrap();
    assert_ne!(own.stored_id(), other.stored_id());
}
