//! Halts by a connectord, as the operator of a certificate.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use writ_proto::ids::TenantId;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::toml_flaw::near;
use writ_proto::{Caller, Reason, pb};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::GeneralName;

use super::{Access, Answers, Ended, PATIENCE, Peer, Shown, wider};
use crate::cli::remote::failed;
use crate::cli::remote::{address, beside_config};
use crate::error::AppError;
use crate::grpc::client::{self, ClientFiles};
use crate::halt::{Part, Scope};

/// Executions whose agents are taken for known, the newest ones.
const LATELY: i32 = 100;

const TIMEOUT: Duration = Duration::from_secs(15);

/// Connectord did not say what is there.
#[derive(Debug, Clone, Copy)]
struct NotLooked;

/// A connectord.
#[derive(Debug)]
pub(super) struct Remote {
    client: HaltServiceClient<Channel>,
    channel: Channel,
    /// What is typed plainly is a part of this tenant.
    own: Option<TenantId>,
}

/// The tenant that a certificate names.
fn tenant_of(cert: &Path) -> Option<TenantId> {
    let text = std::fs::read(cert).ok()?;
    let (_, pem) = parse_x509_pem(&text).ok()?;
    let parsed = pem.parse_x509().ok()?;
    let names = parsed.subject_alternative_name().ok().flatten()?;
    let uri = names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })?;
    // The connectord checks the trust domain; here it only has to be taken off.
    let domain = uri.strip_prefix("spiffe://")?.split('/').next()?;
    let caller = Caller::from_spiffe(uri, domain).ok()?;
    caller.tenant().cloned()
}

impl Remote {
    /// Whose halts it is shown; none where the certificate is of a service.
    pub(super) const fn tenant(&self) -> Option<&TenantId> {
        self.own.as_ref()
    }

    pub(super) async fn open(access: &Access, cert: &Path, key: &Path) -> Result<Self, AppError> {
        let ca = beside_config(access.cacert.as_ref(), "certs/ca.pem");
        let addr = address(access.addr.as_ref())?;
        let files = ClientFiles { ca: &ca, cert, key };
        let peer = client::peer((&addr, "connectord"), &files, TIMEOUT)?;
        let channel = peer.connect().await.map_err(|error| {
            let error = AppError::from(error);
            match error.reason {
                Reason::PeerUnreachable => error.with_fix(
                    "start connectord, or correct --addr; on the machine of the halt store the same command without --cert sets and ends halts in the store itself",
                ),
                _ => error,
            }
        })?;
        Ok(Self {
            client: HaltServiceClient::new(channel.clone()),
            channel,
            own: tenant_of(cert),
        })
    }

    pub(super) async fn set(
        &mut self,
        typed: &str,
        reason: &str,
        seconds: u32,
    ) -> Result<(String, u64), AppError> {
        let request = pb::SetHaltRequest {
            scope: typed.to_owned(),
            reason: reason.to_owned(),
            duration: (seconds > 0).then(|| prost_types::Duration {
                seconds: i64::from(seconds),
                nanos: 0,
            }),
            cause: String::new(),
        };
        let answer = self
            .client
            .set_halt(request)
            .await
            .map_err(failed)?
            .into_inner();
        let scope = answer.halt.map(|halt| halt.scope);
        Ok((scope.unwrap_or_else(|| typed.to_owned()), answer.epoch))
    }

    /// What is odd about a scope that was halted, looked up until a moment: no card and no execution is known that it
    /// could stop, or nobody could look. Whether that is certain: an agent may be one that has not written yet.
    pub(super) async fn strange_until(
        &self,
        stored: &str,
        until: Instant,
    ) -> Option<(String, bool)> {
        let scope: Scope = stored.parse().ok()?;
        let looked = tokio::time::timeout_at(until, self.strange(&scope, stored)).await;
        looked.unwrap_or(Err(NotLooked)).unwrap_or_else(|NotLooked| {
            let why = format!(
                "whether there is anything of the name in {stored} could not be looked up: a misspelt scope stops nothing. \
                 `connectord actions ls` and `connectord executions ls` show the names"
            );
            Some((why, false))
        })
    }

