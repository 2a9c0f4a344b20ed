//! Who calls: one SPIFFE URI in the client certificate that the TLS layer has verified.

use std::sync::Arc;
use std::time::Duration;

use tonic::Request;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use writ_proto::caller::CallRates;
use writ_proto::digest::sha256;
use writ_proto::host::cli::client_files::uri_of;
use writ_proto::host::serve::connections::{Guest, Reads};
use writ_proto::host::serve::rate::Quota;
use writ_proto::ids::{AgentId, TenantId};
use writ_proto::{Caller, Reason};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::clock;
use crate::error::AppError;

/// An authenticated peer and the digest of its certificate.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Who.
    pub caller: Caller,
    /// SHA-256 of the certificate (DER).
    pub cert_sha256: [u8; 32],
}

/// Reads callers of one trust domain.
#[derive(Debug, Clone)]
pub struct Authn {
    trust_domain: String,
}

fn refuse(why: &str) -> AppError {
    AppError::new(Reason::Unauthenticated, why)
}

/// What somebody else may do, and who asked.
pub(crate) fn not_for(caller: &Caller, reason: Reason) -> AppError {
    let message = format!("{}; you are {}", reason.sentence(), caller.described());
    AppError::new(reason, message)
}

impl Authn {
    /// For a trust domain.
    #[must_use]
    pub fn new(trust_domain: &str) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
        }
    }

    /// What the door of the server knows of a caller by its certificate.
    #[must_use]
    pub fn reads(&self, rates: CallRates) -> Reads {
        let own = self.clone();
        Arc::new(move |der| {
            let caller = own.read(der).ok()?.caller;
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            let ends = certificate.validity().not_after.timestamp();
            let left = ends.saturating_sub(clock::now().timestamp());
            Some(Guest {
                shares: caller.connection_shares(),
                quotas: caller
                    .call_rates(&rates)
                    .into_iter()
                    .map(|(name, per_second)| (name, Quota::of(per_second)))
                    .collect(),
                valid: Duration::from_secs(u64::try_from(left).unwrap_or(0)),
            })
        })
    }

    /// Checks that our own certificate names policyd in this trust domain, and nobody else.
    ///
    /// # Errors
    /// `TLS_INVALID`, with both.
    pub fn check_own(&self, cert: &std::path::Path, service: &str) -> Result<(), AppError> {
        let named = uri_of(cert).unwrap_or_default();
        let own = format!("spiffe://{}/service/{service}", self.trust_domain);
        if named == own {
            return Ok(());
        }
        let message = format!(
            "tls.cert {} is of `{named}`, and tls.trust_domain wants `{own}`",
            cert.display()
        );
        Err(AppError::new(Reason::TlsInvalid, message))
    }

    /// The peer of a request.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a certificate, or with one that does not name exactly one caller.
    pub fn peer<T>(&self, request: &Request<T>) -> Result<Peer, AppError> {
        let certificates = request
            .peer_certs()
            .ok_or_else(|| refuse("no client certificate"))?;
        let leaf = certificates
            .first()
            .ok_or_else(|| refuse("no client certificate"))?;
        self.read(leaf.as_ref())
    }

    /// The agent of a request of any protocol, from what the connection left with it.
    ///
    /// # Errors
    /// As `agent`.
    pub fn agent_of(
        &self,
        extensions: &tonic::codegen::http::Extensions,
    ) -> Result<(TenantId, AgentId, [u8; 32]), AppError> {
        let met = extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates = met.and_then(TlsConnectInfo::peer_certs);
        let certificates = certificates.ok_or_else(|| refuse("no client certificate"))?;
        let leaf = certificates.first();
        let peer = self.read(leaf.ok_or_else(|| refuse("no client certificate"))?)?;
        match peer.caller {
            Caller::Agent { tenant, agent } => Ok((tenant, agent, peer.cert_sha256)),
            other @ (Caller::Operator { .. } | Caller::Service { .. }) => {
                Err(not_for(&other, Reason::AgentRequired))
            }
        }
    }

    fn read(&self, der: &[u8]) -> Result<Peer, AppError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| refuse("an unreadable certificate"))?;
        let names = certificate
            .subject_alternative_name()
            .ok()
            .flatten()
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let uris: Vec<&str> = names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        let [uri] = uris.as_slice() else {
            return Err(refuse("the certificate does not name exactly one caller"));
        };
        let caller = Caller::from_spiffe(uri, &self.trust_domain)
            .map_err(|error| refuse(&error.to_string()))?;
        Ok(Peer {
            caller,
            cert_sha256: sha256(der),
        })
    }

    /// The agent of a request.
    ///
    /// # Errors
    /// `AGENT_REQUIRED` for anybody else.
    pub fn agent<T>(
        &self,
        request: &Request<T>,
    ) -> Result<(TenantId, AgentId, [u8; 32]), AppError> {
        let peer = self.peer(request)?;
        match peer.caller {
            Caller::Agent { tenant, agent } => Ok((tenant, agent, peer.cert_sha256)),
            other @ (Caller::Operator { .. } | Caller::Service { .. }) => {
                Err(not_for(&other, Reason::AgentRequired))
            }
        }
    }

    /// The tenant of an operator.
    ///
    /// # Errors
    /// `OPERATOR_REQUIRED` for anybody else.
    pub fn operator<T>(&self, request: &Request<T>) -> Result<TenantId, AppError> {
        match self.peer(request)?.caller {
            Caller::Operator { tenant, .. } => Ok(tenant),
            other @ (Caller::Agent { .. } | Caller::Service { .. }) => {
                Err(not_for(&other, Reason::OperatorRequired))
            }
        }
    }

    /// The operator of a request, as `tenant/name`.
    ///
    /// # Errors
    /// `OPERATOR_REQUIRED` for anybody else.
    pub fn operator_name<T>(&self, request: &Request<T>) -> Result<String, AppError> {
        match self.peer(request)?.caller {
            Caller::Operator { tenant, name } => Ok(format!("{tenant}/{name}")),
            other @ (Caller::Agent { .. } | Caller::Service { .. }) => {
                Err(not_for(&other, Reason::OperatorRequired))
            }
        }
    }

    /// Checks that one of our connectords calls.
    ///
    /// # Errors
    /// `SERVICE_REQUIRED` for anybody else.
    pub fn connectord<T>(&self, request: &Request<T>) -> Result<(), AppError> {
        match self.peer(request)?.caller {
            Caller::Service { name } if name.as_str().starts_with("connectord/") => Ok(()),
            other => Err(not_for(&other, Reason::ServiceRequired)),
        }
    }
}

