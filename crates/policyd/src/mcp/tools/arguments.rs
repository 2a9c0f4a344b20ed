//! What the tools take, read strictly: a name that is not here is refused.

use rmcp::model::JsonObject;
use serde::Deserialize;
use writ_proto::card::NO_RECORD;

use crate::grpc::client::Quoted;

/// Whether the system of record may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    #[default]
    DryRun,
    Execute,
}

/// What `request_authorization` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    pub(crate) action: String,
    pub(crate) target_id: String,
    #[serde(default)]
    pub(crate) arguments: JsonObject,
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) reason: String,
    pub(crate) precondition: Option<String>,
    pub(crate) request_id: Option<uuid::Uuid>,
    pub(crate) confidence: Option<u32>,
    #[serde(default)]
    pub(crate) uncertain: Vec<String>,
    #[serde(default)]
    pub(crate) evidence: Vec<Quoted>,
    #[serde(default)]
    pub(crate) again: bool,
}

fn no_record() -> String {
    NO_RECORD.to_owned()
}

/// What the tool of a card takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskCard {
    #[serde(default = "no_record")]
    pub(crate) target_id: String,
    #[serde(default)]
    pub(crate) arguments: JsonObject,
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) reason: String,
    pub(crate) precondition: Option<String>,
    pub(crate) request_id: Option<uuid::Uuid>,
    pub(crate) confidence: Option<u32>,
    #[serde(default)]
    pub(crate) uncertain: Vec<String>,
    #[serde(default)]
    pub(crate) evidence: Vec<Quoted>,
    #[serde(default)]
    pub(crate) again: bool,
}

/// What `get_decision` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    pub(crate) decision_id: uuid::Uuid,
    #[serde(default)]
    pub(crate) wait_ms: u64,
}

/// What names one decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Handled {
    pub(crate) decision_id: uuid::Uuid,
}

/// What `undo_action` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Undo {
    pub(crate) execution_id: uuid::Uuid,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What `list_actions` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub(crate) cursor: String,
}
