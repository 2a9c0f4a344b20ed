//! Development certificates: one CA for both daemons, and an identity for each caller in a SPIFFE
//! URI. The same code issues them anew when they have expired.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use chrono::Datelike as _;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use writ_proto::ids::{AgentId, TenantId};
use writ_proto::{Caller, Reason};

use crate::cli::daemon::init::{TRUST_DOMAIN, failed};
use crate::error::AppError;
use crate::{clock, keys};

const AGENTS: [&str; 3] = ["acme/triage", "acme/seller", "globex/triage"];
const OPERATORS: [&str; 2] = ["acme/ops", "globex/ops"];
const DAYS: i64 = 365;
const CA_DAYS: i64 = 3_650;
const HOST: &str = "localhost";

/// Who gets a certificate, and how long it lasts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CertArgs {
    /// Agents, as TENANT/NAME.
    #[arg(long = "agent", default_values = AGENTS)]
    agents: Vec<String>,
    /// Operators, as TENANT/NAME.
    #[arg(long = "operator", default_values = OPERATORS)]
    operators: Vec<String>,
    /// Days until the certificates expire.
    #[arg(long, default_value_t = DAYS, allow_negative_numbers = true)]
    cert_days: i64,
}

impl Default for CertArgs {
    fn default() -> Self {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            agents: all(&AGENTS),
            operators: all(&OPERATORS),
            cert_days: DAYS,
        }
    }
}

/// One certificate to make: the name of its files, and who it names.
struct Identity {
    file: String,
    caller: Caller,
}

fn malformed(why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::RequestMalformed, why.to_string())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn broken(error: rcgen::Error) -> AppError {
    AppError::new(Reason::TlsInvalid, error.to_string())
}

fn service(file: &str, name: &str) -> Result<Identity, AppError> {
    let name = AgentId::parse(name).map_err(malformed)?;
    Ok(Identity {
        file: file.to_owned(),
        caller: Caller::Service { name },
    })
}

fn named(text: &str, kind: &str) -> Result<Identity, AppError> {
    let (tenant, name) = text
        .split_once('/')
        .ok_or_else(|| malformed(format!("`{text}` is not TENANT/NAME")))?;
    let tenant = TenantId::parse(tenant).map_err(malformed)?;
    let agent = AgentId::parse(name).map_err(malformed)?;
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    let file: String = name.chars().map(plain).collect();
    let file = format!("{kind}-{tenant}-{file}");
    let caller = if kind == "agent" {
        Caller::Agent { tenant, agent }
    } else {
        Caller::Operator {
            tenant,
            name: agent,
        }
    };
    Ok(Identity { file, caller })
}

impl CertArgs {
    fn identities(&self) -> Result<Vec<Identity>, AppError> {
        let mut all = vec![
            service("policyd", "policyd")?,
            service("connectord", "connectord/main")?,
        ];
        for agent in &self.agents {
            all.push(named(agent, "agent")?);
        }
        for operator in &self.operators {
            all.push(named(operator, "operator")?);
        }
        Ok(all)
    }

    /// Makes a CA if the folder has none, and everything it signs. Certificates that are there
    /// are replaced; the names of the new ones come back.
    pub(crate) fn issue(&self, dir: &Path) -> Result<Vec<String>, AppError> {
        let identities = self.identities()?;
        let issuer = authority(dir)?;
        let mut names = Vec::with_capacity(identities.len());
        for identity in identities {
            self.certificate(dir, &issuer, &identity)?;
            names.push(identity.file);
        }
        Ok(names)
    }

