//! `HaltService`. Everybody sees what covers his own tenant; who may change what is decided in
//! `app/halts/order.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use writ_proto::host::serve::turn::Kind;
use writ_proto::pb::halt_service_server::HaltService;
use writ_proto::{Caller, Reason, pb};

mod places;

use places::{DRILLS, Places, STREAMS};

use super::authn::{Authn, not_for};
use super::status::status;
use super::weight::{halt_turn, listed, turn};
use crate::app::halts::order::{Asker, HALT_SECONDS_MAX, HaltOrder};
use crate::app::{App, SharedApp};
use crate::clock;
use crate::error::AppError;
use crate::grpc::convert::malformed;
use crate::halt::{Customer, Drill, Flag, HaltState, Member, Part, Scope, Subject};
use crate::wire::outcome::timestamp;

/// A stream on which nothing changes says so this often.
const HEARTBEAT: Duration = Duration::from_secs(5);
const STREAM_BUFFER: usize = 4;
const NONCE_CHARS_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// The service.
#[derive(Debug, Clone)]
pub struct Halts {
    app: SharedApp,
    authn: Authn,
    watchers: Places,
    drills: Places,
    stopping: watch::Receiver<bool>,
}

/// What a caller may see: what covers his tenant; a daemon, and whoever may halt every tenant, sees everything.
#[derive(Debug, Clone)]
struct Eyes {
    tenant: Option<String>,
    agent: Option<String>,
}

impl Eyes {
    /// Those of a caller. Whoever may halt every tenant sees the halts of every tenant.
    fn of(app: &App, caller: &Caller) -> Self {
        let halts_all = match caller {
            Caller::Operator { tenant, name } => app.is_global_operator(tenant, name),
            Caller::Agent { .. } | Caller::Service { .. } => false,
        };
        let tenant = caller.tenant().filter(|_| !halts_all);
        Self {
            tenant: tenant.map(|tenant| tenant.as_str().to_owned()),
            agent: match caller {
                Caller::Agent { agent, .. } => Some(agent.to_string()),
                Caller::Operator { .. } | Caller::Service { .. } => None,
            },
        }
    }

    fn see(&self, state: &HaltState) -> Vec<pb::Halt> {
        let sees = |flag: &&Flag| {
            let tenant = self.tenant.as_deref();
            tenant.is_none_or(|tenant| flag.scope.concerns(tenant)) && self.concern(&flag.scope)
        };
        let seen = state.flags.iter().filter(sees);
        seen.map(|flag| self.told(flag)).collect()
    }

    /// How often anything changed in the store; of a tenant nobody learns what others do.
    fn generation(&self, state: &HaltState) -> u64 {
        if self.tenant.is_none() {
            state.generation
        } else {
            0
        }
    }

    /// A connectord as it is told: what it does for others is not for a tenant to learn.
    fn member(&self, member: pb::HaltMember) -> pb::HaltMember {
        if self.tenant.is_none() {
            return member;
        }
        pb::HaltMember {
            instance: member.instance,
            answered: member.answered,
            known: member.known,
            epoch: member.epoch,
            seen: member.seen,
            ..pb::HaltMember::default()
        }
    }

    /// Whom else an operator halted is not for an agent to learn.
    fn concern(&self, scope: &Scope) -> bool {
        match (&self.agent, scope.part()) {
            (Some(own), Part::Agent(agent)) => agent == own,
            (Some(_), Part::Customer(_) | Part::Run(_)) => false,
            _ => true,
        }
    }

