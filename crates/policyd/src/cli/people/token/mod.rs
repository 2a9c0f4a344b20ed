//! `policyd token inspect` and `policyd canonicalize`.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::digest::{RequestParts, difference, request_hash, sha256};
use writ_proto::token::UnverifiedToken;
use writ_proto::value::{Map, args_from_cbor, args_from_json};

use crate::error::AppError;
use crate::output::Output;

/// Twice the largest arguments, since JSON text may be longer than their bytes.
const INPUT_BYTES_MAX: u64 = 128 * 1_024;

/// Tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// What a token says. Nothing of it is verified.
    Inspect {
        /// File, binary or base64url; - is standard input.
        file: PathBuf,
        /// Arguments to compare with the signed hash: canonical CBOR or JSON. Exit 13 on mismatch.
        #[arg(long)]
        args: Option<PathBuf>,
        /// The arguments that were authorized, to name what differs.
        #[arg(long)]
        signed_args: Option<PathBuf>,
        /// Version the agent relied on.
        #[arg(long)]
        precondition: Option<String>,
    },
}

/// A file, or standard input for `-`; never more than any token or arguments can be.
fn read(path: &Path) -> Result<Vec<u8>, AppError> {
    let failed = |why: &dyn core::fmt::Display| {
        AppError::new(
            Reason::RequestMalformed,
            format!("{}: {why}", path.display()),
        )
    };
    let mut source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| failed(&error))?)
    };
    let mut bytes = Vec::new();
    let most = source
        .by_ref()
        .take(INPUT_BYTES_MAX)
        .read_to_end(&mut bytes);
    match most {
        Ok(read) if u64::try_from(read).is_ok_and(|read| read < INPUT_BYTES_MAX) => Ok(bytes),
        Ok(_) => Err(failed(&"too large")),
        Err(error) => Err(failed(&error)),
    }
}

fn read_args(path: &Path) -> Result<Map, AppError> {
    let bytes = read(path)?;
    let map = match core::str::from_utf8(&bytes) {
        Ok(text) if text.trim_start().starts_with('{') => args_from_json(text),
        _ => args_from_cbor(&bytes),
    };
    map.map_err(|error| AppError::new(error.reason, error.to_string()))
}

pub(crate) fn run(command: &TokenCommand, output: Output) -> Result<u8, AppError> {
    let TokenCommand::Inspect {
        file,
        args,
        signed_args,
        precondition,
    } = command;
    let bytes = read(file)?;
    let text = core::str::from_utf8(&bytes).ok().map(str::trim);
    let bytes = text
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .unwrap_or(bytes);
    let (claims, kid) = UnverifiedToken::new(&bytes)
        .inspect_unverified()
        .map_err(|error| AppError::new(error.reason, error.detail))?;
    let target = claims
        .target
        .as_ref()
        .map(|(kind, id)| format!("{kind}/{id}"))
        .unwrap_or_default();
    let text = format!(
        "{} on {target} through {} by {}/{}  {}\n  cti {}  kid {}  decision {}\n  issued {}  expires {}  epoch {}",
        claims.action,
        claims.connection,
        claims.tenant,
        claims.agent,
        claims.mode.name(),
        claims.cti,
        hex::encode(kid),
        claims.decision_id,
        claims.iat,
        claims.exp,
        claims.epoch,
    );
    let value = json!({"action": claims.action, "target": target, "connection": claims.connection,
        "tenant": claims.tenant, "agent": claims.agent, "mode": claims.mode.name(),
        "cti": claims.cti.to_string(), "kid": hex::encode(kid), "decision": claims.decision_id.to_string(),
        "iat": claims.iat, "exp": claims.exp, "epoch": claims.epoch, "request_hash": hex::encode(claims.request_hash)});
    output.line(&text, &value);
    let Some(path) = args else { return Ok(0) };
    let got = read_args(path)?;
    let hash = request_hash(&RequestParts {
        tenant: &claims.tenant,
        connection: &claims.connection,
        action: &claims.action,
        target: claims
            .target
            .as_ref()
            .map(|(kind, id)| (kind.as_str(), id.as_str())),
        args_cbor: &got.encode(),
        precondition: precondition.as_deref(),
    });
    if hash == claims.request_hash {
        output.line(
            "MATCH the arguments are the signed ones",
            &json!({"match": true}),
        );
        return Ok(0);
    }
    let signed = signed_args.as_deref().map(read_args).transpose()?;
    let what = signed.and_then(|signed| difference::first(&signed, &got));
    let what = what.unwrap_or_else(|| "the request hash differs".to_owned());
    output.line(
        &format!("MISMATCH {what}"),
        &json!({"match": false, "difference": what}),
    );
    Ok(13)
}

pub(crate) fn canonicalize(file: &Path, output: Output) -> Result<u8, AppError> {
    let bytes = read_args(file)?.encode();
    let (cbor, digest) = (hex::encode(&bytes), hex::encode(sha256(&bytes)));
    output.line(
        &format!("{cbor}\nsha256 {digest}"),
        &json!({"args_cbor": cbor, "sha256": digest}),
    );
    Ok(0)
}

#[cfg(test)]
mod tests;
