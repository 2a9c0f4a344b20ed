//! connectord under load: the sandbox CRM behind it, its journal, and the two servers of `serve.rs`.

use std::path::Path;

use connectord::config::{Config, Layers};
use connectord::ids;
use prost::Message as _;
use tokio::process::Command;
use writ_proto::pb;

use super::load::Target;
use super::serve::Work;
use crate::fail;
use crate::servers::{Folder, Running, UNLIMITED, done};

/// The card that is measured: like the sample's `add_note`, with room for 2 KiB, live from the
/// start, and a cap that no bench reaches.
const CARD: &str = r#"
name = "add_note"
sentence = "Add one note to a deal."
connection = "crm/main"
verb = "append_note"
target = "deal"
owner = "bench"
risk = "low"
tier = "compensable"
undo = "none"
rollback_minutes = 1
approver = "role:bench"
rollout = "live"
rollout_max = "live"
rollback_window = "1h"

[caps]
records_per_day = 1000000000

[args.text]
type = "text"
max_chars = 4000
write = "append"
"#;

/// A folder with the measured card, and the sandbox's credential.
#[derive(Debug)]
pub(super) struct Stage(Folder);

impl Stage {
    /// Makes the folder below another one, on whose disk the journal will be.
    pub(super) async fn new(parent: &Path) -> anyhow::Result<Self> {
        let stage = Self(Folder::new(parent).await?);
        let card = stage.folder().join("policies/acme/actions/add_note.toml");
        std::fs::write(card, CARD)?;
        let mut creds = stage.0.daemon("connectord")?;
        creds.args(["creds", "add", "crm/main", "--file"]);
        creds.arg(stage.folder().join("keys/sandbox.secret"));
        done(creds).await?;
        Ok(stage)
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The configuration that `init` wrote.
    pub(super) fn config(&self) -> anyhow::Result<Config> {
        let file = self.folder().join("connectord.toml");
        let layers = Layers::read(&file, core::iter::empty(), "", &[]).map_err(fail)?;
        Config::from_layers(&layers, &file).map_err(fail)
    }

    /// The sandbox CRM on a free port.
    pub(super) async fn sandbox(&self) -> anyhow::Result<Running> {
        let mut command = self.0.daemon("connectord")?;
        command.args(["sandbox", "serve", "--addr", "127.0.0.1:0", "--secret-file"]);
        command.arg(self.folder().join("keys/sandbox.secret"));
        command.arg("--db").arg(self.folder().join("sandbox.db"));
        self.0.start(command).await
    }

    /// The daemon on a free port with a fresh journal, and its halts in a Redis or in the folder of the stage.
    pub(super) async fn connectord(
        &self,
        sandbox: &Running,
        redis: Option<&str>,
    ) -> anyhow::Result<Running> {
        let mut command = self.0.daemon("connectord")?;
        command.arg("server");
        let connection = format!(
            "connection=[{{name=\"crm/main\", system=\"sandbox\", base_url=\"http://{}\", tenants=[\"acme\"]}}]",
            sandbox.addr
        );
        let mut sets = vec![
            "server.grpc_addr=127.0.0.1:0".to_owned(),
            "server.http_addr=127.0.0.1:0".to_owned(),
            connection,
            fresh_journal(),
        ];
        if let Some(url) = redis {
            sets.push(format!("halt.store={url}"));
            sets.push(format!("halt.epoch_file=state/{}", ids::new_id()));
        }
        for set in sets {
            command.arg("--set").arg(set);
        }
        self.0.start(command).await
    }

    /// One of the two servers of `serve.rs`, with a fresh journal.
    pub(super) async fn measured(
        &self,
        work: Work,
        answer: &pb::ExecuteResponse,
    ) -> anyhow::Result<Running> {
        let path = self.folder().join("answer.bin");
        std::fs::write(&path, answer.encode_to_vec())?;
        let name = match work {
            Work::Echo => "echo",
            Work::Claim => "claim",
        };
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["execution-server", "--work", name, "--answer"])
            .arg(path);
        command
            .arg("--config")
            .arg(self.folder().join("connectord.toml"));
        command.arg("--set").arg(fresh_journal());
        for set in UNLIMITED {
            command.arg("--set").arg(set);
        }
        self.0.start(command).await
    }

    /// A server to call as the agent acme/triage.
    pub(super) async fn target(&self, server: &Running) -> anyhow::Result<Target> {
        let channels = self.0.channels(server, "connectord").await?;
        Ok(Target {
            pid: server.pid,
            channels,
        })
    }
}

fn fresh_journal() -> String {
    format!("store.url=sqlite://{}.db", ids::new_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_card_is_a_card() {
        let card = writ_proto::card::Card::parse(CARD).unwrap();
        assert_eq!(card.name.as_str(), super::super::writs::ACTION);
        let args = super::super::writs::arguments(2_048).unwrap();
        card.check(&args, chrono::NaiveDate::MIN).unwrap();
    }
}
