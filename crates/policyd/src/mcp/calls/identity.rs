//! Whose bridge it is: the one agent that its certificate names.

use std::path::Path;

use writ_proto::{Caller, Reason};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::GeneralName;

use crate::error::AppError;

/// Whose bridge this is, as its certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Tenant.
    pub tenant: String,
    /// Agent.
    pub agent: String,
    /// When the certificate ends, Unix seconds.
    pub expires: i64,
}

/// Reads who an agent's certificate names.
///
/// # Errors
/// `TLS_INVALID` when it cannot be read, `AGENT_REQUIRED` when it names no agent.
pub(crate) fn identity(cert: &Path) -> Result<Identity, AppError> {
    let unusable = |why: &dyn core::fmt::Display| {
        AppError::new(Reason::TlsInvalid, format!("{}: {why}", cert.display()))
    };
    let text = std::fs::read(cert).map_err(|error| unusable(&error))?;
    let (_, pem) = parse_x509_pem(&text).map_err(|error| unusable(&error))?;
    let parsed = pem.parse_x509().map_err(|error| unusable(&error))?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice());
    let uris: Vec<&str> = names
        .unwrap_or_default()
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let no_agent = || {
        let message = format!("{} does not name exactly one agent", cert.display());
        AppError::new(Reason::AgentRequired, message)
    };
    let [uri] = uris.as_slice() else {
        return Err(no_agent());
    };
    // The daemons check the trust domain; here it only has to be taken off.
    let domain = uri
        .strip_prefix("spiffe://")
        .and_then(|r| r.split('/').next());
    match Caller::from_spiffe(uri, domain.unwrap_or_default()) {
        Ok(Caller::Agent { tenant, agent }) => Ok(Identity {
            tenant: tenant.to_string(),
            agent: agent.to_string(),
            expires: parsed.validity().not_after.timestamp(),
        }),
        _ => Err(no_agent()),
    }
}
