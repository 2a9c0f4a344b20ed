//! `policyd mcp doctor`: whether the bridge of an agent would work. It asks for nothing.

use serde_json::json;
use writ_proto::limits::TOOL_NAME_CHARS_MAX;
use writ_proto::{Reason, pb};

use crate::cli::daemon::mcp::BridgeArgs;
use crate::clock;
use crate::error::AppError;
use crate::mcp::Bridge;
use crate::mcp::ToolSet;
use crate::mcp::calls::peers::Peers;
use crate::output::Output;

const DAY_SECONDS: i64 = 86_400;
const EXPIRY_WARNING_DAYS: i64 = 30;

/// `ok`, or a warning or a failure with its reason.
type Finding = (&'static str, Option<Reason>, String);

fn found(result: Result<String, AppError>) -> Finding {
    match result {
        Ok(text) => ("ok", None, text),
        Err(error) => ("FAIL", Some(error.reason), error.public),
    }
}

/// What a daemon answered; of one that is away also where, and why.
fn heard(addr: &str, result: Result<String, AppError>) -> Finding {
    match result {
        Err(error) if error.reason == Reason::Unavailable => {
            let cause = Some(error.detail).filter(|detail| !detail.is_empty());
            let why = cause.unwrap_or(error.public);
            (
                "FAIL",
                Some(Reason::PeerUnreachable),
                format!("{addr}: {why}"),
            )
        }
        other => found(other),
    }
}

/// Examines; exit 5 if a daemon is away, 2 if anything else fails.
pub(crate) async fn run(args: &BridgeArgs, output: Output) -> u8 {
    let found_all = || Ok((args.peers()?, args.addresses()?));
    let (peers, [at_policyd, at_connectord]) = match found_all() {
        Ok(found) => found,
        Err(error) => {
            say(output, "certificate", &found(Err(error)));
            return 2;
        }
    };
    let findings = [
        ("certificate", certificate(&peers)),
        ("policyd", policyd(&peers, &at_policyd).await),
        ("connectord", halts(&peers, &at_connectord).await),
        ("tools", tools(&peers, (args.tools, &at_connectord)).await),
    ];
    let mut exit = 0;
    for (name, finding) in &findings {
        say(output, name, finding);
        if finding.0 == "FAIL" {
            let away = finding.1 == Some(Reason::PeerUnreachable);
            exit = exit.max(if away { 5 } else { 2 });
        }
    }
    exit
}

fn say(output: Output, name: &str, (word, reason, text): &Finding) {
    let tail = reason.map_or_else(String::new, |reason| {
        format!("  Fix: {}.  policyd explain {reason}", reason.fix())
    });
    let value = json!({"check": name, "result": word, "message": text,
        "reason": reason.map(Reason::code), "fix": reason.map(Reason::fix)});
    output.line(&format!("{word:<5} {name:<12} {text}{tail}"), &value);
}

fn certificate(peers: &Peers) -> Finding {
    let identity = &peers.identity;
    let left = identity.expires.saturating_sub(clock::now().timestamp());
    let days = left.div_euclid(DAY_SECONDS);
    let text = format!(
        "agent {} of tenant {}, {days} days left",
        identity.agent, identity.tenant
    );
    if days < EXPIRY_WARNING_DAYS {
        ("WARN", Some(Reason::ClientCertExpired), text)
    } else {
        ("ok", None, text)
    }
}

async fn policyd(peers: &Peers, addr: &str) -> Finding {
    let answer = peers.ping_policyd().await;
    heard(addr, answer.map(|()| format!("{addr} knows this agent")))
}

async fn halts(peers: &Peers, addr: &str) -> Finding {
    let state = match peers.halts(pb::GetHaltStateRequest::default()).await {
        Ok(state) => state,
        Err(error) => return heard(addr, Err(error)),
    };
    if !state.known {
        let text = format!("{addr} cannot read its halts");
        return ("WARN", Some(Reason::HaltUnknown), text);
    }
    let scopes: Vec<String> = state.halts.into_iter().map(|halt| halt.scope).collect();
    if scopes.is_empty() {
        return ("ok", None, format!("{addr} answers, nothing is halted"));
    }
    let text = format!("{addr} answers, halted: {}", scopes.join(", "));
    ("WARN", Some(Reason::Halted), text)
}

async fn tools(peers: &Peers, (kind, addr): (ToolSet, &str)) -> Finding {
    let bridge = Bridge::new(peers.clone(), kind);
    let (names, left) = match (bridge.tool_names().await, bridge.without_tool().await) {
        (Ok(names), Ok(left)) => (names, left),
        (Err(error), _) | (_, Err(error)) => return heard(addr, Err(error)),
    };
    let text = format!("{} tools: {}", names.len(), names.join(", "));
    if left.is_empty() {
        return ("ok", None, text);
    }
    let left = left.join(", ");
    let why = format!(
        "{text}; these cards get no tool of their own (name of a basic tool, or longer than {TOOL_NAME_CHARS_MAX} characters): {left}; \
         rename them, or call them through --tools generic"
    );
    ("WARN", Some(Reason::CardInvalid), why)
}
