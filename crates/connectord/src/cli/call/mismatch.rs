//! Which part of a call is not the one that was signed. The writ holds only the hash of it; policyd knows the rest, and
//! tells the agent whose decision it is.

use std::time::Duration;

use writ_proto::host::cli::client_files::{address_beside, word_of};
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;
use writ_proto::token::UnverifiedToken;
use writ_proto::value::{Map, args_from_cbor, args_from_json};
use writ_proto::{Reason, pb};

use crate::cli::remote::{Remote, config};
use crate::error::AppError;

const POLICYD: &str = "https://127.0.0.1:7350";
/// What is only told better is not waited for long.
const PATIENCE: Duration = Duration::from_secs(3);

/// A refusal, with what was signed and what was sent where policyd can say so.
pub(super) async fn named(
    remote: &Remote,
    (token, sent): (&[u8], Option<&pb::ActionCall>),
    refused: AppError,
) -> AppError {
    if refused.reason == Reason::TokenPopFailed {
        return whose(remote, token, refused);
    }
    // Every other mismatch is named by connectord itself.
    let unnamed = refused.reason == Reason::TokenArgsMismatch;
    let Some(sent) = sent.filter(|_| unnamed) else {
        return refused;
    };
    let found = tokio::time::timeout(PATIENCE, signed(remote, token)).await;
    let Some(what) = found.ok().flatten().and_then(|call| differs(&call, sent)) else {
        return refused;
    };
    AppError {
        public: format!("{}. {what}", refused.public),
        ..refused
    }
}

/// Whose a writ is, to somebody who holds it: connectord tells only its own agent.
fn whose(remote: &Remote, token: &[u8], refused: AppError) -> AppError {
    let Ok((claims, _)) = UnverifiedToken::new(token).inspect_unverified() else {
        return refused;
    };
    let Ok(cert) = remote.cert() else {
        return refused;
    };
    let shown = cert.display();
    let (agent, tenant) = (&claims.agent, &claims.tenant);
    let own = (word_of(&cert, "/agent/"), word_of(&cert, "/tenant/"));
    let public = match own {
        (Some(own), Some(of)) if own == *agent && of == *tenant => format!(
            "the writ is of agent {agent} of {tenant}, as {shown} is, but of another certificate; it may have been renewed since"
        ),
        (Some(own), Some(of)) => {
            format!("the writ is of agent {agent} of {tenant}, and {shown} is agent {own} of {of}")
        }
        _ => format!("the writ is of agent {agent} of {tenant}, and {shown} is no agent"),
    };
    AppError { public, ..refused }
}

/// The call that a writ is for, as policyd keeps it.
async fn signed(remote: &Remote, token: &[u8]) -> Option<pb::ActionCall> {
    let (claims, _) = UnverifiedToken::new(token).inspect_unverified().ok()?;
    let beside = config().with_file_name("policyd.toml");
    let addr = address_beside(&beside).ok()?;
    let addr = addr.unwrap_or_else(|| POLICYD.to_owned());
    let channel = remote.channel_to((&addr, "policyd")).await.ok()?;
    let name = format!("tenants/{}/decisions/{}", claims.tenant, claims.decision_id);
    let request = pb::GetDecisionRequest { name };
    let found = AuthorizationServiceClient::new(channel)
        .get_decision(request)
        .await;
    found.ok()?.into_inner().decision?.call
}

fn arguments(call: &pb::ActionCall) -> Option<Map> {
    use pb::action_call::Arguments;
    match call.arguments.as_ref()? {
        Arguments::ArgsCbor(bytes) => args_from_cbor(bytes).ok(),
        Arguments::ArgsJson(text) => args_from_json(text).ok(),
    }
}

/// The first part that differs.
fn differs(signed: &pb::ActionCall, sent: &pb::ActionCall) -> Option<String> {
    let target = |call: &pb::ActionCall| {
        let target = call.target.clone().unwrap_or_default();
        format!("{}/{}", target.r#type, target.id)
    };
    let mode = |call: &pb::ActionCall| {
        let dry = call.mode == i32::from(pb::Mode::DryRun);
        if dry { "a dry run" } else { "a write" }.to_owned()
    };
    let version = |call: &pb::ActionCall| call.precondition.clone().unwrap_or("nothing".into());
    let parts = [
        ("action", signed.action.clone(), sent.action.clone()),
        (
            "connection",
            signed.connection.clone(),
            sent.connection.clone(),
        ),
        ("target", target(signed), target(sent)),
        ("mode", mode(signed), mode(sent)),
        ("precondition", version(signed), version(sent)),
    ];
    let other = parts.into_iter().find(|(_, one, two)| one != two);
    if let Some((part, one, two)) = other {
        return Some(format!("{part}: signed {one}, got {two}"));
    }
    writ_proto::digest::difference::first(&arguments(signed)?, &arguments(sent)?)
}

#[cfg(test)]
mod tests;
