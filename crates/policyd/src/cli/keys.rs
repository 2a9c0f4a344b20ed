//! `policyd keys`: beside the key files, so that no network call can make a key.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};
use writ_proto::limits::{LEEWAY_SECONDS_MAX, TOKEN_TTL_SECONDS_MAX};

use super::Common;
use super::output::Output;
use crate::app::AppError;
use crate::{clock, keys};

/// Signing keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// What the trust document lists.
    Ls,
    /// Make a new key, sign with it after a restart, and keep the old one verifiable.
    Rotate {
        /// decision or checkpoint.
        #[arg(long = "use", default_value = "decision", value_parser = ["decision", "checkpoint"])]
        usage: String,
    },
}

fn failed(path: &Path, why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::KeyInvalid, format!("{}: {why}", path.display()))
}

pub(super) fn run(common: &Common, command: &KeysCommand, output: Output) -> Result<u8, AppError> {
    let config = common.read()?;
    let of_key = |error: keys::KeyError| AppError::new(error.reason, error.detail);
    let trust = keys::load(&config.trust.key_file).map_err(of_key)?;
    let path = &config.trust.keys_file;
    let text = std::fs::read_to_string(path).map_err(|error| failed(path, error))?;
    let set = KeySet::parse_document(&text, &trust.verifying_key())
        .map_err(|error| AppError::new(Reason::TrustInvalid, error.to_string()))?;
    match command {
        KeysCommand::Ls => {
            for entry in set.entries() {
                let (kid, usage, status) = (
                    hex::encode(entry.kid),
                    entry.usage.name(),
                    entry.status.name(),
                );
                let value =
                    json!({"kid": kid, "use": usage, "status": status, "issuer": entry.issuer});
                output.line(&format!("{kid}  {usage:<10}  {status}"), &value);
            }
        }
        KeysCommand::Rotate { usage } => {
            let decides = usage == "decision";
            let (file, usage) = if decides {
                (&config.token.key_file, KeyUse::Decision)
            } else {
                (&config.records.checkpoint_key_file, KeyUse::Checkpoint)
            };
            let fresh: PathBuf = file.with_extension("next.pem");
            let key = keys::create(&fresh).map_err(of_key)?;
            let document = rotated(&set, usage, &key.verifying_key(), &config.token.issuer)?;
            // The document goes first: a verifier may know a key that signs nothing yet, never the
            // other way round.
            let staged = path.with_extension("json.new");
            std::fs::write(&staged, document.sign_document(&trust))
                .and_then(|()| std::fs::rename(&staged, path))
                .map_err(|error| failed(path, error))?;
            std::fs::rename(&fresh, file).map_err(|error| failed(file, error))?;
            let kid = hex::encode(writ_proto::cose::kid_of(&key.verifying_key()));
            let text = format!("{kid} signs {} after policyd is restarted", usage.name());
            output.line(
                &text,
                &json!({"kid": kid, "use": usage.name(), "version": document.version}),
            );
        }
    }
    Ok(0)
}

/// The set with a new active key; the old one of that use retires once nothing it signed lives.
fn rotated(
    set: &KeySet,
    usage: KeyUse,
    key: &ed25519_dalek::VerifyingKey,
    issuer: &str,
) -> Result<KeySet, AppError> {
    let overlap = i64::from(TOKEN_TTL_SECONDS_MAX.saturating_add(LEEWAY_SECONDS_MAX));
    let last = clock::now()
        .timestamp()
        .saturating_add(overlap)
        .saturating_add(3_600);
    let mut entries: Vec<KeyEntry> = set.entries().to_vec();
    for entry in entries.iter_mut().filter(|entry| entry.usage == usage) {
        if entry.status == KeyStatus::Active {
            entry.status = KeyStatus::Retiring;
            entry.not_after = (usage == KeyUse::Decision).then_some(last);
        }
    }
    entries.push(KeyEntry::new(*key, issuer, usage));
    KeySet::new(set.version.saturating_add(1), entries)
        .map_err(|error| AppError::new(Reason::TrustInvalid, error.to_string()))
}
