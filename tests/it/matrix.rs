//! Who may call what: every method of every service, by an agent and by an operator of another
//! tenant, and by the wrong kind of caller. A new method without a line fails the test.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use e2e::{Actor, World, code, refund};
use prost::Message as _;
use tonic::transport::Channel;
use writ_proto::pb;
use writ_proto::pb::fact_service_client::FactServiceClient;
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
    facts: FactServiceClient<tonic::transport::Channel>,
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

mod connectord;

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
                from_seq: 0,
                with_values: false
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

fn budget_lines() -> Vec<Line> {
    vec![
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

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_another_tenant_or_acts_as_what_he_is_not() {
    // One who may halt everybody is tried in the tests of halts.
    let mut world = World::prepare(&[]);
    world.overrides = vec!["halt.global_operators=[]".into()];
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    let files = prost_types::FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    let services = files.file.iter().flat_map(|file| &file.service);
    let all: BTreeSet<String> = services
        .flat_map(|service| {
            let methods = service.method.iter();
            methods.map(|method| format!("{}/{}", service.name(), method.name()))
        })
        // No daemon serves what plug-ins do.
        .filter(|name| {
            !["Health/", "SystemPlugin/"]
                .iter()
                .any(|other| name.starts_with(other))
        })
        .collect();
    let table = [
        authorization_lines(),
        record_lines(),
        budget_lines(),
        incident_lines(),
        connectord::execution_lines(),
        connectord::operator_lines(),
        connectord::halt_lines(),
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
            facts: FactServiceClient::new(
                world
                    .channel(identity, world.connectord_port)
                    .await
                    .unwrap(),
            ),
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
