//! `policyd init`: everything a first start needs, made on the spot. The CA is for development.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;
use writ_proto::Reason;
use writ_proto::keyset::{KeyEntry, KeySet, KeyUse};

use super::output::Output;
use super::sample;
use crate::app::AppError;
use crate::{clock, ids, keys};

/// Trust domain of the development certificates.
pub(super) const TRUST_DOMAIN: &str = "writ.localhost";
const ISSUER: &str = "https://policyd.localhost";
const DAYS: i64 = 365;

/// Where, and on which ports.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The folder; made if it is not there.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// First of the ports in the configuration; policyd, connectord and the sandbox CRM.
    #[arg(long, default_value_t = 7350)]
    port_base: u16,
}

impl InitArgs {
    /// For a folder and ports.
    pub(super) fn new(dir: &Path, port_base: u16) -> Self {
        Self {
            dir: dir.to_owned(),
            port_base,
        }
    }
}

/// Who gets a certificate: file name and SPIFFE path.
const IDENTITIES: [(&str, &str); 6] = [
    ("policyd", "service/policyd"),
    ("connectord", "service/connectord/main"),
    ("agent-acme-triage", "tenant/acme/agent/triage"),
    ("agent-acme-seller", "tenant/acme/agent/seller"),
    ("agent-globex-triage", "tenant/globex/agent/triage"),
    ("operator-acme-ops", "tenant/acme/operator/ops"),
];

fn failed(path: &Path, why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::ConfigInvalid, format!("{}: {why}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), AppError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    }
    if path.exists() {
        return Err(failed(path, "it is there already; init overwrites nothing"));
    }
    std::fs::write(path, text).map_err(|error| failed(path, error))
}

fn secret(path: &Path, bytes: &[u8]) -> Result<(), AppError> {
    keys::write_private(path, bytes).map_err(|error| AppError::new(error.reason, error.detail))
}

pub(super) fn run(args: &InitArgs, output: Output) -> Result<u8, AppError> {
    let dir = &args.dir;
    for folder in ["certs", "keys", "state/halt"] {
        let path = dir.join(folder);
        std::fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
    }
    for (name, text) in sample::FILES {
        write(&dir.join(name), text)?;
    }
    certificates(dir)?;
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
    let (policyd, connectord, sandbox) = (
        args.port_base,
        args.port_base.saturating_add(10),
        args.port_base.saturating_add(30),
    );
    write(
        &dir.join("policyd.toml"),
        &policyd_toml(policyd, connectord),
    )?;
    write(
        &dir.join("connectord.toml"),
        &connectord_toml(policyd, (connectord, sandbox), &root),
    )?;
    let text = format!(
        "wrote {}: policyd.toml connectord.toml policies/ systems/ certs/ (development CA) keys/ (ed25519 by use, mode 0600)\n\
         next: connectord creds add crm/main --file keys/sandbox.secret",
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

fn certificates(dir: &Path) -> Result<(), AppError> {
    let broken = |error: rcgen::Error| AppError::new(Reason::TlsInvalid, error.to_string());
    let ca_key = KeyPair::generate().map_err(broken)?;
    let mut params = base("Writ development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = params.self_signed(&ca_key).map_err(broken)?;
    write(&dir.join("certs/ca.pem"), &ca.pem())?;
    secret(&dir.join("keys/ca.pem"), ca_key.serialize_pem().as_bytes())?;
    let issuer = Issuer::new(params, ca_key);
    for (name, path) in IDENTITIES {
        let key = KeyPair::generate().map_err(broken)?;
        let mut params = base(name);
        let uri = format!("spiffe://{TRUST_DOMAIN}/{path}");
        let uri = rcgen::string::Ia5String::try_from(uri.as_str()).map_err(broken)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if path.starts_with("service/") {
            let host = rcgen::string::Ia5String::try_from("localhost").map_err(broken)?;
            params.subject_alt_names.push(SanType::DnsName(host));
            let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
            params.subject_alt_names.push(SanType::IpAddress(loopback));
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = params.signed_by(&key, &issuer).map_err(broken)?;
        write(&dir.join(format!("certs/{name}.pem")), &certificate.pem())?;
        let file = dir.join(format!("keys/{name}-tls.pem"));
        secret(&file, key.serialize_pem().as_bytes())?;
    }
    Ok(())
}

fn base(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |days: i64| {
        let date = clock::now()
            .checked_add_signed(chrono::Duration::days(days))
            .unwrap_or_default();
        use chrono::Datelike as _;
        let part = |number: u32| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(date.year(), part(date.month()), part(date.day()))
    };
    (params.not_before, params.not_after) = (day(-1), day(DAYS));
    params
}

fn policyd_toml(port: u16, connectord: u16) -> String {
    format!(
        r#"# policyd. Paths are relative to this file. Docs: docs/operations.md
[server]
grpc_addr = "127.0.0.1:{port}"

[tls]                                 # mTLS: who calls is read from the client certificate
ca = "certs/ca.pem"
cert = "certs/policyd.pem"
key_file = "keys/policyd-tls.pem"
trust_domain = "{TRUST_DOMAIN}"

[store]
url = "sqlite://policyd.db"

[policy]
dir = "policies"
watch = true

[token]
ttl_seconds = 60
audience = "connectord"
issuer = "{ISSUER}"
key_file = "keys/token.pem"           # mode 0600 or refuse to start; one key for each use

[records]
log = "policyd.localhost"
checkpoint_key_file = "keys/checkpoint.pem"

[trust]
keys_file = "keys/public.json"
key_file = "keys/trust.pem"

[connectord]                          # whose halts are followed
addr = "https://127.0.0.1:{connectord}"
"#
    )
}

fn connectord_toml(policyd: u16, (port, sandbox): (u16, u16), root: &str) -> String {
    format!(
        r#"# connectord. Paths are relative to this file. Docs: docs/operations.md
[server]
grpc_addr = "127.0.0.1:{port}"
audience = "connectord"

[tls]
ca = "certs/ca.pem"
cert = "certs/connectord.pem"
key_file = "keys/connectord-tls.pem"
trust_domain = "{TRUST_DOMAIN}"

[store]
url = "sqlite://connectord.db"

[trust]
keys_file = "keys/public.json"        # signed by the key below; an older one is refused
root_key = "{root}"

[halt]
dir = "state/halt"                    # touch state/halt/global stops every write

[cards]
dir = "policies"                      # connectord's own copy of policies/<tenant>/actions/*.toml

[systems]
dir = "systems"

[credentials]
file = "keys/credentials.json"        # sealed
key_file = "keys/seal.key"

[policyd]                             # where outcomes are reported
addr = "https://127.0.0.1:{policyd}"

[[connection]]
name = "crm/main"
system = "sandbox"                    # systems/sandbox.toml
base_url = "http://127.0.0.1:{sandbox}"
"#
    )
}
