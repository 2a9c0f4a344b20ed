//! Whatever is decided can be decided again, and what was changed is named.

use writ_proto::value::{Map, args_from_json};

use super::*;
use crate::domain::budget::Over;
use crate::domain::decide::{over_budget, queue_full};
use crate::domain::policy::Sources;
use crate::domain::policy::tests::shipped;
use crate::domain::record::{Place, PolicyStamp, TokenStamp, project, request_values};

/// Small numbers that look random and are the same at every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// The sample set, and two later versions of it.
fn versions() -> Vec<Arc<TenantPolicies>> {
    let set = |change: &dyn Fn(&mut Sources)| {
        let mut sources = shipped("acme");
        change(&mut sources);
        Arc::new(TenantPolicies::build(&sources).unwrap())
    };
    let rule = "@id(\"friday\")\n@reason(\"no stage moves at night\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@a.example\")\nforbid (principal, action == Action::\"set_stage\", resource) when { context.hour < 6 };\n";
    vec![
        set(&|_| {}),
        set(&|sources| sources.policies.push(("friday.cedar".into(), rule.into()))),
        set(&|sources| {
            for (_, text) in &mut sources.policies {
                *text = text.replace("25000", "1000");
            }
        }),
    ]
}

fn random_request(dice: &mut Dice) -> Request {
    let action = dice.pick(&["refund", "set_stage", "add_note", "no_such_action"]);
    let amount = dice.pick(&[
        "0.01", "49.00", "250.00", "250.01", "450.00", "700.00", "5000.00",
    ]);
    let (kind, args) = match action {
        "refund" => {
            let currency = dice.pick(&["EUR", "USD"]);
            let args = format!("{{\"amount\":{{\"currency\":\"{currency}\",\"value\":{amount}}}}}");
            ("order", args)
        }
        "set_stage" => {
            let stage = dice.pick(&["new", "qualified", "won", "nonsense"]);
            ("deal", format!("{{\"stage\":\"{stage}\"}}"))
        }
        _ => ("deal", "{\"text\":\"called back\"}".to_owned()),
    };
    let target = dice.pick(&["O-7", "O-8", "O-9", "D-104", "D-999"]);
    let args: Map = args_from_json(&args).unwrap();
    let uncertain = Vec::from_iter((dice.below(4) == 0).then(|| "amount".to_owned()));
    let own = TenantId::parse("acme").unwrap();
    let named = dice.pick(&["acme", "acme", "acme", "globex"]);
    Request {
        provenance: Default::default(),
        caller_tenant: own,
        agent: AgentId::parse(dice.pick(&["triage", "seller", "rogue", "nobody"])).unwrap(),
        cert_sha256: None,
        tenant: TenantId::parse(named).unwrap(),
        request_id: RequestId::new(uuid::Uuid::nil()),
        connection: dice.pick(&["crm/main", "crm/main", "crm/other"]).to_owned(),
        action: ActionName::parse(action).unwrap(),
        target: (dice.below(20) > 0).then(|| (kind.to_owned(), target.to_owned())),
        args_cbor: args.encode(),
        args,
        precondition: (dice.below(5) == 0).then(|| "v7".to_owned()),
        mode: if dice.below(3) == 0 {
            Mode::DryRun
        } else {
            Mode::Execute
        },
        reason: dice.pick(&["", "customer asked"]).to_owned(),
        evidence: Vec::from_iter(Evidence::self_report(uncertain)),
        confidence: (dice.below(3) == 0).then(|| u8::try_from(dice.below(101)).unwrap()),
        trace_id: None,
        run: (dice.below(3) == 0).then(|| RunId::parse("run-1").unwrap()),
        again: dice.below(10) == 0,
    }
}