    /// A halt as it is told; who set it and why is for people.
    fn told(&self, flag: &Flag) -> pb::Halt {
        let mut halt = halt(flag);
        if self.agent.is_some() {
            (halt.by, halt.reason) = (String::new(), String::new());
        }
        halt
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Timestamp> {
    (seconds > 0).then_some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn halt(flag: &Flag) -> pb::Halt {
    pb::Halt {
        scope: flag.scope.to_string(),
        since: seconds(flag.since),
        by: flag.by.clone(),
        reason: flag.reason.clone(),
        until: seconds(flag.until),
    }
}

fn moment(milliseconds: i64) -> Option<prost_types::Timestamp> {
    (milliseconds > 0).then(|| timestamp(milliseconds))
}

fn member(drill: &Drill, member: &Member) -> pb::HaltMember {
    pb::HaltMember {
        instance: member.instance.clone(),
        host: member.host.clone(),
        pid: member.pid,
        answered: drill.answered_by(member),
        known: member.known,
        epoch: member.epoch,
        generation: member.generation,
        seen: moment(member.seen_ms),
        last_write: moment(member.last_write_ms),
        last_action: member.last_action.clone(),
        open: member.open,
        finished: member.finished,
    }
}

fn now_ms() -> i64 {
    clock::now().timestamp_millis()
}

fn length(duration: Option<prost_types::Duration>, most: Duration) -> Result<Duration, AppError> {
    let Some(duration) = duration else {
        return Ok(Duration::ZERO);
    };
    let read = Duration::try_from(duration).ok();
    let fits = read.filter(|length| *length <= most && !length.is_zero());
    fits.ok_or_else(|| malformed(format!("duration: above 0, at most {} s", most.as_secs())))
}

impl Halts {
    /// The service; its streams end when `stopping` turns true.
    #[must_use]
    pub fn new(app: SharedApp, authn: Authn, stopping: watch::Receiver<bool>) -> Self {
        Self {
            app,
            authn,
            watchers: Places::new(STREAMS),
            drills: Places::new(DRILLS),
            stopping,
        }
    }

    fn asker<T>(&self, request: &Request<T>, cause: &str) -> Result<Asker, AppError> {
        match self.authn.peer(request)?.caller {
            Caller::Operator { tenant, name } if cause.is_empty() => {
                Ok(Asker::Operator(tenant, name))
            }
            Caller::Operator { .. } => Err(malformed("cause is for policyd")),
            Caller::Service { name } if name.as_str() == "policyd" => {
                Ok(Asker::Policyd(cause.to_owned()))
            }
            other @ (Caller::Agent { .. } | Caller::Service { .. }) => {
                Err(not_for(&other, Reason::OperatorRequired))
            }
        }
    }

    async fn set(
        &self,
        request: Request<pb::SetHaltRequest>,
    ) -> Result<pb::SetHaltResponse, AppError> {
        let asker = self.asker(&request, &request.get_ref().cause)?;
        let pb::SetHaltRequest {
            scope,
            reason,
            duration,
            cause: _,
        } = request.into_inner();
        let most = Duration::from_secs(u64::try_from(HALT_SECONDS_MAX).unwrap_or(0));
        // Never shorter than asked.
        let seconds = length(duration, most)?.as_millis().div_ceil(1_000);
        let order = HaltOrder {
            asker,
            scope,
            reason,
            seconds: i64::try_from(seconds).unwrap_or(HALT_SECONDS_MAX),
        };
        let (flag, state) = self.app.set_halt(&order).await?;
        Ok(pb::SetHaltResponse {
            halt: Some(halt(&flag)),
            epoch: state.epoch,
        })
    }

    /// Ends what its caller had seen.
    async fn clear(
        &self,
        request: Request<pb::ClearHaltRequest>,
        seen: Option<Arc<HaltState>>,
    ) -> Result<pb::ClearHaltResponse, AppError> {
        let asker = self.asker(&request, "")?;
        let pb::ClearHaltRequest { scope, reason } = request.into_inner();
        let order = HaltOrder {
            asker,
            scope,
            reason,
            seconds: 0,
        };
        let (cleared, state) = self.app.clear_halt(&order, seen).await?;
        Ok(pb::ClearHaltResponse {
            epoch: state.epoch,
            cleared,
        })
    }

    fn state(
        &self,
        request: Request<pb::GetHaltStateRequest>,
    ) -> Result<pb::GetHaltStateResponse, AppError> {
        let caller = self.authn.peer(&request)?.caller;
        let pb::GetHaltStateRequest {
            connection,
            action,
            run_id,
            customer,
        } = request.into_inner();
        let Ok(state) = self.app.halt_state() else {
            return Ok(pb::GetHaltStateResponse {
                halted: true,
                reason_code: Reason::HaltUnknown.code().to_owned(),
                ..pb::GetHaltStateResponse::default()
            });
        };
        let agent = match &caller {
            Caller::Agent { agent, .. } => agent.as_str(),
            Caller::Operator { .. } | Caller::Service { .. } => "",
        };
        let subject = Subject {
            tenant: caller.tenant().map_or("", |tenant| tenant.as_str()),
            connection: &connection,
            action: &action,
            agent,
            run: &run_id,
            customer: if customer.is_empty() {
                Customer::NotYet
            } else {
                Customer::Is(&customer)
            },
        };
        let eyes = Eyes::of(&self.app, &caller);
        let by = state.covering(&subject).map(|flag| eyes.told(flag));
        let reason_code = if by.is_some() {
            Reason::Halted.code()
        } else {
            ""
        };
        Ok(pb::GetHaltStateResponse {
            epoch: state.epoch,
            halts: eyes.see(&state),
            known: true,
            halted: by.is_some(),
            by,
            reason_code: reason_code.to_owned(),
            generation: eyes.generation(&state),
        })
    }

    async fn probe(
        &self,
        request: Request<pb::ProbeHaltRequest>,
    ) -> Result<pb::ProbeHaltResponse, AppError> {
        self.authn.operator(&request)?;
        let caller = self.authn.peer(&request)?.caller;
        let eyes = Eyes::of(&self.app, &caller);
        let pb::ProbeHaltRequest { nonce, patience } = request.into_inner();
        let plain = nonce.chars().all(|c| c.is_ascii_graphic());
        if nonce.is_empty() || nonce.len() > NONCE_CHARS_MAX || !plain {
            return Err(malformed("nonce: 1 to 64 printable ASCII characters"));
        }
        let patience = match length(patience, PATIENCE_MAX)? {
            Duration::ZERO => PATIENCE,
            some => some,
        };
        let place = self.drills.take(&caller);
        let _place = place.ok_or_else(|| AppError::of(Reason::RateLimited))?;
        let drill = self.app.halts.drill(&nonce, now_ms, patience).await;
        let drill = drill.map_err(|error| AppError {
            detail: error.to_string(),
            ..AppError::of(Reason::HaltUnknown)
        })?;
        let state = self.app.halt_state().unwrap_or_default();
        Ok(pb::ProbeHaltResponse {
            nonce,
            instance: self.app.instance.clone(),
            epoch: state.epoch,
            generation: eyes.generation(&state),
            members: drill
                .members
                .iter()
                .map(|one| eyes.member(member(&drill, one)))
                .collect(),
            took: prost_types::Duration::try_from(drill.took).ok(),
        })
    }

    fn watch<T>(&self, request: &Request<T>) -> Result<WatchStream, AppError> {
        let caller = self.authn.peer(request)?.caller;
        let eyes = Eyes::of(&self.app, &caller);
        let place = self.watchers.take(&caller);
        let place = place.ok_or_else(|| AppError::of(Reason::RateLimited))?;
        let (sender, receiver) = tokio::sync::mpsc::channel(STREAM_BUFFER);
        let mut changes = self.app.halt_changes.subscribe();
        let mut stopping = self.stopping.clone();
        // Not what the last look of the watch task left: the state of this moment.
        let first = self.app.halt_state().ok();
        tokio::spawn(async move {
            let _place = place;
            let mut last = seen(&eyes, first.as_deref());
            let mut next = Some(last.clone());
            loop {
                if let Some(message) = next.take()
                    && sender.send(Ok(message)).await.is_err()
                {
                    return;
                }
                tokio::select! {
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                    () = sender.closed() => return,
                    () = tokio::time::sleep(HEARTBEAT) => {
                        next = Some(pb::WatchHaltsResponse { heartbeat: true, ..last.clone() });
                    }
                    changed = changes.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let now = seen(&eyes, changes.borrow_and_update().as_deref());
                        if now != last {
                            next = Some(now.clone());
                            last = now;
                        }
                    }
                }
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

fn seen(eyes: &Eyes, state: Option<&HaltState>) -> pb::WatchHaltsResponse {
    match state {
        None => pb::WatchHaltsResponse::default(),
        Some(state) => pb::WatchHaltsResponse {
            epoch: state.epoch,
            halts: eyes.see(state),
            known: true,
            generation: eyes.generation(state),
            heartbeat: false,
        },
    }
}

type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchHaltsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl HaltService for Halts {
    async fn set_halt(
        &self,
        request: Request<pb::SetHaltRequest>,
    ) -> Result<Response<pb::SetHaltResponse>, Status> {
        let _turn = halt_turn(&request).await?;
        let answer = self.set(request).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn clear_halt(
        &self,
        request: Request<pb::ClearHaltRequest>,
    ) -> Result<Response<pb::ClearHaltResponse>, Status> {
        // A halt that somebody sets while this waits for its turn stays.
        let seen = self.app.halt_state().ok();
        let _turn = halt_turn(&request).await?;
        let answer = self.clear(request, seen).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn list_halts(
        &self,
        request: Request<pb::ListHaltsRequest>,
    ) -> Result<Response<pb::ListHaltsResponse>, Status> {
        let peer = self.authn.peer(&request).map_err(|error| status(&error))?;
        let mut turn = turn(&request, Kind::Lists).await?;
        let state = self.app.halt_state();
        let state = state.map_err(|refusal| status(&AppError::from(refusal)))?;
        let halts = Eyes::of(&self.app, &peer.caller).see(&state);
        listed(&mut turn, u32::try_from(halts.len()).unwrap_or(u32::MAX));
        Ok(Response::new(pb::ListHaltsResponse { halts }))
    }

    async fn get_halt_state(
        &self,
        request: Request<pb::GetHaltStateRequest>,
    ) -> Result<Response<pb::GetHaltStateResponse>, Status> {
        let answer = self.state(request);
        answer.map(Response::new).map_err(|error| status(&error))
    }

    type WatchHaltsStream = WatchStream;

    async fn watch_halts(
        &self,
        request: Request<pb::WatchHaltsRequest>,
    ) -> Result<Response<Self::WatchHaltsStream>, Status> {
        let answer = self.watch(&request);
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn probe_halt(
        &self,
        request: Request<pb::ProbeHaltRequest>,
    ) -> Result<Response<pb::ProbeHaltResponse>, Status> {
        let answer = self.probe(request).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }
}
