//! `policyd keys`: beside the key files, so that no network call can make a key.

use std::path::Path;
use std::time::Duration;

use clap::Subcommand;
use ed25519_dalek::SigningKey;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::duration::seconds_of;
use writ_proto::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse};

use crate::app::evidence::signer::rotations;
use crate::app::policies;
use crate::cli::Common;
use crate::config::Config;
use crate::domain::log::checkpoint::vkey;
use crate::error::AppError;
use crate::keys::Rotation;
use crate::marks::MarkFile;
use crate::output::Output;
use crate::{clock, keys};

/// Longest time between publishing a key and signing with it.
const AFTER_SECONDS_MAX: u32 = 3_600;
/// How long another key command is waited for at the end of a rotation.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(200);

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
    /// Make a new key, sign with it once it is known, and keep the old one verifiable.
    Rotate {
        /// decision or checkpoint.
        #[arg(long = "use", default_value = "decision", value_parser = ["decision", "checkpoint"])]
        usage: String,
        /// Time between publishing the new key and signing with it, 1h at most. On one machine 5s is enough; elsewhere
        /// allow the time in which you copy the trust document there.
        #[arg(long, default_value = "5s")]
        after: String,
    },
}

fn failed(path: &Path, why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::KeyInvalid, format!("{}: {why}", path.display()))
}

pub(crate) fn run(common: &Common, command: &KeysCommand, output: Output) -> Result<u8, AppError> {
    let config = common.read()?;
    let trust = keys::load(&config.trust.key_file).map_err(of_key)?;
    match command {
        KeysCommand::Ls => {
            let set = read(&config, &trust)?;
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
            revoke((&config, &trust), kid, output)?;
        }
        KeysCommand::Rotate { usage, after } => {
            let wait = seconds_of(after)
                .ok()
                .filter(|wait| *wait <= AFTER_SECONDS_MAX);
            let wait_seconds = wait.ok_or_else(|| {
                let message = "--after is a time of 1h at most, such as 5s";
                AppError::new(Reason::RequestMalformed, message)
            })?;
            let [decisions, checkpoints] = rotations(&config);
            let decides = usage == "decision";
            let wanted = Wanted {
                rotation: if decides { decisions } else { checkpoints },
                trust: &trust,
                wait_seconds,
            };
            rotate(&config, &wanted, output)?;
        }
    }
    Ok(0)
}

/// Lists a key as revoked, whether or not that can be written down.
fn revoke(
    (config, trust): (&Config, &SigningKey),
    kid: &str,
    output: Output,
) -> Result<(), AppError> {
    let path = &config.trust.keys_file;
    let _lock = keys::lock(path).map_err(of_key)?;
    // What cannot be looked up keeps no key good; an older document is refused.
    let set = match in_force(config, trust) {
        Err(error) if error.reason == Reason::StoreUnavailable => read(config, trust)?,
        known => known?,
    };
    let document = revoked(&set, kid)?;
    keys::publish(path, &document, trust).map_err(of_key)?;
    let remembered = MarkFile::open(config).and_then(|marks| marks.trust(&document));
    if let Err(error) = &remembered {
        tracing::warn!(
            "{kid} is revoked, but that could not be written down ({}): until a policyd has written it, an older trust \
             document that is put back would be taken",
            error.public
        );
    }
    let checkpoints = document
        .entries()
        .iter()
        .any(|entry| entry.usage == KeyUse::Checkpoint && hex::encode(entry.kid) == *kid);
    let text = if checkpoints {
        format!("{kid} is revoked: exports whose head it signed are proven no more")
    } else {
        format!(
            "{kid} is revoked: from its next look at the trust document on connectord believes nothing that it signed, \
             undo writs of earlier writes included (undo those with --unsigned)"
        )
    };
    output.line(
        &text,
        &json!({"kid": kid, "status": "revoked", "version": document.version, "remembered": remembered.is_ok()}),
    );
    Ok(())
}

/// What a rotation is asked to do.
struct Wanted<'a> {
    rotation: Rotation<'a>,
    trust: &'a SigningKey,
    wait_seconds: u32,
}