fn random_facts(dice: &mut Dice, policies: &Arc<TenantPolicies>) -> Facts {
    let ms = 1_793_703_600_123 + i64::try_from(dice.below(200_000_000)).unwrap();
    let scope = dice.pick(&[
        "agent:seller",
        "tenant:acme/action:refund",
        "tenant:acme/customer:C-1",
    ]);
    let scopes = (dice.below(6) == 0).then(|| scope.parse().unwrap());
    Facts {
        now: DateTime::from_timestamp_millis(ms).unwrap(),
        policies: Arc::clone(policies),
        known: Default::default(),
        grounds: Default::default(),
        halts: HaltView {
            epoch: 7,
            scopes: Vec::from_iter(scopes),
            heard_ms: (ms % 4 > 0).then(|| ms.saturating_sub(250)),
        },
    }
}

/// A decision as it goes on record: sometimes a counter has no room.
fn recorded(request: &Request, facts: &Facts, has_room: bool) -> (Projection, Vec<Opened>) {
    let outcome = decide(request, facts);
    let (mut outcome, holds) = reserve(request, facts, outcome, 60);
    let first = holds.first().filter(|_| !has_room);
    let steps: Vec<Step> = match first {
        None => holds.iter().map(Step::counter).collect(),
        Some(hold) => {
            let limit = hold.limits.cap;
            let over = Over {
                fired: Fired::Cap,
                used: limit,
                limit,
            };
            let budget = facts.policies.budget(hold.key.budget());
            let full = Step::Full {
                key: hold.key.as_str().into(),
                fired: over.fired.name().into(),
                used: over.used,
                limit: over.limit,
            };
            outcome = if approval::is_place(&hold.key) {
                queue_full(outcome)
            } else if intent::is_place(&hold.key) {
                crate::domain::decide::duplicate_intent(outcome, "first")
            } else {
                over_budget(outcome, budget, &over, facts)
            };
            vec![full]
        }
    };
    let trace: Vec<Step> = outcome.trace.iter().cloned().chain(steps).collect();
    on_record(request, facts, &outcome, &trace)
}

/// The leaf of a decision and its values.
fn on_record(
    request: &Request,
    facts: &Facts,
    outcome: &Outcome,
    trace: &[Step],
) -> (Projection, Vec<Opened>) {
    let mut draft = crate::domain::bundle::tests::draft(1);
    draft.time_ms = facts.now.timestamp_millis();
    draft.agent = request.agent.as_str().into();
    draft.connection.clone_from(&request.connection);
    draft.action = request.action.as_str().into();
    draft.target_type = request
        .target
        .as_ref()
        .map(|(kind, _)| kind.clone())
        .unwrap_or_default();
    draft.verdict = Some(match outcome.verdict {
        Verdict::Deny => 0,
        Verdict::Allow => 1,
        Verdict::RequireApproval => 2,
    });
    draft.reasons = outcome
        .reason
        .iter()
        .map(|reason| reason.code().to_owned())
        .collect();
    draft.policy = Some(PolicyStamp {
        digest: facts.policies.digest,
        label: "x".into(),
        determining: outcome.determining.clone(),
        errors: outcome.errors.clone(),
        schema_digest: facts.policies.schema_digest,
    });
    draft.mode = Some(u8::from(request.mode == Mode::Execute));
    draft.token = (outcome.verdict == Verdict::Allow).then(|| TokenStamp {
        cti: uuid::Uuid::from_u128(9),
        kid: None,
        issued: 1,
        expires: 2,
    });
    let place = Place {
        seq: 0,
        prev: None,
        version: 1,
        previous: None,
    };
    let record = project(&draft.leaf(&place)).unwrap();
    let mut values = request_values(request);
    values.push(("trace", trace_value(trace)));
    let opened = values.into_iter().map(|(name, value)| Opened {
        name: name.to_owned(),
        salt: [0; 32],
        value,
    });
    (record, opened.collect())
}

