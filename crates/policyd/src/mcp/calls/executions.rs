//! Doing what was allowed: preview, execution, undo, each after a look at the halts.

use rmcp::model::JsonObject;
use serde_json::Value as Json;
use uuid::Uuid;
use writ_proto::{Reason, pb};

use crate::error::AppError;
use crate::mcp::calls::answer;
use crate::mcp::calls::answer::Told;
use crate::mcp::calls::decisions::by_id;
use crate::mcp::calls::writs::Handle;
use crate::mcp::calls::{NotOurs, Tools, take};
use crate::mcp::tools;
use crate::mcp::tools::ToolSet;
use crate::mcp::tools::arguments::{Ask, AskCard, Handled, Undo};

impl Tools {
    /// Asks the hands whether anything halts a call, before anything is sent. They look again.
    async fn check_halts(&self, call: &pb::ActionCall, run: &str) -> Result<(), AppError> {
        let ask = pb::GetHaltStateRequest {
            connection: call.connection.clone(),
            action: call.action.clone(),
            run_id: run.to_owned(),
            customer: String::new(),
        };
        let state = self.peers.halts(ask).await?;
        if !state.known {
            return Err(AppError::of(Reason::HaltUnknown));
        }
        if state.halted {
            let by = state.by.unwrap_or_default();
            return Err(AppError::new(Reason::Halted, by.scope));
        }
        Ok(())
    }

    pub(crate) async fn preview(&self, handled: Handled) -> Result<Told, AppError> {
        let handle = self.handle(handled.decision_id).await?;
        self.check_halts(&handle.call, &handle.run).await?;
        let request = pb::PreviewRequest {
            parent: self.peers.parent(),
            token: handle.token.to_vec(),
            call: Some(handle.call),
            run_id: handle.run,
        };
        let id = handled.decision_id.to_string();
        match self.peers.preview(request).await {
            Ok(preview) => Ok(answer::preview(&id, &preview)),
            Err(error) => Ok(self.refused(&error).untrusted()),
        }
    }

    pub(crate) async fn execute(&self, id: Uuid) -> Result<Told, AppError> {
        let handle = self.handle(id).await?;
        let card = self.card(&handle.call.action).await?;
        if tools::reads(&card) {
            return self.read(id, handle).await;
        }
        self.check_halts(&handle.call, &handle.run).await?;
        let request = pb::ExecuteRequest {
            parent: self.peers.parent(),
            // One decision is one execution: repeated, it gives the stored outcome.
            request_id: id.to_string(),
            token: handle.token.to_vec(),
            call: Some(handle.call),
            run_id: handle.run,
        };
        match self.peers.execute(request).await {
            Ok(answer) => {
                let execution = answer.execution.unwrap_or_default();
                Ok(answer::execution(&execution, answer.replayed))
            }
            Err(error) => Ok(self.refused(&error).untrusted()),
        }
    }

    /// A reading: halts do not stop it, and it is spent even if the answer is lost.
    async fn read(&self, id: Uuid, handle: Handle) -> Result<Told, AppError> {
        let request = pb::ReadRequest {
            parent: self.peers.parent(),
            request_id: id.to_string(),
            token: handle.token.to_vec(),
            call: Some(handle.call),
            run_id: handle.run,
        };
        match self.peers.read(request).await {
            Ok(reading) => Ok(answer::reading(&id.to_string(), &reading)),
            Err(error) => Ok(self.refused(&error).untrusted()),
        }
    }

    pub(crate) async fn undo(&self, undo: Undo) -> Result<Told, AppError> {
        // Of what action it was only connectord knows; it looks at that scope itself.
        self.check_halts(&pb::ActionCall::default(), &self.run_id)
            .await?;
        let request = pb::UndoRequest {
            name: format!("{}/executions/{}", self.peers.parent(), undo.execution_id),
            reason: undo.reason,
            dry_run: undo.dry_run,
            unsigned: false,
            request_id: String::new(),
        };
        match self.peers.undo(request).await {
            Ok(item) => Ok(answer::undone(&item, undo.dry_run)),
            Err(error) => Ok(self.refused(&error).untrusted()),
        }
    }

    /// The tool of a card: asks and executes in one call.
    pub(crate) async fn card_tool(
        &self,
        name: &str,
        arguments: JsonObject,
        trace: &str,
    ) -> Result<Told, NotOurs> {
        let unknown = || NotOurs(format!("there is no tool `{name}`"));
        if self.set != ToolSet::PerCard {
            return Err(unknown());
        }
        let card = match self.card(name).await {
            Ok(card) => card,
            Err(error) if error.reason == Reason::UnknownAction => return Err(unknown()),
            Err(error) => return Ok(self.refused(&error)),
        };
        if !tools::has_card(self.set, &card) {
            return Err(unknown());
        }
        let asked: AskCard = take(arguments)?;
        let ask = Ask {
            action: card.name,
            target_id: asked.target_id,
            arguments: asked.arguments,
            mode: asked.mode,
            reason: asked.reason,
            precondition: asked.precondition,
            request_id: asked.request_id,
            confidence: asked.confidence,
            uncertain: asked.uncertain,
            evidence: asked.evidence,
            again: asked.again,
        };
        let (decision, told) = self.ask(ask, trace).await;
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