    async fn strange(
        &self,
        scope: &Scope,
        stored: &str,
    ) -> Result<Option<(String, bool)>, NotLooked> {
        let tenant = scope.tenant().or(self.own.as_ref());
        // What another tenant has is not shown.
        let Some(tenant) =
            tenant.filter(|tenant| self.own.as_ref().is_none_or(|own| own == *tenant))
        else {
            return Ok(None);
        };
        let parent = format!("tenants/{tenant}");
        let mut asks = ConnectorServiceClient::new(self.channel.clone());
        let actions = async |asks: &mut ConnectorServiceClient<Channel>| {
            let request = pb::ListActionsRequest {
                parent: parent.clone(),
            };
            let listed = asks.list_actions(request).await.map_err(|_| NotLooked)?;
            Ok(listed.into_inner().actions)
        };
        let (kind, typed, known): (_, _, Vec<String>) = match scope.part() {
            Part::Action(action) => {
                let all = actions(&mut asks).await?.into_iter();
                let names = all.filter_map(|one| Some(one.name.rsplit('/').next()?.to_owned()));
                ("action", action.to_string(), names.collect())
            }
            Part::Connection(connection) => {
                let all = actions(&mut asks).await?.into_iter();
                let names = all.map(|one| one.connection);
                ("connection", connection.to_string(), names.collect())
            }
            Part::Agent(agent) => {
                let mut seen = Vec::new();
                // Its own, and then whoever wrote lately.
                for (agent, page_size) in [(agent.as_str(), 1), ("", LATELY)] {
                    let request = pb::ListExecutionsRequest {
                        parent: parent.clone(),
                        agent: agent.to_owned(),
                        page_size,
                        ..pb::ListExecutionsRequest::default()
                    };
                    let listed = asks.list_executions(request).await;
                    let listed = listed.map_err(|_| NotLooked)?.into_inner();
                    seen.extend(listed.executions.into_iter().map(|one| one.agent));
                }
                ("agent", agent.to_string(), seen)
            }
            Part::All | Part::Customer(_) | Part::Run(_) => return Ok(None),
        };
        if known.contains(&typed) {
            return Ok(None);
        }
        let near = near(&typed, known.iter().map(String::as_str));
        let near = near.map_or_else(
            || ".".to_owned(),
            |near| format!("; did you mean `{near}`?"),
        );
        let why = if kind == "agent" {
            format!(
                "no call of an agent `{typed}` was seen here yet; if that is its name, it is halted{near}"
            )
        } else {
            format!(
                "there is no {kind} `{typed}`, so this halt stops nothing{near} It stays set until halt off --scope {stored}"
            )
        };
        let is_own = scope.tenant().is_some() && scope.tenant() == self.own.as_ref();
        Ok(Some((why, is_own && kind != "agent")))
    }

    pub(super) async fn clear(&mut self, typed: &str, reason: &str) -> Result<Ended, AppError> {
        let request = pb::ClearHaltRequest {
            scope: typed.to_owned(),
            reason: reason.to_owned(),
        };
        let answer = self
            .client
            .clear_halt(request)
            .await
            .map_err(failed)?
            .into_inner();
        let scope = self.stored(typed);
        // It is over whatever else can be told, so a failure to tell is none of the command.
        let others = self.list().await.ok();
        // Of another tenant this operator is not shown everything.
        let is_seen = |scope: &&Scope| {
            scope
                .tenant()
                .is_none_or(|of| Some(of) == self.own.as_ref())
        };
        let still = scope
            .as_ref()
            .filter(is_seen)
            .zip(others)
            .map(|(scope, (others, _))| {
                let others = others
                    .iter()
                    .filter_map(|halt| halt.scope.parse::<Scope>().ok());
                let others: Vec<Scope> = others.collect();
                wider(scope, others.iter())
            });
        Ok(Ended {
            scope: scope.map_or_else(|| typed.to_owned(), |scope| scope.to_string()),
            cleared: answer.cleared,
            epoch: answer.epoch,
            still,
        })
    }

    /// What the connectord took a text for; its answer does not say so.
    fn stored(&self, typed: &str) -> Option<Scope> {
        Scope::typed(typed, self.own.as_ref()?).ok()
    }

    pub(super) async fn list(&mut self) -> Result<(Vec<Shown>, u64), AppError> {
        let request = pb::GetHaltStateRequest::default();
        let answer = self
            .client
            .get_halt_state(request)
            .await
            .map_err(failed)?
            .into_inner();
        if !answer.known {
            return Err(AppError::of(Reason::HaltUnknown));
        }
        let seconds = |time: Option<prost_types::Timestamp>| time.map_or(0, |time| time.seconds);
        let shown = answer.halts.into_iter().map(|halt| Shown {
            scope: halt.scope,
            by: halt.by,
            reason: halt.reason,
            since: seconds(halt.since),
            until: seconds(halt.until),
        });
        Ok((shown.collect(), answer.epoch))
    }

    pub(super) async fn drill(&mut self, nonce: &str) -> Result<Answers, AppError> {
        let request = pb::ProbeHaltRequest {
            nonce: nonce.to_owned(),
            patience: prost_types::Duration::try_from(PATIENCE).ok(),
        };
        let answer = self
            .client
            .probe_halt(request)
            .await
            .map_err(failed)?
            .into_inner();
        let took = answer.took.and_then(|took| Duration::try_from(took).ok());
        Ok(Answers {
            nonce: answer.nonce,
            peers: answer.members.into_iter().map(peer).collect(),
            took: took.unwrap_or_default(),
        })
    }
}

fn peer(member: pb::HaltMember) -> Peer {
    let milliseconds = |time: prost_types::Timestamp| {
        let part = i64::from(time.nanos / 1_000_000);
        time.seconds.saturating_mul(1_000).saturating_add(part)
    };
    let is_shared = member.host.is_empty();
    let name = if is_shared {
        // Machines are for the operators of all.
        member.instance
    } else {
        format!("{}/{}", member.host, member.pid)
    };
    Peer {
        name,
        is_shared,
        answered: member.answered,
        known: member.known,
        last: member
            .last_write
            .map(|time| (milliseconds(time), member.last_action)),
        open: member.open,
        finished: member.finished,
    }
}
