//! Who may call what: every method of every service, by an agent and by an operator of another
//! tenant, and by the wrong kind of caller. A new method without a line fails the test.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use e2e::{Actor, World, code, refund};
use prost::Message as _;
use tonic::transport::Channel;
use writ_proto::pb;
use writ_proto::pb::incident_service_client::IncidentServiceClient;
use writ_proto::pb::key_service_client::KeyServiceClient;
use writ_proto::pb::notice_service_client::NoticeServiceClient;

/// The clients of one caller.
#[derive(Clone)]
struct Caller {
    actor: Actor,
    keys: KeyServiceClient<Channel>,
    incidents: IncidentServiceClient<Channel>,
    notices: NoticeServiceClient<Channel>,
}

/// `OK`, a verdict, or the code of the refusal.
type Try = fn(Caller) -> Pin<Box<dyn Future<Output = String> + Send>>;

const THERE: &str = "tenants/globex";
const ID: &str = "01940000-0000-7000-8000-000000000001";

fn told<T>(result: Result<T, tonic::Status>) -> String {
    match result {
        Ok(_) => "OK".to_owned(),
        Err(status) => code(&status),
    }
}

/// A request of an agent of acme for a record of globex.
fn foreign() -> pb::AuthorizeRequest {
    let mut wish = refund("O-7", "1.00");
    wish.tenant = "globex".into();
    Actor::request(&wish)
}

fn call() -> Option<pb::ActionCall> {
    foreign().call
}

macro_rules! line {
    ($method:literal, $caller:ident, $call:expr, $agent:literal, $operator:literal) => {
        (
            $method,
            (|mut $caller: Caller| Box::pin(async move { told($call.await) })) as Try,
            $agent,
            $operator,
        )
    };
}

