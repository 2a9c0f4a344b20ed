//! `policyd keys`: beside the key files, so that no network call can make a key.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use ed25519_dalek::SigningKey;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};
use writ_proto::limits::{LEEWAY_SECONDS_MAX, TOKEN_TTL_SECONDS_MAX};

use crate::app::policies;
use crate::cli::Common;
use crate::config::Config;
use crate::domain::log::checkpoint::vkey;
use crate::error::AppError;
use crate::marks::MarkFile;
use crate::output::Output;
use crate::{clock, keys};

/// Signing keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// What the trust document lists.
    Ls,
    /// Revoke a key: from then on nothing that it signed is believed.
    Revoke {
        /// Id of the key, as `keys ls` shows it.
        kid: String,
    },
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

pub(crate) fn run(common: &Common, command: &KeysCommand, output: Output) -> Result<u8, AppError> {
    let config = common.read()?;
    let of_key = |error: keys::KeyError| AppError::new(error.reason, error.detail);
    let trust = keys::load(&config.trust.key_file).map_err(of_key)?;
    let path = &config.trust.keys_file;
    let changes = !matches!(command, KeysCommand::Ls);
    let lock = changes.then(|| keys::lock(path)).transpose();
    let _lock = lock.map_err(of_key)?;
    let text = std::fs::read_to_string(path).map_err(|error| failed(path, error))?;
    let set = KeySet::parse_document(&text, &trust.verifying_key())
        .map_err(|error| AppError::new(Reason::TrustInvalid, error.to_string()))?;
    if changes {
        MarkFile::open(&config)?.trust(&set)?;
    }
    match command {
        KeysCommand::Ls => {
            for entry in set.entries() {
                let (kid, usage, status) = (
                    hex::encode(entry.kid),
                    entry.usage.name(),
                    entry.status.name(),
                );
                let logs = vkeys(&config, entry);
                let value = json!({"kid": kid, "use": usage, "status": status, "issuer": entry.issuer, "vkeys": logs});
                let mut text = format!("{kid}  {usage:<10}  {status}");
                for vkey in &logs {
                    text.push_str(&format!("\n  {vkey}"));
                }
                output.line(&text, &value);
            }
        }
        KeysCommand::Revoke { kid } => {
            let document = revoked(&set, kid)?;
            publish(path, &document, &trust)?;
            MarkFile::open(&config)?.trust(&document)?;
            let text = format!(
                "{kid} is revoked: connectord believes nothing of it from the next look at the trust document on"
            );
            output.line(
                &text,
                &json!({"kid": kid, "status": "revoked", "version": document.version}),
            );
        }
        KeysCommand::Rotate { usage } => {
            let decides = usage == "decision";
            let (file, usage) = if decides {
                (&config.token.key_file, KeyUse::Decision)
            } else {
                (&config.records.checkpoint_key_file, KeyUse::Checkpoint)
            };
            let fresh: PathBuf = keys::next_of(file);
            if keys::finish_rotation(file, &set, usage).map_err(of_key)? {
                let text = "an earlier rotation that was cut off is finished: restart policyd";
                output.line(text, &json!({"finished": true, "use": usage.name()}));
                return Ok(0);
            }
            let key = keys::create(&fresh).map_err(of_key)?;
            let document = rotated(&set, usage, &key.verifying_key(), &config.token.issuer)?;
            // The document goes first: a verifier may know a key that signs nothing yet, never the
            // other way round.
            publish(path, &document, &trust)?;
            MarkFile::open(&config)?.trust(&document)?;
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

/// Replaces the trust document in one step.
fn publish(path: &Path, document: &KeySet, trust: &SigningKey) -> Result<(), AppError> {
    let staged = path.with_extension("json.new");
    std::fs::write(&staged, document.sign_document(trust))
        .and_then(|()| std::fs::rename(&staged, path))
        .map_err(|error| failed(path, error))
}

/// A checkpoint key as foreign verifiers take it, for the log of each tenant that has policies.
fn vkeys(config: &Config, entry: &KeyEntry) -> Vec<String> {
    if entry.usage != KeyUse::Checkpoint {
        return Vec::new();
    }
    let tenants = policies::tenant_names(&config.policy.dir).into_iter();
    let origin = |tenant: String| format!("{}/log/{tenant}", config.records.log);
    tenants
        .map(|tenant| vkey(&origin(tenant), &entry.key))
        .collect()
}

/// The set with a key revoked. One that signs now must have a successor first.
fn revoked(set: &KeySet, kid: &str) -> Result<KeySet, AppError> {
    let mut entries: Vec<KeyEntry> = set.entries().to_vec();
    let found = entries
        .iter_mut()
        .find(|entry| hex::encode(entry.kid) == *kid);
    let Some(entry) = found else {
        let message = format!("no key has the id {kid}; list them: policyd keys ls");
        return Err(AppError::new(Reason::NotFound, message));
    };
    if entry.usage == KeyUse::Trust {
        let message = "the trust key signs this document; it is replaced by a new root_key in connectord.toml";
        return Err(AppError::new(Reason::RequestMalformed, message));
    }
    if entry.status == KeyStatus::Active {
        let usage = entry.usage.name();
        let message = format!(
            "{kid} signs now: first policyd keys rotate --use {usage}, and restart policyd"
        );
        return Err(AppError::new(Reason::RequestMalformed, message));
    }
    entry.status = KeyStatus::Revoked;
    KeySet::new(set.version.saturating_add(1), entries)
        .map_err(|error| AppError::new(Reason::TrustInvalid, error.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn set(entries: Vec<KeyEntry>) -> KeySet {
        KeySet::new(1, entries).unwrap()
    }

    #[test]
    fn only_a_key_that_signs_no_more_is_revoked() {
        let entry = |seed: u8, usage| KeyEntry::new(key(seed).verifying_key(), "policyd", usage);
        let mut old = entry(1, KeyUse::Decision);
        old.status = KeyStatus::Retiring;
        let keys = set(vec![
            old,
            entry(2, KeyUse::Decision),
            entry(3, KeyUse::Trust),
        ]);
        let kid = |seed: u8| hex::encode(writ_proto::cose::kid_of(&key(seed).verifying_key()));
        let fresh = revoked(&keys, &kid(1)).unwrap();
        assert_eq!(fresh.version, 2);
        let first = fresh
            .entries()
            .iter()
            .find(|one| hex::encode(one.kid) == kid(1));
        assert_eq!(first.unwrap().status, KeyStatus::Revoked);
        for (seed, wanted) in [
            (2, "keys rotate --use decision"),
            (3, "root_key"),
            (9, "keys ls"),
        ] {
            let error = revoked(&keys, &kid(seed)).unwrap_err();
            assert!(error.public.contains(wanted), "{}", error.public);
        }
    }

    #[test]
    fn a_rotation_that_was_cut_off_is_finished_or_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token.pem");
        let old = keys::create(&file).unwrap();
        let next = keys::create(&keys::next_of(&file)).unwrap();
        let of = |key: &SigningKey| KeyEntry::new(key.verifying_key(), "policyd", KeyUse::Decision);
        let mut first = of(&old);
        let told = {
            first.status = KeyStatus::Retiring;
            set(vec![first, of(&next)])
        };
        assert!(keys::finish_rotation(&file, &told, KeyUse::Decision).unwrap());
        assert_eq!(keys::load(&file).unwrap().to_bytes(), next.to_bytes());
        assert!(!keys::finish_rotation(&file, &told, KeyUse::Decision).unwrap());
        // One that no document lists is removed, and rotation can be begun again.
        keys::create(&keys::next_of(&file)).unwrap();
        assert!(!keys::finish_rotation(&file, &told, KeyUse::Decision).unwrap());
        assert!(!keys::next_of(&file).exists());
        assert_eq!(keys::load(&file).unwrap().to_bytes(), next.to_bytes());
    }
}