#[test]
fn ten_thousand_random_decisions_of_several_policy_versions_are_made_again() {
    let (mut dice, versions) = (Dice(1), versions());
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for index in 0..10_000 {
        let policies = &versions[dice.below(versions.len())];
        let request = random_request(&mut dice);
        let facts = random_facts(&mut dice, policies);
        let (record, opened) = recorded(&request, &facts, dice.below(5) > 0);
        let result = replay(&record, &opened, policies);
        assert_eq!(result, Ok(()), "{index}: {request:?}");
        let key = format!("{} {}", record.verdict, record.reasons.join(","));
        *seen.entry(key).or_default() += 1;
    }
    for wanted in [
        "ALLOW ",
        "REQUIRE_APPROVAL APPROVAL_REQUIRED",
        "DENY FORBIDDEN",
        "DENY NOT_PERMITTED",
        "DENY HALTED",
        "DENY BUDGET_EXCEEDED",
        "DENY APPROVAL_QUEUE_FULL",
        "DENY UNKNOWN_ACTION",
        "DENY UNKNOWN_CONNECTION",
        "DENY INVALID_ARGUMENTS",
    ] {
        assert!(
            seen.contains_key(wanted),
            "{wanted} never happened: {seen:?}"
        );
    }
}

fn set(opened: &mut [Opened], name: &str, value: &Value) {
    for item in opened.iter_mut().filter(|item| item.name == name) {
        item.value = value.clone();
    }
}

/// A small refund that is allowed: its rule, its amount and its counters all matter.
fn small_refund(policies: &Arc<TenantPolicies>) -> (Request, Facts) {
    let (mut dice, mut tries) = (Dice(3), 0);
    loop {
        tries += 1;
        assert!(tries < 100_000, "no small refund comes up");
        let request = random_request(&mut dice);
        let mut facts = random_facts(&mut dice, policies);
        facts.halts.scopes.clear();
        let outcome = decide(&request, &facts);
        let small = outcome
            .determining
            .iter()
            .any(|rule| rule == "refund-small");
        if small
            && outcome.verdict == Verdict::Allow
            && request.mode == Mode::Execute
            && request.run.is_some()
        {
            return (request, facts);
        }
    }
}

