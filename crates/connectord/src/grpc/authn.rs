//! Who calls: one SPIFFE URI in the client certificate that the TLS layer has verified.

use std::sync::Arc;
use std::time::Duration;

use tonic::Request;
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

    /// Checks that our own certificate names an instance of connectord in this trust domain, and nobody else.
    ///
    /// # Errors
    /// `TLS_INVALID`, with both.
    pub fn check_own(&self, cert: &std::path::Path, service: &str) -> Result<(), AppError> {
        let named = uri_of(cert).unwrap_or_default();
        let own = format!("spiffe://{}/service/{service}", self.trust_domain);
        // An instance has a name of its own: policyd takes reports of no other.
        if named
            .strip_prefix(own.as_str())
            .is_some_and(|rest| rest.starts_with('/'))
        {
            return Ok(());
        }
        let message = format!(
            "tls.cert {} is of `{named}`, and tls.trust_domain wants `{own}/NAME`",
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

    /// The tenant and name of an operator.
    ///
    /// # Errors
    /// `OPERATOR_REQUIRED` for anybody else.
    pub fn operator<T>(&self, request: &Request<T>) -> Result<(TenantId, AgentId), AppError> {
        match self.peer(request)?.caller {
            Caller::Operator { tenant, name } => Ok((tenant, name)),
            other @ (Caller::Agent { .. } | Caller::Service { .. }) => {
                Err(not_for(&other, Reason::OperatorRequired))
            }
        }
    }

    /// The tenant of an agent or operator.
    ///
    /// # Errors
    /// `NOT_FOUND` for services, which belong to no tenant.
    pub fn tenant<T>(&self, request: &Request<T>) -> Result<TenantId, AppError> {
        let peer = self.peer(request)?;
        peer.caller
            .tenant()
            .cloned()
            .ok_or_else(|| AppError::of(Reason::NotFound))
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
