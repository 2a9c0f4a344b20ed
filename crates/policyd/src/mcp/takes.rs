//! What the tools take, read strictly: a name that is not here is refused.

use rmcp::model::JsonObject;
use serde::Deserialize;
use writ_proto::card::NO_RECORD;

/// Whether the system of record may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    #[default]
    DryRun,
    Execute,
}

/// What `request_authorization` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) action: String,
    pub(super) target_id: String,
    #[serde(default)]
    pub(super) arguments: JsonObject,
    #[serde(default)]
    pub(super) mode: Mode,
    #[serde(default)]
    pub(super) reason: String,
    pub(super) precondition: Option<String>,
    pub(super) request_id: Option<uuid::Uuid>,
    pub(super) confidence: Option<u32>,
    #[serde(default)]
    pub(super) uncertain: Vec<String>,
    #[serde(default)]
    pub(super) again: bool,
}

fn no_record() -> String {
    NO_RECORD.to_owned()
}

/// What the tool of a card takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskCard {
    #[serde(default = "no_record")]
    pub(super) target_id: String,
    #[serde(default)]
    pub(super) arguments: JsonObject,
    #[serde(default)]
    pub(super) mode: Mode,
    #[serde(default)]
    pub(super) reason: String,
    pub(super) precondition: Option<String>,
    pub(super) request_id: Option<uuid::Uuid>,
    pub(super) confidence: Option<u32>,
    #[serde(default)]
    pub(super) uncertain: Vec<String>,
    #[serde(default)]
    pub(super) again: bool,
}

/// What `get_decision` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    pub(super) decision_id: uuid::Uuid,
    #[serde(default)]
    pub(super) wait_ms: u64,
}

/// What names one decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handled {
    pub(super) decision_id: uuid::Uuid,
}

/// What `undo_action` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    pub(super) execution_id: uuid::Uuid,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// What `list_actions` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub(super) cursor: String,
}