#[test]
fn anything_that_was_changed_is_named() {
    let versions = versions();
    let (request, facts) = small_refund(&versions[0]);
    let (record, opened) = recorded(&request, &facts, true);
    assert_eq!(replay(&record, &opened, &versions[0]), Ok(()));
    type Change = fn(&mut Projection, &mut Vec<Opened>);
    let table: [(&str, Change); 11] = [
        ("the verdict", |record, _| record.verdict = "DENY".into()),
        ("the reason", |record, _| {
            record.reasons = vec!["FORBIDDEN".into()];
        }),
        ("the deciding rules", |record, _| record.rules.clear()),
        ("the request hash", |record, _| {
            record.connection = "crm/other".into();
        }),
        ("the request hash", |_, opened| {
            set(opened, "target_id", &Value::Text("O-9".into()));
        }),
        ("the request hash", |_, opened| {
            set(opened, "args", &Value::Map(Map::new()));
        }),
        ("step 3", |record, _| record.agent = "seller".into()),
        ("step 1", |_, opened| {
            let halted = trace_value(&[Step::Halts {
                epoch: 7,
                heard_ms: None,
                scope: Some("tenant:acme/agent:nobody".into()),
            }]);
            set(opened, "trace", &halted);
        }),
        ("the first step", |_, opened| {
            set(opened, "trace", &Value::List(Vec::new()));
        }),
        ("`args`", |_, opened| {
            opened.retain(|item| item.name != "args");
        }),
        ("`trace`", |_, opened| {
            opened.retain(|item| item.name != "trace");
        }),
    ];
    for (expected, change) in table {
        let (mut record, mut opened) = (record.clone(), opened.clone());
        change(&mut record, &mut opened);
        let why = replay(&record, &opened, &versions[0]).expect_err(expected);
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[test]
fn another_policy_set_and_a_counter_that_was_not_full_are_found() {
    let versions = versions();
    let (request, facts) = small_refund(&versions[0]);
    let (record, opened) = recorded(&request, &facts, true);
    // Another policy set decides otherwise, or by the same rule with another text.
    assert!(replay(&record, &opened, &versions[2]).is_err());
    // A counter that is said to be full and is not.
    let holds = reserve(&request, &facts, decide(&request, &facts), 60).1;
    let key = holds.last().unwrap().key.as_str().to_owned();
    let mut steps = decide(&request, &facts).trace;
    steps.push(Step::Full {
        key,
        fired: "cap".into(),
        used: 0,
        limit: i64::MAX,
    });
    let mut changed = opened.clone();
    set(&mut changed, "trace", &trace_value(&steps));
    let mut denied = record;
    denied.verdict = "DENY".into();
    denied.reasons = vec!["BUDGET_EXCEEDED".into()];
    let why = replay(&denied, &changed, &versions[0]).expect_err("it was not full");
    assert!(why.contains("are not more than"), "{why}");
}

#[test]
fn a_token_and_failed_rules_are_compared_too() {
    let versions = versions();
    let (request, facts) = small_refund(&versions[0]);
    let (record, opened) = recorded(&request, &facts, true);
    let mut untold = record.clone();
    untold.token_id.clear();
    let why = replay(&untold, &opened, &versions[0]).unwrap_err();
    assert!(why.contains("its token"), "{why}");
    let mut failed = record;
    failed.errors = vec!["refund-small".into()];
    let why = replay(&failed, &opened, &versions[0]).unwrap_err();
    assert!(why.contains("the rules that failed"), "{why}");
}

#[test]
fn a_limit_that_the_set_does_not_have_ends_no_decision() {
    let versions = versions();
    let (request, facts) = small_refund(&versions[0]);
    let holds = reserve(&request, &facts, decide(&request, &facts), 60).1;
    for hold in &holds {
        let cap = hold.limits.cap;
        for (fired, limit) in [
            ("cap", cap - 1),
            ("spike", 0),
            ("age", cap),
            ("unreported", cap),
        ] {
            let mut steps = decide(&request, &facts).trace;
            steps.push(Step::Full {
                key: hold.key.as_str().into(),
                fired: fired.into(),
                used: limit,
                limit,
            });
            let (mut record, mut opened) = recorded(&request, &facts, true);
            set(&mut opened, "trace", &trace_value(&steps));
            record.verdict = "DENY".into();
            record.token_id.clear();
            record.reasons = vec![match fired {
                "unreported" => "USAGE_UNKNOWN".into(),
                _ => "BUDGET_EXCEEDED".into(),
            }];
            let why = replay(&record, &opened, &versions[0]).unwrap_err();
            assert!(
                why.contains("has no limit"),
                "{fired} of {}: {why}",
                hold.key.as_str()
            );
        }
    }
}

#[test]
fn evidence_that_live_code_cannot_have_found_does_not_replay() {
    let args = args_from_json("{\"amount\":{\"currency\":\"EUR\",\"value\":49}}").unwrap();
    let dice = &mut Dice(7);
    let mut request = |named: Option<[u8; 32]>| Request {
        args: args.clone(),
        evidence: vec![Evidence {
            sha256: named,
            ..Evidence::found("amount")
        }],
        ..random_request(dice)
    };
    let step = |parts: Vec<Value>| {
        let mut step = vec![Value::Text("evidence".into())];
        step.extend(parts);
        vec![Value::List(step)]
    };
    let found = |grounded: bool, digest: Option<[u8; 32]>| {
        let digest = digest.map_or(Value::Null, |digest| Value::Bytes(digest.to_vec()));
        step(vec![Value::List(vec![
            Value::Text("amount".into()),
            Value::Bool(grounded),
            digest,
        ])])
    };

    for (named, steps, good) in [
        (None, found(true, Some([1; 32])), true),
        (Some([1; 32]), found(true, Some([1; 32])), true),
        (Some([1; 32]), found(true, Some([2; 32])), false),
        (None, found(true, None), false),
        (None, found(false, None), true),
        (
            None,
            step(vec![Value::Text("SYSTEM_UNAVAILABLE".into())]),
            true,
        ),
        (None, step(vec![Value::Text("NO_CODE".into())]), false),
        (None, step(vec![Value::Int(1)]), false),
        (None, vec![], true),
    ] {
        assert_eq!(
            grounds(&steps, &request(named)).is_some(),
            good,
            "{named:?} {steps:?}"
        );
    }
}
