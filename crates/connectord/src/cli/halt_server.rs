//! `connectord halt-server`: the halt page in a process of its own. It reads the halt store and
//! nothing else: no journal, no cards, no credentials, no policyd.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::host::serve::http::{Limits, serve};

use super::Common;
use super::server::{ready, stop};
use crate::access::Access;
use crate::config::page::PageConfig;
use crate::error::AppError;
use crate::halt::HaltStore;
use crate::http::{self, Rules, SharedSite, Site};

/// Flags of the page server.
#[derive(Debug, Args)]
pub(super) struct HaltServerArgs {
    /// Where to listen instead of server.http_addr; port 0 takes a free one.
    #[arg(long)]
    addr: Option<SocketAddr>,
    /// Writes the address here as JSON once it serves.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

pub(super) async fn run(common: &Common, args: &HaltServerArgs) -> Result<u8, AppError> {
    let config = PageConfig::from_layers(&common.layers()?, &common.config, args.addr)?;
    let tls = config.page_tls()?;
    let listener = http::bind(config.http.addr).await?;
    let addr = listener.local_addr();
    let addr = addr.map_err(|error| AppError::new(Reason::Internal, error.to_string()))?;
    let halts = HaltStore::open(&config.halt.clone().without_epoch_file()).await;
    let halts = halts.map_err(|error| AppError::new(Reason::HaltUnknown, error.to_string()))?;
    let access = Access::new(&config.halt);
    let access = access.map_err(|error| AppError::new(Reason::HaltUnknown, error.to_string()))?;
    let rules = Rules {
        plaintext: config.http.plaintext,
        hosts: config.http.hosts.clone(),
    };
    let site: SharedSite = std::sync::Arc::new(Site::new(halts, access, rules));
    tracing::info!(http = %addr, "ready  the halt page alone");
    ready(
        args.ready_file.as_ref(),
        &json!({"http": addr.to_string(), "pid": std::process::id()}),
    )?;
    let served = serve(listener, tls, http::router(site), Limits::PAGES, stop()).await;
    served.map_err(|error| AppError::new(Reason::Internal, error.to_string()))?;
    Ok(0)
}
