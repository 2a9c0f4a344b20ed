//! Use cases on a database of a test's own, with the sample policies.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tempfile::TempDir;
use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId, DecisionId, RequestId, TenantId};
use writ_proto::scope::Scope;
use writ_proto::value::{Value, args_from_json};

use super::{SharedApp, are_halts_known};
use crate::app::ask::decided::Decided;
use crate::app::containment::alike::DenialKind;
use crate::app::containment::denials::Denied;
use crate::app::containment::halting::{Cause, Wanted};
use crate::app::reports::outcome::{Change, Reported};
use crate::cli::daemon::init::{self, InitArgs};
use crate::config::{Config, Layers};
use crate::domain::budget::{Key, Subject, Usage};
use crate::domain::decide::facts::HaltView;
use crate::domain::decide::tests::refund;
use crate::domain::policy::tests::shipped;
use crate::domain::record::Kind;
use crate::domain::request::Request;
use crate::output::{Format, Output};
use crate::store::{Append, Ledger};
use crate::{clock, ids, server};

/// One denial is an incident.
pub(crate) const STRICT: &str =
    "\n[[incident]]\nid = \"strict\"\ndenials = 1\nwindow = \"10m\"\nhalt = \"agent\"\n";
const CERTIFICATE: [u8; 32] = [7; 32];

/// What `init` makes, with more lines in the set of acme, and its facts at hand.
pub(crate) fn folder(set: &str) -> TempDir {
    let folder = folder_that_asks("");
    let (acme, known) = (folder.path().join("policies/acme"), shipped("acme"));
    std::fs::write(acme.join("set.toml"), known.set_toml + set).unwrap();
    std::fs::write(acme.join("entities.json"), known.entities_json).unwrap();
    folder
}

/// The same as it is shipped: the CRM is asked for facts.
pub(crate) fn folder_that_asks(set: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output = Output::new(Format::Json).silenced();
    init::run(&InitArgs::new(folder.path(), 20_000), output).unwrap();
    append(&folder.path().join("policies/acme/set.toml"), set);
    folder
}

fn append(path: &Path, more: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, text + more).unwrap();
}

pub(crate) fn config(folder: &TempDir) -> Config {
    let file = folder.path().join("policyd.toml");
    let layers = Layers::read(&file, std::iter::empty(), "POLICYD_", &[]).unwrap();
    let mut config = Config::from_layers(&layers, &file).unwrap();
    // Whatever room the disk of the tests has.
    config.store.reserve_mb = 0;
    config
}

pub(crate) async fn opened(config: &Config) -> SharedApp {
    let ledger = Ledger::open(&config.store.url).await.unwrap();
    server::offline(config, ledger).unwrap()
}

