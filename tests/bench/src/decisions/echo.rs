//! The floor that decisions are measured against: the same service over the same mTLS with the
//! same message sizes, which decides, records and signs nothing. Only `bench` starts it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};
use writ_proto::host::serve::paced::Refusals;
use writ_proto::pb;
use writ_proto::pb::authorization_service_server::{
    AuthorizationService, AuthorizationServiceServer,
};

use policyd::config::{Config, Layers};
use policyd::grpc::status::over_rate;
use policyd::server::door;

use crate::fail;
use crate::servers::{UNLIMITED, tell_ready};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Flags of the hidden subcommand.
#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// Configuration of the daemon whose certificate it has.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// File with the encoded answer of every call.
    #[arg(long)]
    pub(crate) answer: PathBuf,
    /// Writes the address here as JSON once it serves.
    #[arg(long)]
    pub(crate) ready_file: PathBuf,
}

struct Echo {
    answer: pb::AuthorizeResponse,
}

#[tonic::async_trait]
impl AuthorizationService for Echo {
    async fn authorize(
        &self,
        _: Request<pb::AuthorizeRequest>,
    ) -> Result<Response<pb::AuthorizeResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }

    async fn batch_authorize(
        &self,
        _: Request<pb::BatchAuthorizeRequest>,
    ) -> Result<Response<pb::BatchAuthorizeResponse>, Status> {
        Err(Status::unimplemented("the echo answers Authorize"))
    }

    async fn simulate_authorization(
        &self,
        _: Request<pb::SimulateAuthorizationRequest>,
    ) -> Result<Response<pb::SimulateAuthorizationResponse>, Status> {
        Err(Status::unimplemented("the echo answers Authorize"))
    }

    async fn get_decision(
        &self,
        _: Request<pb::GetDecisionRequest>,
    ) -> Result<Response<pb::GetDecisionResponse>, Status> {
        Err(Status::unimplemented("the echo answers Authorize"))
    }

    async fn cancel_decision(
        &self,
        _: Request<pb::CancelDecisionRequest>,
    ) -> Result<Response<pb::CancelDecisionResponse>, Status> {
        Err(Status::unimplemented("the echo answers Authorize"))
    }
}

/// Serves until told to stop.
pub(crate) async fn serve(args: &EchoArgs, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let layers = Layers::read(
        &args.config,
        core::iter::empty(),
        "",
        &UNLIMITED.map(str::to_owned),
    )
    .map_err(fail)?;
    let config = Config::from_layers(&layers, &args.config).map_err(fail)?;
    let bytes = std::fs::read(&args.answer)?;
    let answer = pb::AuthorizeResponse::decode(bytes.as_slice())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    tell_ready(&args.ready_file, listener.local_addr()?)?;
    let refusals = Refusals {
        early: over_rate,
        unread: Arc::new(|_, why| Box::pin(async { Status::invalid_argument(why) })),
    };
    let router = writ_proto::host::serve::grpc::server(CALL_TIMEOUT, refusals)
        .add_service(AuthorizationServiceServer::new(Echo { answer }));
    let served = writ_proto::host::serve::grpc::serve(router, listener, door(&config)?, stop).await;
    served.map_err(fail)
}
