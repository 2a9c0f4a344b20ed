//! `policyd server`, and how every long-running command is told to stop.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use writ_proto::Reason;

use crate::cli::Common;
use crate::error::AppError;
use crate::server::bind;

/// Flags of the daemon.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Writes the address here as JSON once it serves.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

/// Ends on Ctrl-C or SIGTERM.
pub(crate) async fn stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

pub(crate) async fn run(common: &Common, args: &ServerArgs) -> Result<u8, AppError> {
    let bound = Box::pin(bind(common.read()?)).await?;
    let addr = bound.addr()?;
    tracing::info!(grpc = %addr, "ready  {}", bound.summary());
    if let Some(file) = &args.ready_file {
        let value = json!({"grpc": addr.to_string(), "pid": std::process::id()});
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, value.to_string())
            .and_then(|()| std::fs::rename(&fresh, file))
            .map_err(|error| {
                AppError::new(Reason::Internal, format!("{}: {error}", file.display()))
            })?;
    }
    let told = async {
        stop().await;
        tracing::info!("told to stop; the calls under way are answered first");
    };
    bound.serve(told).await?;
    tracing::info!("stopped");
    Ok(0)
}