/// The folder must outlive the test.
async fn app(set: &str) -> (TempDir, SharedApp) {
    let folder = folder(set);
    let app = opened(&config(&folder)).await;
    (folder, app)
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

async fn asked(app: &SharedApp, request: &Request) -> (Decided, DecisionId) {
    let decided = app.authorize(request).await.unwrap().decided;
    let id = Uuid::parse_str(&decided.id).unwrap();
    (decided, DecisionId::new(id))
}

fn stage() -> Request {
    let args = args_from_json("{\"stage\":\"qualified\"}").unwrap();
    Request {
        request_id: RequestId::new(Uuid::from_u128(2)),
        action: ActionName::parse("set_stage").unwrap(),
        target: Some(("deal".into(), "D-104".into())),
        args_cbor: args.encode(),
        args,
        ..refund("1.00")
    }
}

/// The report that a decision was executed and changed one field.
fn wrote(request: &Request, decision: DecisionId, field: &str) -> Reported {
    let change = Change {
        field: field.into(),
        before: None,
        after: Some(Value::Text("x".into())),
    };
    Reported {
        outcome_id: ids::new_id(),
        tenant: acme(),
        kind: Kind::Result,
        time_ms: 0,
        decision: Some(decision.uuid()),
        execution: Some(ids::new_id()),
        agent: request.agent.as_str().into(),
        connection: request.connection.clone(),
        action: request.action.as_str().into(),
        target: request.target.clone(),
        mode: Some(1),
        status: "DONE".into(),
        reason_code: String::new(),
        attempt: 1,
        milliseconds: 0,
        changes: vec![change],
        collateral: vec![],
        unread: false,
        by: String::new(),
        note: String::new(),
        captured: None,
        scope: String::new(),
    }
}

#[tokio::test]
async fn a_decision_is_its_agents_own_and_is_not_signed_of_a_log_that_was_put_back() {
    let (_folder, app) = app("").await;
    let (_, id) = asked(&app, &refund("49.00")).await;
    for (agent, wanted) in [("seller", Err(Reason::NotFound)), ("triage", Ok(true))] {
        let found = app.decision(&acme(), Some((agent, CERTIFICATE)), id).await;
        let signed = found.map(|answer| answer.token.is_some());
        assert_eq!(signed.map_err(|error| error.reason), wanted, "{agent}");
    }
    let taken = app.cancel(&acme(), ("seller", CERTIFICATE), id).await;
    assert_eq!(taken.unwrap_err().reason, Reason::NotFound);
    app.writer.close();
    let found = app
        .decision(&acme(), Some(("triage", CERTIFICATE)), id)
        .await;
    assert_eq!(found.unwrap_err().reason, Reason::StoreRestored);
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_taken_back() {
    let folder = folder("");
    let mut config = config(&folder);
    let waits = Request {
        target: Some(("order".into(), "O-9".into())),
        ..refund("900.00")
    };
    let (decided, id) = asked(&opened(&config).await, &waits).await;
    assert_eq!(decided.verdict, "REQUIRE_APPROVAL");
    config.store.reserve_mb = u32::MAX;
    let app = opened(&config).await;
    let taken = app.cancel(&acme(), ("triage", CERTIFICATE), id).await;
    assert_eq!(taken.unwrap_err().reason, Reason::DiskReserve);
    assert!(!app.decision(&acme(), None, id).await.unwrap().cancelled);
}

#[tokio::test]
async fn a_rule_shortens_the_life_of_the_writ_itself() {
    let folder = folder("");
    let rule = "@id(\"short\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") \
                @approved_on(\"2026-01-01\") @ttl(\"10s\") \
                permit (principal, action == Action::\"refund\", resource);\n";
    append(&folder.path().join("policies/acme/refunds.cedar"), rule);
    let app = opened(&config(&folder)).await;
    let (decided, _) = asked(&app, &refund("49.00")).await;
    assert_eq!(decided.expires - decided.created_ms / 1_000, 10);
}

#[tokio::test]
async fn a_leaf_has_no_name_that_no_card_has() {
    let (_folder, app) = app("").await;
    let stranger = Request {
        connection: "jane/doe".into(),
        action: ActionName::parse("jane_doe").unwrap(),
        target: Some(("jane_doe".into(), "O-7".into())),
        ..refund("49.00")
    };
    let (_, id) = asked(&app, &stranger).await;
    let told = app.report(&[wrote(&stranger, id, "amount")]).await;
    assert!(told[0].is_ok(), "{told:?}");
    let rows = app.ledger.record_list(&acme(), 0, 9).await.unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(!row.leaf.windows(4).any(|part| part == b"jane"), "{row:?}");
    }
}

#[tokio::test]
async fn only_what_sets_fields_gets_an_undo_writ_and_what_is_not_stored_is_not_accepted() {
    let (_folder, app) = app("").await;
    for (request, field, signed) in [(stage(), "stage", true), (refund("49.00"), "amount", false)] {
        let (_, id) = asked(&app, &request).await;
        let report = wrote(&request, id, field);
        let told = app.report(&[report]).await.remove(0);
        assert_eq!(told.unwrap().is_some(), signed, "{}", request.action);
    }
    app.writer.close();
    let lost = wrote(&stage(), DecisionId::new(Uuid::nil()), "stage");
    assert!(app.report(&[lost]).await[0].is_err());
}

#[tokio::test]
async fn a_clock_that_is_ahead_moves_no_count_into_the_future() {
    let (_folder, app) = app(STRICT).await;
    let set = Arc::clone(&app.policies.load()[&acme()]);
    let denied = Denied {
        policies: &set,
        agent: &AgentId::parse("triage").unwrap(),
        action: "refund",
        reason: Reason::TokenMalformed,
        at_ms: i64::MAX,
    };
    let found = app.denials(&denied);
    assert_eq!(found.len(), 1);
    assert!(found[0].at_ms <= clock::now().timestamp_millis());
}

#[tokio::test]
async fn the_halt_of_an_incident_is_wanted_while_it_is_open() {
    let (_folder, app) = app(STRICT).await;
    let wanted = |by| Wanted {
        scope: "tenant:acme/agent:triage".parse().unwrap(),
        reason: "x".into(),
        by,
        agent: String::new(),
    };
    let (incident, budget) = (wanted(Cause::Incident), wanted(Cause::Budget));
    assert!(!app.still_wants(&incident).await, "there is none");
    assert!(app.still_wants(&budget).await);
    let (denied, _) = asked(&app, &refund("900.00")).await;
    assert_eq!(denied.verdict, "DENY");
    assert!(app.still_wants(&incident).await);
}

#[tokio::test]
async fn only_an_answer_to_a_later_question_says_that_a_halt_stands() {
    let (_folder, app) = app("").await;
    let scope: Scope = "tenant:acme/agent:triage".parse().unwrap();
    let heard = HaltView {
        scopes: vec![scope.clone()],
        ..HaltView::default()
    };
    app.halts.store(Arc::new(heard));
    app.halts_asked_ms.store(5, Ordering::Relaxed);
    for (at_ms, stands) in [(4, true), (5, false), (6, false)] {
        assert_eq!(app.halted_since(&scope, at_ms), stands, "{at_ms}");
    }
}

#[tokio::test]
async fn a_head_is_written_down_when_it_is_signed() {
    let (_folder, app) = app("").await;
    asked(&app, &refund("49.00")).await;
    assert!(app.marks.logs().is_empty());
    app.checkpoint(&acme()).await.unwrap();
    assert_eq!(app.marks.logs()["acme"].size, 1);
}

#[tokio::test]
async fn a_count_that_could_not_be_recorded_is_kept() {
    let (_folder, app) = app("").await;
    let set = Arc::clone(&app.policies.load()[&acme()]);
    let denied = Denied {
        policies: &set,
        agent: &AgentId::parse("triage").unwrap(),
        action: "refund",
        reason: Reason::Forbidden,
        at_ms: 0,
    };
    app.alike
        .add("acme", DenialKind::of(&denied, ""), "about it", 0);
    app.writer.close();
    app.record_counts(true).await.unwrap_err();
    let kept = app.alike.take_finished(0, true);
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].2.unwritten, 1);
}