/// The next key is listed, then signs, then the one before it retires.
fn rotate(config: &Config, wanted: &Wanted<'_>, output: Output) -> Result<(), AppError> {
    let Wanted {
        rotation,
        trust,
        wait_seconds,
    } = wanted;
    let now = clock::now().timestamp();
    let due = now.saturating_add((*wait_seconds).into());
    let lock = keys::lock(rotation.document).map_err(of_key)?;
    let set = in_force(config, trust)?;
    if let Some(finished) = rotation.finish(&set, trust, now).map_err(of_key)? {
        MarkFile::open(config)?.trust(&finished)?;
        let text = "an earlier rotation that was cut off is finished; run the command again for another new key";
        let value =
            json!({"use": rotation.usage.name(), "version": finished.version, "finished": true});
        output.line(text, &value);
        return Ok(());
    }
    let next = keys::next_of(rotation.file);
    if next.exists() {
        let message = format!("another rotation waits for its moment ({})", next.display());
        return Err(AppError::new(Reason::Unavailable, message).with_fix(
            "wait for it; a running policyd finishes it, and so does this command later",
        ));
    }
    let listed = rotation.begin(&set, trust, due).map_err(of_key)?;
    MarkFile::open(config)?.trust(&listed)?;
    let kid = hex::encode(writ_proto::cose::kid_of(
        &keys::load(&next).map_err(of_key)?.verifying_key(),
    ));
    // Another key may have to be revoked meanwhile.
    drop(lock);
    output.note(&format!(
        "new key {kid} is published; policyd signs with it in {wait_seconds} s. Copy {} to connectords on other machines before \
         that, and again at the end",
        rotation.document.display()
    ));
    std::thread::sleep(Duration::from_secs((*wait_seconds).into()));
    let version = finish(config, wanted)?;
    let text = format!("policyd signs with {kid} from now on (a running policyd within 2 s)");
    let value =
        json!({"kid": kid, "use": rotation.usage.name(), "version": version, "finished": false});
    output.line(&text, &value);
    Ok(())
}

/// Finishes what this command began, unless a running policyd was faster.
fn finish(config: &Config, wanted: &Wanted<'_>) -> Result<u64, AppError> {
    let began = std::time::Instant::now();
    let _lock = loop {
        match keys::lock(wanted.rotation.document) {
            Ok(lock) => break lock,
            Err(error) if began.elapsed() > LOCK_WAIT => return Err(of_key(error)),
            Err(_) => std::thread::sleep(LOCK_PAUSE),
        }
    };
    let set = in_force(config, wanted.trust)?;
    let now = clock::now().timestamp();
    let done = wanted.rotation.finish(&set, wanted.trust, now);
    let document = done.map_err(of_key)?.unwrap_or(set);
    if keys::next_of(wanted.rotation.file).exists() {
        let message = "the clock went back, so the new key is not due yet";
        return Err(AppError::new(Reason::Unavailable, message)
            .with_fix("wait; a running policyd finishes the rotation when it is due"));
    }
    MarkFile::open(config)?.trust(&document)?;
    Ok(document.version)
}

/// The trust document as it lies there, if it is none of yesterday.
fn in_force(config: &Config, trust: &SigningKey) -> Result<KeySet, AppError> {
    let set = read(config, trust)?;
    MarkFile::open(config)?.trust(&set)?;
    Ok(set)
}

fn read(config: &Config, trust: &SigningKey) -> Result<KeySet, AppError> {
    let path = &config.trust.keys_file;
    let text = std::fs::read_to_string(path).map_err(|error| failed(path, error))?;
    KeySet::parse_document(&text, &trust.verifying_key())
        .map_err(|error| AppError::new(Reason::TrustInvalid, error.to_string()))
}

fn of_key(error: keys::KeyError) -> AppError {
    AppError::new(error.reason, error.detail)
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
        let message = format!("no key has the id `{kid}`");
        return Err(AppError::new(Reason::NotFound, message).with_fix("list them: policyd keys ls"));
    };
    if entry.usage == KeyUse::Trust {
        let message = "the trust key signs this document; it is replaced by a new root_key in connectord.toml";
        return Err(AppError::new(Reason::RequestMalformed, message));
    }
    if entry.status == KeyStatus::Active {
        let usage = entry.usage.name();
        let message = format!(
            "{kid} is still listed as active. Replace it first: policyd keys rotate --use {usage}; then revoke it"
        );
        return Err(AppError::new(Reason::RequestMalformed, message));
    }
    entry.status = KeyStatus::Revoked;
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
            let told = format!("{} {}", error.public, error.fix());
            assert!(told.contains(wanted), "{told}");
        }
    }
}
