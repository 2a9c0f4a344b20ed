//! `connectord server` and `connectord doctor`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use writ_proto::Reason;

use super::Common;
use crate::error::AppError;
use crate::output::Output;
use crate::server::{bind, check_marks, open, summary};

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
    bound.serve(stop()).await?;
    Ok(0)
}

pub(super) async fn doctor(common: &Common, output: &Output) -> Result<u8, AppError> {
    let config = common.read()?;
    let ok = |what: &str| output.line(&format!("ok    {what}"), &json!({"ok": what}));
    ok("configuration");
    let halts = crate::server::open_halts(&config).await?;
    let state = halts
        .read(crate::clock::now().timestamp())
        .map_err(|error| AppError::new(Reason::HaltUnknown, error.to_string()))?;
    ok(&format!(
        "halts: epoch {}, {} set",
        state.epoch,
        state.flags.len()
    ));
    let app = open(&config).await?;
    let room = app.reserve.look();
    let bad = |what: &str| output.line(&format!("FAIL  {what}"), &json!({"fail": what}));
    let catalog = app.catalog.load_full();
    let mut failed = catalog.problems.len();
    if failed == 0 {
        ok(&format!(
            "keys, cards, systems, credentials, journal: {}",
            summary(&app)
        ));
    }
    if room.is_short() {
        let least = config.store.reserve_mb;
        bad(&format!(
            "{room}; agents are refused below store.reserve_mb = {least}"
        ));
        failed = failed.saturating_add(1);
    } else {
        ok(&room.to_string());
    }
    for problem in &catalog.problems {
        bad(&problem.what);
    }
    if let Err(error) = check_marks(&app).await {
        bad(&format!("the server would not start: {error}"));
        failed = failed.saturating_add(1);
    }
    for ((tenant, action), held) in &catalog.cards {
        let connection = held.card.connection.as_str();
        if !catalog.connections.contains_key(connection) {
            let what =
                format!("{action} of {tenant} cannot be used: there is no connection {connection}");
            output.line(&format!("note  {what}"), &json!({"note": what}));
        }
    }
    for (name, connection) in &catalog.connections {
        let Ok(system) = &connection.system else {
            continue;
        };
        // What a file leaves to chance, it leaves aloud.
        for choice in system.choices_of_none() {
            let what = format!("connection {name}: {choice}");
            output.line(&format!("note  {what}"), &json!({"note": what}));
        }
        match system.probe().await {
            Ok(()) => ok(&format!(
                "connection {name}: it answers, and takes the credential"
            )),
            Err(error) => {
                bad(&format!("connection {name}: {} {error}", error.reason()));
                failed = failed.saturating_add(1);
            }
        }
    }
    Ok(u8::from(failed > 0))
}
