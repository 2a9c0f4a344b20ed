//! The tools at work: what they take is read strictly, what they need is asked of the daemons.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;
use writ_proto::{Reason, pb};
use zeroize::Zeroizing;

use super::catalog::{
    self, Ask, AskCard, Handled, Look, Mode, Nothing, ToolSet, Undo, WAIT_MS_MAX,
};
use super::handles::{Handle, Handles};
use super::peers::{ANSWER_MAX, Peers};
use super::schema::of_arguments;
use super::told::{self, Told};
use crate::app::AppError;
use crate::{clock, ids};

/// No call takes longer, whatever happens. The deadlines of all its parts together are shorter.
pub(super) const CALL_MAX: Duration = Duration::from_secs(20);
/// Most calls at once.
const CALLS_MAX: usize = 32;
/// How often a decision that waits is looked at.
const POLL_EVERY: Duration = Duration::from_millis(500);
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
    run_id: String,
    handles: Handles,
    cards: Mutex<Option<(Instant, Cards)>>,
    calls: Semaphore,
}

fn take<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, NotOurs> {
    serde_json::from_value(Json::Object(arguments)).map_err(|error| NotOurs(error.to_string()))
}

fn by_id(decision: &pb::Decision) -> Result<Uuid, AppError> {
    let id = decision.name.rsplit('/').next().unwrap_or_default();
    Uuid::parse_str(id).map_err(|_| AppError::new(Reason::Internal, "a decision without an id"))
}

impl Tools {
    pub(super) fn new(peers: Peers, set: ToolSet) -> Self {
        Self {
            peers,
            set,
            run_id: format!("mcp-{}", ids::new_id().simple()),
            handles: Handles::default(),
            cards: Mutex::new(None),
            calls: Semaphore::new(CALLS_MAX),
        }
    }

    /// Calls a tool, within [`CALL_MAX`].
    ///
    /// # Errors
    /// When there is no such tool, or it does not take these arguments.
    pub(super) async fn call(&self, name: &str, arguments: JsonObject) -> Result<Told, NotOurs> {
        let Ok(_place) = self.calls.try_acquire() else {
            let message = format!("{CALLS_MAX} calls are under way");
            return Ok(told::refused(&AppError::new(Reason::RateLimited, message)));
        };
        let called = timeout(CALL_MAX, self.dispatch(name, arguments)).await;
        called.unwrap_or_else(|_| {
            let message = "no answer in time; call again with the same id to learn how it ended";
            let error = AppError::new(Reason::OutcomeUnknown, message);
            Ok(told::refused(&error))
        })
    }

