//! Asking for decisions, reading them again, and keeping their writs from the model.

use std::time::Duration;

use serde_json::{Map, Value as Json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;
use writ_proto::token::UnverifiedToken;
use writ_proto::{Reason, pb};
use zeroize::Zeroizing;

use crate::error::AppError;
use crate::grpc::client::evidence;
use crate::mcp::calls::answer;
use crate::mcp::calls::answer::Told;
use crate::mcp::calls::peers::ANSWER_MAX;
use crate::mcp::calls::writs::Handle;
use crate::mcp::calls::{CALL_MAX, Tools};
use crate::mcp::tools::arguments::{Ask, Look, Mode};
use crate::mcp::tools::descriptions::WAIT_MS_MAX;
use crate::{clock, ids};

/// How often a decision that waits is looked at.
const POLL_EVERY: Duration = Duration::from_millis(500);

pub(crate) fn by_id(decision: &pb::Decision) -> Result<Uuid, AppError> {
    let id = decision.name.rsplit('/').next().unwrap_or_default();
    Uuid::parse_str(id).map_err(|_| AppError::new(Reason::Internal, "a decision without an id"))
}

impl Tools {
    /// Asks; the decision comes along where there is one. The id of the request is always told, so
    /// that the same request can be repeated.
    pub(crate) async fn ask(&self, ask: Ask, trace: &str) -> (Option<pb::Decision>, Told) {
        let request_id = ask.request_id.unwrap_or_else(ids::new_id).to_string();
        let asked = self.decide(ask, (&request_id, trace)).await;
        let (decision, told) = match asked {
            Ok(decision) => {
                let told = answer::decision(&decision);
                (Some(decision), told)
            }
            Err(error) => (None, self.refused(&error)),
        };
        let id = Map::from_iter([("request_id".to_owned(), Json::from(request_id))]);
        (decision, told.and(id))
    }

    pub(crate) async fn decide(
        &self,
        ask: Ask,
        (request_id, trace): (&str, &str),
    ) -> Result<pb::Decision, AppError> {
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
            evidence: evidence(&ask.evidence, &ask.uncertain)?,
            confidence_percent: ask.confidence,
            traceparent: trace.to_owned(),
            run_id: self.run_id.clone(),
            again: ask.again,
            provenance: Some(self.provenance.clone()),
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
        let claims = UnverifiedToken::new(&decision.token).inspect_unverified();
        let run = claims.ok().and_then(|(claims, _)| claims.run);
        let handle = Handle {
            run: run.unwrap_or_else(|| self.run_id.clone()),
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
    pub(crate) async fn fetch(&self, id: Uuid) -> Result<pb::Decision, AppError> {
        let mut decision = self.peers.decision(id).await?;
        if let Some(call) = decision.call.take() {
            self.keep(&decision, call)?;
        }
        Ok(decision)
    }

    pub(crate) async fn look(&self, look: &Look) -> Result<Told, AppError> {
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
        Ok(answer::decision(&decision))
    }

    /// The writ of a decision: from the table, or from policyd while it lives.
    pub(crate) async fn handle(&self, id: Uuid) -> Result<Handle, AppError> {
        let kept = || self.handles.get(id, clock::now().timestamp());
        if let Some(handle) = kept() {
            return Ok(handle);
        }
        let decision = self.fetch(id).await?;
        if let Some(handle) = kept() {
            return Ok(handle);
        }
        let told = answer::decision(&decision);
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
}
