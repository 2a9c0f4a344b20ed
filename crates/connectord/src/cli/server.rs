//! `connectord server`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use writ_proto::Reason;

use super::Common;
use crate::error::AppError;
use crate::server::bind;

/// Flags of the daemon.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Writes the address here as JSON once it serves.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

/// Ends on Ctrl-C or SIGTERM.
pub(super) async fn stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Tells a waiting parent where we listen.
pub(super) fn ready(file: Option<&PathBuf>, value: &serde_json::Value) -> Result<(), AppError> {
    let Some(file) = file else { return Ok(()) };
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, value.to_string())
        .and_then(|()| std::fs::rename(&fresh, file))
        .map_err(|error| AppError::new(Reason::Internal, format!("{}: {error}", file.display())))
}

pub(super) async fn run(common: &Common, args: &ServerArgs) -> Result<u8, AppError> {
    let bound = Box::pin(bind(common.read()?)).await?;
    let addr = bound.addr()?;
    let http = bound.http_addr()?.map(|addr| addr.to_string());
    tracing::info!(grpc = %addr, http, "ready  {}", bound.summary());
    ready(
        args.ready_file.as_ref(),
        &json!({"grpc": addr.to_string(), "http": http, "pid": std::process::id()}),
    )?;
    let told = async {
        stop().await;
        tracing::info!("told to stop; the calls under way are answered first");
    };
    bound.serve(told).await?;
    tracing::info!("stopped");
    Ok(0)
}
