//! The two servers that `bench` starts and compares, over the same mTLS: `claim` does checks 1 to
//! 19 with the product's own code and stops when the token is durably spent; `echo` does nothing.
//! Both give every call the same bytes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};
use writ_proto::pb;
use writ_proto::pb::connector_service_server::{ConnectorService, ConnectorServiceServer};

use crate::fail;
use crate::servers::tell_ready;
use connectord::app::write::admit::Purpose;
use connectord::app::{SharedApp, write::Spent};
use connectord::config::{Config, Layers};
use connectord::grpc::authn::Authn;
use connectord::grpc::convert;
use connectord::grpc::status::status;
use connectord::server::{builder, door, open};

/// Flags of the hidden subcommand.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// What a call does.
    #[arg(long, value_enum)]
    pub(crate) work: Work,
    /// Configuration of the daemon whose certificate it has.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// What is set beside it.
    #[arg(long)]
    pub(crate) set: Vec<String>,
    /// File with the encoded answer of every call.
    #[arg(long)]
    pub(crate) answer: PathBuf,
    /// Writes the address here as JSON once it serves.
    #[arg(long)]
    pub(crate) ready_file: PathBuf,
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Nothing.
    Echo,
    /// Verify and claim.
    Claim,
}

struct Measured {
    answer: pb::ExecuteResponse,
    claims: Option<(SharedApp, Authn)>,
}

fn absent() -> Status {
    Status::unimplemented("only Execute is measured")
}

#[tonic::async_trait]
impl ConnectorService for Measured {
    async fn execute(
        &self,
        request: Request<pb::ExecuteRequest>,
    ) -> Result<Response<pb::ExecuteResponse>, Status> {
        let Some((app, authn)) = &self.claims else {
            return Ok(Response::new(self.answer.clone()));
        };
        let (own, agent, certificate) = authn.agent(&request).map_err(|error| status(&error))?;
        let (token, call) =
            convert::call(request.into_inner(), (&own, &agent)).map_err(|error| status(&error))?;
        let spent = app.spend(&token, &call, certificate, Purpose::Write).await;
        match spent.map_err(|error| status(&error))? {
            Spent::Fresh(_) => Ok(Response::new(self.answer.clone())),
            Spent::Earlier(_) => Err(Status::already_exists("each call brings a fresh token")),
        }
    }

    async fn list_actions(
        &self,
        _: Request<pb::ListActionsRequest>,
    ) -> Result<Response<pb::ListActionsResponse>, Status> {
        Err(absent())
    }

    async fn get_action(
        &self,
        _: Request<pb::GetActionRequest>,
    ) -> Result<Response<pb::GetActionResponse>, Status> {
        Err(absent())
    }

    async fn preview(
        &self,
        _: Request<pb::PreviewRequest>,
    ) -> Result<Response<pb::PreviewResponse>, Status> {
        Err(absent())
    }

    async fn read(
        &self,
        _: Request<pb::ReadRequest>,
    ) -> Result<Response<pb::ReadResponse>, Status> {
        Err(absent())
    }

    async fn undo(
        &self,
        _: Request<pb::UndoRequest>,
    ) -> Result<Response<pb::UndoResponse>, Status> {
        Err(absent())
    }

    async fn batch_undo(
        &self,
        _: Request<pb::BatchUndoRequest>,
    ) -> Result<Response<pb::BatchUndoResponse>, Status> {
        Err(absent())
    }

    async fn settle_execution(
        &self,
        _: Request<pb::SettleExecutionRequest>,
    ) -> Result<Response<pb::SettleExecutionResponse>, Status> {
        Err(absent())
    }

    async fn get_execution(
        &self,
        _: Request<pb::GetExecutionRequest>,
    ) -> Result<Response<pb::GetExecutionResponse>, Status> {
        Err(absent())
    }

    async fn list_executions(
        &self,
        _: Request<pb::ListExecutionsRequest>,
    ) -> Result<Response<pb::ListExecutionsResponse>, Status> {
        Err(absent())
    }

    async fn set_action_rollout(
        &self,
        _: Request<pb::SetActionRolloutRequest>,
    ) -> Result<Response<pb::SetActionRolloutResponse>, Status> {
        Err(absent())
    }

    async fn mark_surprise(
        &self,
        _: Request<pb::MarkSurpriseRequest>,
    ) -> Result<Response<pb::MarkSurpriseResponse>, Status> {
        Err(absent())
    }
}

/// Serves until told to stop.
pub(crate) async fn serve(args: &ServeArgs, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let layers = Layers::read(&args.config, core::iter::empty(), "", &args.set).map_err(fail)?;
    let config = Config::from_layers(&layers, &args.config).map_err(fail)?;
    let bytes = std::fs::read(&args.answer)?;
    let answer = pb::ExecuteResponse::decode(bytes.as_slice())?;
    let claims = match args.work {
        Work::Echo => None,
        Work::Claim => Some((open(&config).await?, Authn::new(&config.tls.trust_domain))),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    tell_ready(&args.ready_file, listener.local_addr()?)?;
    let service = ConnectorServiceServer::new(Measured { answer, claims });
    let router = builder().add_service(service);
    let served = writ_proto::host::serve::grpc::serve(router, listener, door(&config)?, stop).await;
    served.map_err(fail)
}