/// The tenant in a resource name, which must be the caller's own.
///
/// # Errors
/// `NOT_FOUND` for every other tenant, whether it exists or not.
pub fn own_tenant(parent: &str, own: &TenantId) -> Result<(), AppError> {
    let named = parent.strip_prefix("tenants/");
    if named == Some(own.as_str()) {
        Ok(())
    } else {
        Err(AppError::of(Reason::NotFound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        let name = |uri: &&str| rcgen::SanType::URI((*uri).try_into().unwrap());
        params.subject_alt_names = uris.iter().map(name).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_names_exactly_one_caller() {
        let authn = Authn::new("writ.localhost");
        let (own, other) = (
            "spiffe://writ.localhost/tenant/acme/agent/triage",
            "spiffe://writ.localhost/tenant/acme/operator/ops",
        );
        let read = |uris: &[&str]| authn.read(&certificate(uris)).is_ok();
        assert!(read(&[own]));
        for uris in [
            &[][..],
            &[own, other],
            &[own, own],
            &["spiffe://evil/tenant/acme/agent/x"],
        ] {
            assert!(!read(uris), "{uris:?}");
        }
    }

    #[test]
    fn a_resource_of_another_tenant_is_not_found() {
        let own = TenantId::parse("acme").unwrap();
        assert!(own_tenant("tenants/acme", &own).is_ok());
        for parent in ["tenants/globex", "tenants/", "acme", "tenants/acme/x", ""] {
            assert!(own_tenant(parent, &own).is_err(), "{parent}");
        }
    }
}