/// Method, a call about another tenant (or about all), the answer to an agent of acme, and to an
/// operator of acme.
type Line = (&'static str, Try, &'static str, &'static str);

fn authorization_lines() -> Vec<Line> {
    vec![
        line!(
            "AuthorizationService/Authorize",
            c,
            c.actor.authorize.authorize(foreign()),
            "OK",
            "AGENT_REQUIRED"
        ),
        line!(
            "AuthorizationService/BatchAuthorize",
            c,
            c.actor
                .authorize
                .batch_authorize(pb::BatchAuthorizeRequest {
                    parent: THERE.into(),
                    requests: vec![foreign()]
                }),
            "OK",
            "AGENT_REQUIRED"
        ),
        line!(
            "AuthorizationService/SimulateAuthorization",
            c,
            c.actor
                .authorize
                .simulate_authorization(pb::SimulateAuthorizationRequest {
                    request: Some(foreign()),
                    at: None
                }),
            "OK",
            "AGENT_REQUIRED"
        ),
        line!(
            "AuthorizationService/GetDecision",
            c,
            c.actor.authorize.get_decision(pb::GetDecisionRequest {
                name: format!("{THERE}/decisions/{ID}")
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "AuthorizationService/CancelDecision",
            c,
            c.actor
                .authorize
                .cancel_decision(pb::CancelDecisionRequest {
                    name: format!("{THERE}/decisions/{ID}")
                }),
            "NOT_FOUND",
            "AGENT_REQUIRED"
        ),
    ]
}

fn record_lines() -> Vec<Line> {
    vec![
        line!(
            "RecordService/ListRecords",
            c,
            c.actor.records.list_records(pb::ListRecordsRequest {
                parent: THERE.into(),
                ..Default::default()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "RecordService/ExportRecords",
            c,
            c.actor.records.export_records(pb::ExportRecordsRequest {
                parent: THERE.into(),
                from_seq: 0
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "RecordService/GetCheckpoint",
            c,
            c.actor.records.get_checkpoint(pb::GetCheckpointRequest {
                parent: THERE.into()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "RecordService/ReportOutcomes",
            c,
            c.actor
                .records
                .report_outcomes(pb::ReportOutcomesRequest { outcomes: vec![] }),
            "SERVICE_REQUIRED",
            "SERVICE_REQUIRED"
        ),
        line!(
            "BudgetService/GetBudget",
            c,
            c.actor.budgets.get_budget(pb::GetBudgetRequest {
                name: format!("{THERE}/budgets/refunds-a-day"),
                subject: String::new()
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "BudgetService/ListBudgets",
            c,
            c.actor.budgets.list_budgets(pb::ListBudgetsRequest {
                parent: THERE.into()
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "BudgetService/RaiseBudget",
            c,
            c.actor.budgets.raise_budget(pb::RaiseBudgetRequest {
                name: format!("{THERE}/budgets/refunds-a-day"),
                request_id: ID.into(),
                subject: String::new(),
                amount: "1".into(),
                until: Some(prost_types::Timestamp {
                    seconds: 1,
                    nanos: 0
                }),
                reason: "x".into()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "BudgetService/ReportUsage",
            c,
            c.actor.budgets.report_usage(pb::ReportUsageRequest {
                parent: THERE.into(),
                request_id: ID.into(),
                ..Default::default()
            }),
            "NOT_FOUND",
            "REPORTER_REQUIRED"
        ),
        line!(
            "KeyService/ListSigningKeys",
            c,
            c.keys.list_signing_keys(pb::ListSigningKeysRequest {}),
            "OK",
            "OK"
        ),
        line!(
            "KeyService/RotateSigningKey",
            c,
            c.keys
                .rotate_signing_key(pb::RotateSigningKeyRequest::default()),
            "OPERATOR_REQUIRED",
            "OPERATOR_REQUIRED"
        ),
        line!(
            "KeyService/GetKeySet",
            c,
            c.keys.get_key_set(pb::GetKeySetRequest {}),
            "OK",
            "OK"
        ),
    ]
}

fn incident_lines() -> Vec<Line> {
    vec![
        line!(
            "IncidentService/ListIncidents",
            c,
            c.incidents.list_incidents(pb::ListIncidentsRequest {
                parent: THERE.into(),
                page_size: 0
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "IncidentService/GetIncident",
            c,
            c.incidents.get_incident(pb::GetIncidentRequest {
                name: format!("{THERE}/incidents/{ID}")
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "IncidentService/CloseIncident",
            c,
            c.incidents.close_incident(pb::CloseIncidentRequest {
                name: format!("{THERE}/incidents/{ID}"),
                reason: "test".into()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "NoticeService/ListNotices",
            c,
            c.notices.list_notices(pb::ListNoticesRequest {
                parent: THERE.into(),
                page_size: 0
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
    ]
}

fn connectord_lines() -> Vec<Line> {
    vec![
        line!(
            "ConnectorService/ListActions",
            c,
            c.actor.execute.list_actions(pb::ListActionsRequest {
                parent: THERE.into()
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/GetAction",
            c,
            c.actor.execute.get_action(pb::GetActionRequest {
                name: format!("{THERE}/actions/add_note")
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/Preview",
            c,
            c.actor.execute.preview(pb::PreviewRequest {
                parent: THERE.into(),
                token: vec![1; 64],
                call: call()
            }),
            "TOKEN_MALFORMED",
            "AGENT_REQUIRED"
        ),
        line!(
            "ConnectorService/Execute",
            c,
            c.actor.execute.execute(pb::ExecuteRequest {
                parent: THERE.into(),
                request_id: ID.into(),
                token: vec![1; 64],
                call: call(),
                run_id: String::new()
            }),
            "TOKEN_MALFORMED",
            "AGENT_REQUIRED"
        ),
        line!(
            "ConnectorService/Undo",
            c,
            c.actor.execute.undo(pb::UndoRequest {
                name: format!("{THERE}/executions/{ID}"),
                reason: "x".into(),
                dry_run: false
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/BatchUndo",
            c,
            c.actor.execute.batch_undo(pb::BatchUndoRequest {
                parent: THERE.into(),
                run_id: "r".into(),
                reason: "x".into(),
                ..Default::default()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/GetExecution",
            c,
            c.actor.execute.get_execution(pb::GetExecutionRequest {
                name: format!("{THERE}/executions/{ID}")
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
    ]
}

fn operator_lines() -> Vec<Line> {
    vec![
        line!(
            "ConnectorService/ListExecutions",
            c,
            c.actor.execute.list_executions(pb::ListExecutionsRequest {
                parent: THERE.into(),
                ..Default::default()
            }),
            "NOT_FOUND",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/SetActionRollout",
            c,
            c.actor
                .execute
                .set_action_rollout(pb::SetActionRolloutRequest {
                    name: format!("{THERE}/actions/add_note"),
                    rollout: pb::Rollout::Live.into(),
                    reason: "x".into(),
                    ..Default::default()
                }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "ConnectorService/MarkSurprise",
            c,
            c.actor.execute.mark_surprise(pb::MarkSurpriseRequest {
                name: format!("{THERE}/executions/{ID}"),
                surprise: "x".into()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "HaltService/SetHalt",
            c,
            c.actor.halt.set_halt(pb::SetHaltRequest {
                scope: "tenant:globex".into(),
                reason: "x".into(),
                ..Default::default()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "HaltService/ClearHalt",
            c,
            c.actor.halt.clear_halt(pb::ClearHaltRequest {
                scope: "tenant:globex".into(),
                reason: "x".into()
            }),
            "OPERATOR_REQUIRED",
            "NOT_FOUND"
        ),
        line!(
            "HaltService/ListHalts",
            c,
            c.actor.halt.list_halts(pb::ListHaltsRequest {}),
            "OK",
            "OK"
        ),
        line!(
            "HaltService/GetHaltState",
            c,
            c.actor
                .halt
                .get_halt_state(pb::GetHaltStateRequest::default()),
            "OK",
            "OK"
        ),
        line!(
            "HaltService/WatchHalts",
            c,
            c.actor.halt.watch_halts(pb::WatchHaltsRequest {}),
            "OK",
            "OK"
        ),
        line!(
            "HaltService/ProbeHalt",
            c,
            c.actor.halt.probe_halt(pb::ProbeHaltRequest {
                nonce: "7f3a".into(),
                patience: None
            }),
            "OPERATOR_REQUIRED",
            "OK"
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_another_tenant_or_acts_as_what_he_is_not() {
    let world = World::start();
    let files = prost_types::FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    let services = files.file.iter().flat_map(|file| &file.service);
    let all: BTreeSet<String> = services
        .flat_map(|service| {
            let methods = service.method.iter();
            methods.map(|method| format!("{}/{}", service.name(), method.name()))
        })
        .filter(|name| !name.starts_with("Health/"))
        .collect();
    let table = [
        authorization_lines(),
        record_lines(),
        incident_lines(),
        connectord_lines(),
        operator_lines(),
    ]
    .concat();
    let tried: BTreeSet<String> = table.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(all, tried, "every method has a line");
    let mut wrong = Vec::new();
    for identity in ["agent-acme-triage", "operator-acme-ops"] {
        let caller = Caller {
            actor: world.actor(identity).await,
            keys: KeyServiceClient::new(world.policyd_channel(identity).await),
            incidents: IncidentServiceClient::new(world.policyd_channel(identity).await),
            notices: NoticeServiceClient::new(world.policyd_channel(identity).await),
        };
        for (method, attempt, agent, operator) in &table {
            let wanted = if identity.starts_with("agent") {
                agent
            } else {
                operator
            };
            let got = attempt(caller.clone()).await;
            if got != *wanted {
                wrong.push(format!("{method} by {identity}: {got}, not {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What was answered to the agent with OK about another tenant is a denial.
    let mut agent = world.agent().await;
    let mut wish = refund("O-7", "1.00");
    wish.tenant = "globex".into();
    let asked = agent.ask(&wish).await;
    assert_eq!(asked.decision.verdict, i32::from(pb::Verdict::Deny));
    assert!(asked.decision.token.is_empty());
    assert!(world.effects().await.is_empty());
}
