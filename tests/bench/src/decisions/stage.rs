//! policyd under load: its policies, its store, and the echo beside it.

use std::path::Path;

use policyd::app::policies;
use policyd::domain::policy::TenantPolicies;
use policyd::ids;
use tokio::process::Command;
use tonic::transport::Channel;

use crate::fail;
use crate::servers::{Folder, Running};

/// A folder with the tenant under load.
#[derive(Debug)]
pub(super) struct Stage(Folder);

impl Stage {
    /// Makes the folder below another one, on whose disk the records will be.
    pub(super) async fn new(parent: &Path) -> anyhow::Result<Self> {
        let folder = Folder::new(parent).await?;
        at_hand(&folder.path().join("policies/acme"))?;
        Ok(Self(folder))
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Fills the tenant acme up to a number of policies, none of which concerns a refund.
    pub(super) fn pad(&self, policies_total: usize) -> anyhow::Result<()> {
        let tenant = self.folder().join("policies/acme");
        let path = tenant.join("padding.cedar");
        // The sample's budget would be used up by the first few calls.
        let set = std::fs::read_to_string(tenant.join("set.toml"))?;
        let own = set.split("[[budget]]").next().unwrap_or_default();
        std::fs::write(tenant.join("set.toml"), own)?;
        std::fs::write(&path, "")?;
        let sources = policies::read_tenant(&tenant).map_err(fail)?;
        let own = TenantPolicies::build(&sources)
            .map_err(fail)?
            .rules()
            .count();
        std::fs::write(&path, padding(policies_total.saturating_sub(own)))?;
        Ok(())
    }

    /// A daemon on a free port, with a fresh store or one at a URL.
    pub(super) async fn policyd(&self, store: Option<&str>) -> anyhow::Result<Running> {
        let fresh = format!("sqlite://{}.db", ids::new_id());
        let mut command = self.0.daemon("policyd")?;
        command.arg("server");
        // Each store is a log of its own.
        for set in [
            "server.grpc_addr=127.0.0.1:0".to_owned(),
            "policy.watch=false".to_owned(),
            format!("store.url={}", store.unwrap_or(&fresh)),
            format!("store.mark_file=state/{}.json", ids::new_id()),
        ] {
            command.arg("--set").arg(set);
        }
        self.0.start(command).await
    }

    /// The echo, which answers every call with the same bytes.
    pub(super) async fn echo(&self, answer: &[u8]) -> anyhow::Result<Running> {
        let path = self.folder().join("answer.bin");
        std::fs::write(&path, answer)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("decision-echo").arg("--answer").arg(path);
        command
            .arg("--config")
            .arg(self.folder().join("policyd.toml"));
        self.0.start(command).await
    }

    /// Channels of the agent acme/triage.
    pub(super) async fn channels(&self, server: &Running) -> anyhow::Result<Vec<Channel>> {
        self.0.channels(server, "policyd").await
    }
}

/// Puts the order under load into entities.json: no system of record is asked for it.
fn at_hand(tenant: &Path) -> anyhow::Result<()> {
    let set = std::fs::read_to_string(tenant.join("set.toml"))?;
    let asks = [
        "from =",
        "object =",
        "fields =",
        "max_age = \"5s\"",
        "max_age = \"60s\"",
    ];
    let lines = set.split_inclusive('\n');
    let set: String = lines
        .filter(|line| !asks.iter().any(|ask| line.starts_with(ask)))
        .collect();
    std::fs::write(tenant.join("set.toml"), set)?;
    let known = std::fs::read_to_string(tenant.join("entities.json"))?;
    let order = r#"[{"uid":{"type":"Order","id":"O-7"},"attrs":{"tenant":"acme","status":"paid",
        "customer":{"type":"Customer","id":"C-1"},"total":{"currency":"EUR","minor":12000},
        "refunded":{"currency":"EUR","minor":0}},"parents":[]},"#;
    std::fs::write(tenant.join("entities.json"), known.replacen('[', order, 1))?;
    Ok(())
}

/// Rules about notes, which no refund is evaluated against.
pub(super) fn padding(count: usize) -> String {
    let rule = |index: usize| {
        format!(
            "@id(\"padding-{index}\") @reason(\"padding\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n\
             permit (principal == Agent::\"padding-{index}\", action == Action::\"add_note\", resource)\n\
             when {{ resource.tenant == principal.tenant }};\n"
        )
    };
    (0..count).map(rule).collect()
}