    async fn dispatch(&self, name: &str, arguments: JsonObject) -> Result<Told, NotOurs> {
        if !catalog::has_basic(self.set, name) {
            return self.card_tool(name, arguments).await;
        }
        let result = match name {
            "list_actions" => {
                take::<Nothing>(arguments)?;
                self.list().await
            }
            "request_authorization" => {
                let (_, told) = self.ask(take(arguments)?).await;
                return Ok(told);
            }
            "get_decision" => self.look(&take(arguments)?).await,
            "cancel_request" => {
                let Handled { decision_id } = take(arguments)?;
                let cancelled = self.peers.cancel(decision_id).await;
                cancelled.map(|decision| told::decision(&decision))
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

    fn refused(&self, error: &AppError) -> Told {
        if !error.detail.is_empty() {
            tracing::warn!(reason = error.reason.code(), detail = %error.detail, "a call failed");
        }
        told::refused(error)
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

    async fn card(&self, name: &str) -> Result<pb::Action, AppError> {
        for oldest in [CARDS_FRESH, Duration::ZERO] {
            let cards = self.cards(oldest).await?;
            if let Some(card) = cards.iter().find(|card| card.name == name) {
                return Ok(card.clone());
            }
        }
        let message = format!("there is no action `{name}`; call list_actions");
        Err(AppError::new(Reason::UnknownAction, message))
    }

    async fn list(&self) -> Result<Told, AppError> {
        let cards = self.cards(Duration::ZERO).await?;
        let one = |card: &pb::Action| {
            let conditions: Map<String, Json> = card
                .conditions
                .iter()
                .map(|condition| (condition.field.clone(), json!(condition.values)))
                .collect();
            json!({"name": card.name, "sentence": card.sentence, "target_type": card.target_type,
                "connection": card.connection, "tier": card.tier, "risk": card.risk,
                "rollout": catalog::rollout(card.rollout), "arguments_schema": of_arguments(card),
                "conditions": conditions, "version_required": card.version_required,
                "records_per_day": card.records_per_day, "undo": card.undo})
        };
        let actions: Vec<Json> = cards.iter().map(one).collect();
        let identity = &self.peers.identity;
        let message = format!(
            "{} actions of {}; policy decides each request",
            actions.len(),
            identity.tenant
        );
        let lines: Vec<String> = cards.iter().map(line).collect();
        let text = format!("{message}\n{}", lines.join("\n"));
        let json = json!({"tenant": identity.tenant, "agent": identity.agent,
            "actions": actions, "message": message});
        Ok(Told::new(json, &text, false))
    }

    /// Asks; the decision comes along where there is one. The id of the request is always told, so
    /// that the same request can be repeated.
    async fn ask(&self, ask: Ask) -> (Option<pb::Decision>, Told) {
        let request_id = ask.request_id.unwrap_or_else(ids::new_id).to_string();
        let asked = self.decide(ask, &request_id).await;
        let (decision, told) = match asked {
            Ok(decision) => {
                let told = told::decision(&decision);
                (Some(decision), told)
            }
            Err(error) => (None, self.refused(&error)),
        };
        let id = Map::from_iter([("request_id".to_owned(), Json::from(request_id))]);
        (decision, told.and(id))
    }

    async fn decide(&self, ask: Ask, request_id: &str) -> Result<pb::Decision, AppError> {
        let card = self.card(&ask.action).await?;
        let mode = match ask.mode {
            Mode::DryRun => pb::Mode::DryRun,
            Mode::Execute => pb::Mode::Execute,
        };
        let args_json = Json::Object(ask.arguments).to_string();
        let call = pb::ActionCall {
            connection: card.connection,
            action: card.name,
            target: Some(pb::Target {
                r#type: card.target_type,
                id: ask.target_id,
            }),
            mode: mode.into(),
            precondition: ask.precondition,
            arguments: Some(pb::action_call::Arguments::ArgsJson(args_json)),
        };
        let request = pb::AuthorizeRequest {
            parent: self.peers.parent(),
            request_id: request_id.to_owned(),
            validate_only: false,
            call: Some(call.clone()),
            reason: ask.reason,
            evidence: Vec::new(),
            traceparent: String::new(),
        };
        let decision = self.peers.authorize(request).await?;
        self.keep(&decision, call)?;
        Ok(decision)
    }

    /// Keeps the writ of an ALLOW with the call it is for, as policyd made it canonical.
    fn keep(&self, decision: &pb::Decision, call: pb::ActionCall) -> Result<(), AppError> {
        let allowed = decision.verdict == i32::from(pb::Verdict::Allow);
        if !allowed || decision.token.is_empty() {
            return Ok(());
        }
        let arguments = pb::action_call::Arguments::ArgsCbor(decision.args_cbor.clone());
        let handle = Handle {
            call: pb::ActionCall {
                arguments: Some(arguments),
                ..call
            },
            token: Zeroizing::new(decision.token.clone()),
            expires: decision.expire_time.as_ref().map_or(0, |at| at.seconds),
        };
        let now = clock::now().timestamp();
        self.handles.put(by_id(decision)?, handle, now);
        Ok(())
    }

    /// A decision as policyd has it now; its writ is kept.
    async fn fetch(&self, id: Uuid) -> Result<pb::Decision, AppError> {
        let mut decision = self.peers.decision(id).await?;
        if let Some(call) = decision.call.take() {
            self.keep(&decision, call)?;
        }
        Ok(decision)
    }

    async fn look(&self, look: &Look) -> Result<Told, AppError> {
        let started = Instant::now();
        let wait = Duration::from_millis(look.wait_ms.min(WAIT_MS_MAX));
        // Room for the last answer, so that the whole call stays within its time.
        let wait = wait.min(CALL_MAX.saturating_sub(POLL_EVERY));
        let mut decision = self.fetch(look.decision_id).await?;
        let pending = i32::from(pb::DecisionState::Pending);
        while decision.state == pending {
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            sleep(POLL_EVERY.min(left)).await;
            let left = wait.saturating_sub(started.elapsed()).min(ANSWER_MAX);
            // If this look fails, what was read before still holds: it waits.
            if let Ok(Ok(newer)) = timeout(left, self.fetch(look.decision_id)).await {
                decision = newer;
            }
        }
        Ok(told::decision(&decision))
    }

    /// The writ of a decision: from the table, or from policyd while it lives.
    async fn handle(&self, id: Uuid) -> Result<Handle, AppError> {
        let kept = || self.handles.get(id, clock::now().timestamp());
        if let Some(handle) = kept() {
            return Ok(handle);
        }
        let decision = self.fetch(id).await?;
        if let Some(handle) = kept() {
            return Ok(handle);
        }
        let told = told::decision(&decision);
        let reason = match pb::Verdict::try_from(decision.verdict) {
            Ok(pb::Verdict::Allow) => Reason::TokenExpired,
            Ok(pb::Verdict::RequireApproval) => Reason::ApprovalRequired,
            Ok(pb::Verdict::Deny | pb::Verdict::Unspecified) | Err(_) => {
                Reason::from_code(&decision.reason_code).unwrap_or(Reason::NotPermitted)
            }
        };
        let message = told.json.get("message").and_then(Json::as_str);
        Err(AppError::new(reason, message.unwrap_or_default()))
    }

    /// Asks the hands whether anything halts a call, before anything is sent. They look again.
    async fn check_halts(&self, call: &pb::ActionCall) -> Result<(), AppError> {
        let state = self.peers.halts().await?;
        if !state.known {
            return Err(AppError::of(Reason::HaltUnknown));
        }
        let identity = &self.peers.identity;
        let scopes = [
            "global".to_owned(),
            format!("tenant:{}", identity.tenant),
            format!("connection:{}", call.connection),
            format!("action:{}", call.action),
            format!("agent:{}", identity.agent),
        ];
        match state.halts.iter().find(|halt| scopes.contains(&halt.scope)) {
            Some(halt) => Err(AppError::new(Reason::Halted, halt.scope.clone())),
            None => Ok(()),
        }
    }

    async fn preview(&self, handled: Handled) -> Result<Told, AppError> {
        let handle = self.handle(handled.decision_id).await?;
        self.check_halts(&handle.call).await?;
        let request = pb::PreviewRequest {
            parent: self.peers.parent(),
            token: handle.token.to_vec(),
            call: Some(handle.call),
        };
        let id = handled.decision_id.to_string();
        match self.peers.preview(request).await {
            Ok(preview) => Ok(told::preview(&id, &preview)),
            Err(error) => Ok(self.refused(&error).untrusted()),
        }
    }

    async fn execute(&self, id: Uuid) -> Result<Told, AppError> {
        let handle = self.handle(id).await?;
        self.check_halts(&handle.call).await?;
        let request = pb::ExecuteRequest {
            parent: self.peers.parent(),
            // One decision is one execution: repeated, it gives the stored outcome.
            request_id: id.to_string(),
            token: handle.token.to_vec(),
            call: Some(handle.call),
            run_id: self.run_id.clone(),
        };
        match self.peers.execute(request).await {
            Ok(answer) => {
                let execution = answer.execution.unwrap_or_default();
                Ok(told::execution(&execution, answer.replayed))
            }
            Err(error) => Ok(self.refused(&error).untrusted()),
        }
    }

    async fn undo(&self, undo: Undo) -> Result<Told, AppError> {
        let request = pb::UndoRequest {
            name: format!("{}/executions/{}", self.peers.parent(), undo.execution_id),
            reason: undo.reason,
            dry_run: undo.dry_run,
        };
        match self.peers.undo(request).await {
            Ok(item) => Ok(told::undone(&item, undo.dry_run)),
            Err(error) => Ok(self.refused(&error).untrusted()),
        }
    }

    /// The tool of a card: asks and executes in one call.
    async fn card_tool(&self, name: &str, arguments: JsonObject) -> Result<Told, NotOurs> {
        let unknown = || NotOurs(format!("there is no tool `{name}`"));
        if self.set != ToolSet::PerCard {
            return Err(unknown());
        }
        let card = match self.card(name).await {
            Ok(card) => card,
            Err(error) if error.reason == Reason::UnknownAction => return Err(unknown()),
            Err(error) => return Ok(self.refused(&error)),
        };
        if !catalog::has_card(self.set, &card) {
            return Err(unknown());
        }
        let asked: AskCard = take(arguments)?;
        let (decision, told) = self
            .ask(Ask {
                action: card.name,
                target_id: asked.target_id,
                arguments: asked.arguments,
                mode: asked.mode,
                reason: asked.reason,
                precondition: asked.precondition,
                request_id: asked.request_id,
            })
            .await;
        let executable = told.json.get("executable") == Some(&Json::Bool(true));
        let id = decision.filter(|_| executable).and_then(|d| by_id(&d).ok());
        let Some(id) = id else {
            return Ok(told);
        };
        let done = self.execute(id).await;
        let done = done.unwrap_or_else(|error| self.refused(&error));
        // The verdict stands beside the outcome; where both say something, it is the outcome's.
        let verdict = told.json.into_iter().filter(|(name, _)| {
            ["verdict", "decision_id", "request_id", "action"].contains(&name.as_str())
        });
        Ok(done.and(verdict.collect()))
    }
}

fn line(card: &pb::Action) -> String {
    let arguments: Vec<String> = card
        .arguments
        .iter()
        .map(|argument| {
            let allowed = argument.r#type.as_ref().map(|kind| kind.allowed.as_str());
            format!("{} ({})", argument.name, allowed.unwrap_or_default())
        })
        .collect();
    format!(
        "{} on {}: {} Arguments: {}. Rollout: {}.",
        card.name,
        card.target_type,
        card.sentence,
        arguments.join("; "),
        catalog::rollout(card.rollout)
    )
}