    fn certificate(
        &self,
        dir: &Path,
        issuer: &Issuer<'_, KeyPair>,
        identity: &Identity,
    ) -> Result<(), AppError> {
        let key = KeyPair::generate().map_err(broken)?;
        let mut params = base(&identity.file, self.cert_days);
        let text = |text: &str| Ia5String::try_from(text).map_err(broken);
        let uri = text(&identity.caller.spiffe(TRUST_DOMAIN))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if matches!(identity.caller, Caller::Service { .. }) {
            let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
            params.subject_alt_names.push(SanType::DnsName(text(HOST)?));
            params.subject_alt_names.push(SanType::IpAddress(loopback));
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = params.signed_by(&key, issuer).map_err(broken)?;
        let (cert_file, key_file) = files(dir, &identity.file);
        std::fs::write(&cert_file, certificate.pem()).map_err(|e| failed(&cert_file, e))?;
        match std::fs::remove_file(&key_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(&key_file, error));
            }
            _ => {}
        }
        secret(&key_file, key.serialize_pem().as_bytes())
    }
}

/// Certificate and key of an identity.
fn files(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    (
        dir.join(format!("certs/{name}.pem")),
        dir.join(format!("keys/{name}-tls.pem")),
    )
}

fn secret(path: &Path, bytes: &[u8]) -> Result<(), AppError> {
    keys::write_private(path, bytes).map_err(|error| AppError::new(error.reason, error.detail))
}

/// The CA of the folder, made on first use.
fn authority(dir: &Path) -> Result<Issuer<'static, KeyPair>, AppError> {
    let (cert_file, key_file) = (dir.join("certs/ca.pem"), dir.join("keys/ca.pem"));
    if key_file.exists() {
        let key = keys::read_private(&key_file)
            .map_err(|error| AppError::new(error.reason, error.detail))?;
        let key = KeyPair::from_pem(&key).map_err(broken)?;
        let pem = std::fs::read_to_string(&cert_file).map_err(|e| failed(&cert_file, e))?;
        return Issuer::from_ca_cert_pem(&pem, key).map_err(broken);
    }
    let key = KeyPair::generate().map_err(broken)?;
    let mut params = base("Writ development CA", CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(broken)?;
    std::fs::write(&cert_file, certificate.pem()).map_err(|e| failed(&cert_file, e))?;
    secret(&key_file, key.serialize_pem().as_bytes())?;
    Ok(Issuer::new(params, key))
}

fn base(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |days: i64| {
        let date = clock::now()
            .checked_add_signed(chrono::Duration::days(days))
            .unwrap_or_default();
        let part = |number: u32| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(date.year(), part(date.month()), part(date.day()))
    };
    // Yesterday, so that a clock that is a little behind accepts it.
    (params.not_before, params.not_after) = (day(days.min(0).saturating_sub(1)), day(days));
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::pem::parse_x509_pem;

    fn expiry(dir: &Path, name: &str) -> i64 {
        let text = std::fs::read(files(dir, name).0).unwrap();
        let (_, pem) = parse_x509_pem(&text).unwrap();
        pem.parse_x509().unwrap().validity().not_after.timestamp()
    }

    #[test]
    fn certificates_are_issued_anew_by_the_same_authority() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["certs", "keys"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let expired = CertArgs {
            cert_days: -1,
            ..CertArgs::default()
        };
        expired.issue(dir.path()).unwrap();
        let ca = std::fs::read(dir.path().join("certs/ca.pem")).unwrap();
        let now = clock::now().timestamp();
        assert!(expiry(dir.path(), "agent-acme-triage") < now);
        let fresh = CertArgs {
            agents: vec!["acme/triage".into(), "acme/new:one".into()],
            ..CertArgs::default()
        };
        let names = fresh.issue(dir.path()).unwrap();
        assert!(names.contains(&"agent-acme-new-one".to_owned()));
        assert!(expiry(dir.path(), "agent-acme-triage") > now);
        assert_eq!(ca, std::fs::read(dir.path().join("certs/ca.pem")).unwrap());
    }

    #[test]
    fn a_name_that_is_no_tenant_and_agent_is_refused() {
        for name in ["triage", "ACME/x", "acme/", "acme/a b"] {
            assert!(named(name, "agent").is_err(), "{name}");
        }
    }
}
