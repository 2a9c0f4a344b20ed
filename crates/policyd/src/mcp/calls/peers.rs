//! policyd and connectord as the bridge sees them: who it is, every call with a deadline, every
//! failure with a reason code and something to do.

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Response, Status};
use tonic_types::StatusExt as _;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::{Reason, pb};

use crate::error::AppError;
use crate::grpc::client::{ClientFiles, failed, peer};
use crate::mcp::calls::identity::{Identity, identity};

/// Longest wait for an answer that changes nothing in a system of record.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Longest wait for a write.
pub(crate) const WRITE_MAX: Duration = Duration::from_secs(10);

/// Where the daemons are and what the bridge shows them.
#[derive(Debug, Clone, Copy)]
pub struct Addresses<'a> {
    /// `https://host:port` of policyd.
    pub policyd: &'a str,
    /// `https://host:port` of connectord.
    pub connectord: &'a str,
    /// Certificate authority, certificate and key.
    pub files: ClientFiles<'a>,
}

/// The clients of the agent's own certificate.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Whose.
    pub identity: Identity,
    policyd: AuthorizationServiceClient<Channel>,
    connectord: ConnectorServiceClient<Channel>,
    halts: HaltServiceClient<Channel>,
}

/// An answer in time, or a failure that is safe to report as "nothing was done".
async fn within<T>(
    who: &str,
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, AppError> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(told(who, status)),
        Err(_) => {
            let message = format!("{who} did not answer within {} s", limit.as_secs());
            Err(AppError::new(Reason::Unavailable, message))
        }
    }
}

/// As above for a call that may have written: without a word from connectord nobody knows.
async fn within_write<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, AppError> {
    let unknown = |why: &str| {
        let message = format!("{why}; call again with the same id to learn how it ended");
        AppError::new(Reason::OutcomeUnknown, message)
    };
    match tokio::time::timeout(WRITE_MAX, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) if status.get_details_error_info().is_some() => {
            Err(told("connectord", status))
        }
        Ok(Err(_)) => Err(unknown("the connection to connectord broke")),
        Err(_) => Err(unknown("connectord did not answer in time")),
    }
}

/// What a daemon said; a status without a reason of ours is a daemon that cannot be reached.
fn told(who: &str, status: Status) -> AppError {
    let ours = status.get_details_error_info().is_some();
    let error = failed(status);
    if ours {
        return error;
    }
    AppError {
        detail: error.public,
        ..AppError::new(Reason::Unavailable, format!("{who} cannot be reached"))
    }
}

impl Peers {
    /// Connects when something is first asked, and again whenever a connection is lost.
    ///
    /// # Errors
    /// When the certificate names no agent, or a file or address is unusable.
    pub fn new(addresses: &Addresses<'_>) -> Result<Self, AppError> {
        let identity = identity(addresses.files.cert)?;
        let channel = |addr: &str, service| -> Result<Channel, AppError> {
            Ok(peer((addr, service), &addresses.files, WRITE_MAX)?.connect_lazy())
        };
        let policyd = channel(addresses.policyd, "policyd")?;
        let connectord = channel(addresses.connectord, "connectord")?;
        Ok(Self {
            identity,
            policyd: AuthorizationServiceClient::new(policyd),
            connectord: ConnectorServiceClient::new(connectord.clone()),
            halts: HaltServiceClient::new(connectord),
        })
    }

    /// `tenants/{own tenant}`.
    pub(crate) fn parent(&self) -> String {
        format!("tenants/{}", self.identity.tenant)
    }

    /// The cards of the tenant, by name.
    ///
    /// # Errors
    /// When connectord does not answer.
    pub async fn actions(&self) -> Result<Vec<pb::Action>, AppError> {
        let mut client = self.connectord.clone();
        let parent = self.parent();
        let call = client.list_actions(pb::ListActionsRequest { parent });
        let mut actions = within("connectord", ANSWER_MAX, call).await?.actions;
        actions.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(actions)
    }

    /// What is halted, and whether that stops what is asked about.
    ///
    /// # Errors
    /// When connectord does not answer.
    pub async fn halts(
        &self,
        ask: pb::GetHaltStateRequest,
    ) -> Result<pb::GetHaltStateResponse, AppError> {
        let mut client = self.halts.clone();
        let call = client.get_halt_state(ask);
        within("connectord", ANSWER_MAX, call).await
    }