#[tokio::test]
async fn an_agent_sees_no_run_of_an_agent_whose_name_begins_with_its_own() {
    let chain = "\n[[budget]]\nid = \"chain\"\nscope = \"run\"\nwindow = \"run\"\nfollow_ups = 2\n";
    let (_folder, app) = app(chain).await;
    let used = |agent: &str| {
        let (agent, run) = (agent.to_owned(), "r".to_owned());
        Usage {
            key: Key::new("chain", &Subject::Run { agent, run }, "run"),
            amount: 1,
            complete: true,
            at_ms: 1,
        }
    };
    let blank = app.blank_record(Kind::Evaluated, &acme(), ids::new_id());
    let usage = Append {
        usage: vec![used("triage"), used("triage:x")],
        ..Append::record(acme(), blank)
    };
    app.writer.append(usage).await.unwrap();
    let agent = AgentId::parse("triage").unwrap();
    let (seen, _) = app.budgets(&acme(), Some(&agent)).await.unwrap();
    let runs: Vec<&str> = seen
        .iter()
        .filter(|one| one.budget.id == "chain")
        .map(|one| one.view.subject.as_str())
        .collect();
    assert_eq!(runs, ["run:triage:r"]);
}

#[test]
fn halts_of_a_connectord_that_is_silent_are_unknown() {
    for (asked, began, now, known) in [
        (0, 100_000, 100_000, true),
        (0, 100_000, 109_999, true),
        (0, 100_000, 110_000, false),
        (150_000, 100_000, 159_999, true),
        (150_000, 100_000, 160_000, false),
        (150_000, 100_000, 149_999, false),
        (0, 100_000, 99_999, false),
        // It started before the clock was set back, and connectord answers.
        (90_000, 100_000, 90_100, true),
    ] {
        assert_eq!(are_halts_known(asked, began, now), known, "{asked} {now}");
    }
}
