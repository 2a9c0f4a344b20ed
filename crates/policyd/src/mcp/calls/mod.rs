//! The tools at work: what they take is read strictly, what they need is asked of the daemons.

pub(crate) mod answer;
pub(crate) mod decisions;
pub(crate) mod executions;
pub(crate) mod identity;
pub mod peers;
pub(crate) mod writs;

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};
use writ_proto::{Reason, pb};

use crate::error::AppError;
use crate::ids;
use crate::mcp::calls::peers::Peers;
use crate::mcp::calls::writs::Handles;
use crate::mcp::tools;
use crate::mcp::tools::ToolSet;
use crate::mcp::tools::arguments::{Handled, List};
use crate::mcp::tools::listing::listed;
use answer::Told;

/// No call takes longer, whatever happens. The deadlines of all its parts together are shorter.
pub(super) const CALL_MAX: Duration = Duration::from_secs(20);
/// Most calls at once.
const CALLS_MAX: usize = 32;
/// So old may cards be when a request is put together; the daemons look at their own.
const CARDS_FRESH: Duration = Duration::from_secs(10);

/// Why there is no result: the request is not one of this server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotOurs(pub(super) String);

type Cards = Arc<Vec<pb::Action>>;

/// The tools of one agent.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) peers: Peers,
    pub(super) set: ToolSet,
    pub(super) run_id: String,
    pub(super) provenance: pb::Provenance,
    pub(super) handles: Handles,
    cards: Mutex<Option<(Instant, Cards)>>,
    calls: Semaphore,
}

pub(super) fn take<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, NotOurs> {
    serde_json::from_value(serde_json::Value::Object(arguments))
        .map_err(|error| NotOurs(error.to_string()))
}

impl Tools {
    pub(super) fn new(peers: Peers, set: ToolSet, provenance: pb::Provenance) -> Self {
        Self {
            peers,
            set,
            run_id: format!("mcp-{}", ids::new_id().simple()),
            provenance,
            handles: Handles::default(),
            cards: Mutex::new(None),
            calls: Semaphore::new(CALLS_MAX),
        }
    }

    /// Calls a tool, within [`CALL_MAX`]. `trace` is the W3C `traceparent` of the caller, or empty.
    ///
    /// # Errors
    /// When there is no such tool, or it does not take these arguments.
    pub(super) async fn call(
        &self,
        name: &str,
        arguments: JsonObject,
        trace: &str,
    ) -> Result<Told, NotOurs> {
        let Ok(_place) = self.calls.try_acquire() else {
            let message = format!("{CALLS_MAX} calls are under way");
            return Ok(answer::refused(&AppError::new(
                Reason::RateLimited,
                message,
            )));
        };
        let called = timeout(CALL_MAX, self.dispatch(name, arguments, trace)).await;
        called.unwrap_or_else(|_| {
            let message = "no answer in time; call again with the same id to learn how it ended";
            let error = AppError::new(Reason::OutcomeUnknown, message);
            Ok(answer::refused(&error))
        })
    }

    async fn dispatch(
        &self,
        name: &str,
        arguments: JsonObject,
        trace: &str,
    ) -> Result<Told, NotOurs> {
        if !tools::has_basic(self.set, name) {
            return self.card_tool(name, arguments, trace).await;
        }
        let result = match name {
            "list_actions" => {
                let List { cursor } = take(arguments)?;
                self.list(&cursor).await
            }
            "request_authorization" => {
                let (_, told) = self.ask(take(arguments)?, trace).await;
                return Ok(told);
            }
            "get_decision" => self.look(&take(arguments)?).await,
            "cancel_request" => {
                let Handled { decision_id } = take(arguments)?;
                let cancelled = self.peers.cancel(decision_id).await;
                cancelled.map(|decision| answer::decision(&decision))
            }
            "preview_action" => self.preview(take(arguments)?).await,
            "execute_action" => {
                let Handled { decision_id } = take(arguments)?;
                self.execute(decision_id).await
            }
            "undo_action" => self.undo(take(arguments)?).await,
            _ => return Err(NotOurs(format!("there is no tool `{name}`"))),
        };
        Ok(result.unwrap_or_else(|error| self.refused(&error)))
    }

    pub(super) fn refused(&self, error: &AppError) -> Told {
        if !error.detail.is_empty() {
            tracing::warn!(reason = error.reason.code(), detail = %error.detail, "a call failed");
        }
        answer::refused(error)
    }

    /// The cards, not older than asked.
    pub(super) async fn cards(&self, oldest: Duration) -> Result<Cards, AppError> {
        let mut kept = self.cards.lock().await;
        match &*kept {
            Some((at, cards)) if at.elapsed() < oldest => Ok(Arc::clone(cards)),
            _ => {
                let cards = Arc::new(self.peers.actions().await?);
                *kept = Some((Instant::now(), Arc::clone(&cards)));
                Ok(cards)
            }
        }
    }

    pub(super) async fn card(&self, name: &str) -> Result<pb::Action, AppError> {
        for oldest in [CARDS_FRESH, Duration::ZERO] {
            let cards = self.cards(oldest).await?;
            if let Some(card) = cards.iter().find(|card| card.name == name) {
                return Ok(card.clone());
            }
        }
        let message = format!("there is no action `{name}`; call list_actions");
        Err(AppError::new(Reason::UnknownAction, message))
    }

    async fn list(&self, cursor: &str) -> Result<Told, AppError> {
        let cards = self.cards(Duration::ZERO).await?;
        Ok(listed(&cards, cursor, &self.peers.identity))
    }
}