    /// Whether policyd answers: it does not know a decision that nobody made.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ping_policyd(&self) -> Result<(), AppError> {
        match self.decision(uuid::Uuid::nil()).await {
            Err(error) if error.reason == Reason::NotFound => Ok(()),
            other => other.map(|_| ()),
        }
    }

    pub(crate) async fn authorize(
        &self,
        request: pb::AuthorizeRequest,
    ) -> Result<pb::Decision, AppError> {
        let mut client = self.policyd.clone();
        let answer = within("policyd", ANSWER_MAX, client.authorize(request)).await?;
        Ok(answer.decision.unwrap_or_default())
    }

    pub(crate) async fn decision(&self, id: uuid::Uuid) -> Result<pb::Decision, AppError> {
        let mut client = self.policyd.clone();
        let name = format!("{}/decisions/{id}", self.parent());
        let call = client.get_decision(pb::GetDecisionRequest { name });
        let answer = within("policyd", ANSWER_MAX, call).await?;
        Ok(answer.decision.unwrap_or_default())
    }

    pub(crate) async fn cancel(&self, id: uuid::Uuid) -> Result<pb::Decision, AppError> {
        let mut client = self.policyd.clone();
        let name = format!("{}/decisions/{id}", self.parent());
        let call = client.cancel_decision(pb::CancelDecisionRequest { name });
        let answer = within("policyd", ANSWER_MAX, call).await?;
        Ok(answer.decision.unwrap_or_default())
    }

    pub(crate) async fn preview(
        &self,
        request: pb::PreviewRequest,
    ) -> Result<pb::PreviewResponse, AppError> {
        let mut client = self.connectord.clone();
        within("connectord", WRITE_MAX, client.preview(request)).await
    }

    pub(crate) async fn read(
        &self,
        request: pb::ReadRequest,
    ) -> Result<pb::ReadResponse, AppError> {
        let mut client = self.connectord.clone();
        within("connectord", WRITE_MAX, client.read(request)).await
    }

    pub(crate) async fn execute(
        &self,
        request: pb::ExecuteRequest,
    ) -> Result<pb::ExecuteResponse, AppError> {
        let mut client = self.connectord.clone();
        within_write(client.execute(request)).await
    }

    pub(crate) async fn undo(&self, request: pb::UndoRequest) -> Result<pb::UndoItem, AppError> {
        let mut client = self.connectord.clone();
        let answer = within_write(client.undo(request)).await?;
        Ok(answer.item.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::calls::{CALLS_MAX, Tools};
    use crate::mcp::tools::ToolSet;

    /// What an agent has where nobody answers.
    fn away() -> Peers {
        let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        Peers {
            identity: Identity {
                tenant: "acme".into(),
                agent: "triage".into(),
                expires: i64::MAX,
            },
            policyd: AuthorizationServiceClient::new(channel.clone()),
            connectord: ConnectorServiceClient::new(channel.clone()),
            halts: HaltServiceClient::new(channel),
        }
    }

    #[tokio::test]
    async fn one_call_more_than_may_be_under_way_is_refused_at_once() {
        let tools = Tools::new(away(), ToolSet::Generic, pb::Provenance::default());
        let told = async |tools: &Tools| {
            let told = tools.call("list_actions", serde_json::Map::new(), "").await;
            told.unwrap().json["reason_code"].clone()
        };
        let all = tools
            .calls
            .try_acquire_many(u32::try_from(CALLS_MAX).unwrap());
        let all = all.unwrap();
        assert_eq!(told(&tools).await, "RATE_LIMITED");
        drop(all);
        assert_eq!(told(&tools).await, "UNAVAILABLE");
    }

    #[tokio::test]
    async fn a_write_without_a_word_of_connectord_is_of_unknown_outcome() {
        let broken = || async { Err::<Response<()>, _>(Status::unavailable("h2 broke: secret")) };
        let write = within_write(broken()).await.unwrap_err();
        assert_eq!(write.reason, Reason::OutcomeUnknown);
        let look = within("policyd", ANSWER_MAX, broken()).await.unwrap_err();
        assert_eq!(look.reason, Reason::Unavailable);
        assert_eq!(look.public, "policyd cannot be reached");
    }

    #[tokio::test]
    async fn a_write_is_waited_for_so_long_and_no_longer() {
        let never = std::future::pending::<Result<Response<()>, Status>>();
        let write = tokio::time::timeout(WRITE_MAX * 2, within_write(never)).await;
        assert_eq!(write.unwrap().unwrap_err().reason, Reason::OutcomeUnknown);
    }
}
