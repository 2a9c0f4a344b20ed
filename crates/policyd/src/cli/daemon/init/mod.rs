//! `policyd init`: everything a first start needs, made on the spot. The CA is for development.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::keyset::{KeyEntry, KeySet, KeyUse};

use crate::cli::daemon::certs::CertArgs;
use crate::cli::daemon::sample;
use crate::error::AppError;
use crate::output::Output;
use crate::{ids, keys};

/// Trust domain of the development certificates.
pub(crate) const TRUST_DOMAIN: &str = "writ.localhost";
const ISSUER: &str = "https://policyd.localhost";
const PORT_BASE: u16 = 7350;

/// Where, and on which ports.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder; made if it is not there.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// First of the ports in the configuration; policyd, connectord and the sandbox CRM.
    #[arg(long, default_value_t = PORT_BASE, value_parser = clap::value_parser!(u16).range(1_024..=65_500))]
    port_base: u16,
    /// Issue the certificates of a folder anew, and nothing else.
    #[arg(long)]
    certs_only: bool,
    #[command(flatten)]
    certs: CertArgs,
}

impl InitArgs {
    /// For a folder and ports.
    pub(crate) fn new(dir: &Path, port_base: u16) -> Self {
        Self {
            dir: dir.to_owned(),
            port_base,
            certs_only: false,
            certs: CertArgs::default(),
        }
    }
}

pub(crate) fn failed(path: &Path, why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::ConfigInvalid, format!("{}: {why}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), AppError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    }
    if path.exists() {
        return Err(failed(
            path,
            "this file exists already, and init overwrites nothing; name a new folder: policyd init FOLDER",
        ));
    }
    std::fs::write(path, text).map_err(|error| failed(path, error))
}

fn secret(path: &Path, bytes: &[u8]) -> Result<(), AppError> {
    keys::write_private(path, bytes).map_err(|error| AppError::new(error.reason, error.detail))
}

pub(crate) fn run(args: &InitArgs, output: Output) -> Result<u8, AppError> {
    let dir = &args.dir;
    if args.certs_only {
        let names = args.certs.issue(dir)?;
        let text = format!("issued {} in {}/certs", names.join(", "), dir.display());
        output.line(&text, &json!({"dir": dir, "issued": names}));
        return Ok(0);
    }
    for folder in ["certs", "keys", "state/halt"] {
        let path = dir.join(folder);
        std::fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
    }
    for (name, text) in sample::FILES {
        write(&dir.join(name), text)?;
    }
    args.certs.issue(dir)?;
    let root = signing_keys(dir)?;
    let random = || ids::salt().ok_or_else(|| failed(dir, "the system gave no randomness"));
    secret(
        &dir.join("keys/seal.key"),
        hex::encode(random()?).as_bytes(),
    )?;
    secret(
        &dir.join("keys/sandbox.secret"),
        hex::encode(random()?).as_bytes(),
    )?;
    let hands = configuration(CONNECTORD_TOML, args.port_base).replace(NO_ROOT, &root);
    write(
        &dir.join("policyd.toml"),
        &configuration(POLICYD_TOML, args.port_base),
    )?;
    write(&dir.join("connectord.toml"), &hands)?;
    let port = |offset: u16| args.port_base.saturating_add(offset);
    let text = format!(
        "wrote {}: policyd.toml connectord.toml policies/ systems/ certs/ (development CA) keys/ (private keys and secrets, mode 0600; public.json has the public ones)\n\
         policyd on {}, connectord on {}, the halt page on {}, the sandbox CRM on {}\n\
         next: policyd dev {} starts all of them, or by hand: cd {} && connectord creds add crm/main --file keys/sandbox.secret",
        dir.display(),
        args.port_base,
        port(10),
        port(11),
        port(30),
        dir.display(),
        dir.display()
    );
    output.line(&text, &json!({"dir": dir, "root_key": root}));
    Ok(0)
}

fn signing_keys(dir: &Path) -> Result<String, AppError> {
    let make = |name: &str| {
        keys::create(&dir.join("keys").join(name))
            .map_err(|error| AppError::new(error.reason, error.detail))
    };
    let (token, checkpoint, trust) = (
        make("token.pem")?,
        make("checkpoint.pem")?,
        make("trust.pem")?,
    );
    let entry =
        |key: &ed25519_dalek::SigningKey, usage| KeyEntry::new(key.verifying_key(), ISSUER, usage);
    let entries = vec![
        entry(&token, KeyUse::Decision),
        entry(&checkpoint, KeyUse::Checkpoint),
        entry(&trust, KeyUse::Trust),
    ];
    let set = KeySet::new(1, entries)
        .map_err(|error| AppError::new(Reason::TrustInvalid, error.to_string()))?;
    write(&dir.join("keys/public.json"), &set.sign_document(&trust))?;
    Ok(hex::encode(trust.verifying_key().as_bytes()))
}

/// The example configurations, which the new ones are made of.
const POLICYD_TOML: &str = include_str!("../../../../../../deploy/policyd.example.toml");
const CONNECTORD_TOML: &str = include_str!("../../../../../../deploy/connectord.example.toml");
const NO_ROOT: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Ports of policyd, connectord, the halt page and the sandbox CRM, counted from the base.
pub(crate) const PORTS: [u16; 4] = [0, 10, 11, 30];

/// An example with the addresses of another port base.
fn configuration(example: &str, port_base: u16) -> String {
    PORTS.iter().fold(example.to_owned(), |text, offset| {
        let default = PORT_BASE.saturating_add(*offset);
        let port = port_base.saturating_add(*offset);
        text.replace(
            &format!("127.0.0.1:{default}"),
            &format!("127.0.0.1:{port}"),
        )
    })
}

#[cfg(test)]
mod tests;
