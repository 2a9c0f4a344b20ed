//! Who may use the halt page: devices that may halt, operators who may also resume. Both lists lie
//! with the halts, so that every process that shares the halts shares them, and no database, no
//! policyd and no system of record is needed.

pub mod attempts;
pub mod device;
pub mod documents;
pub mod operator;
pub mod seal;

use serde::{Deserialize, Serialize};
use writ_proto::ids::TenantId;
use writ_proto::scope::Scope;

use crate::halt::Place;
pub use device::Device;
use documents::Documents;
pub use operator::Operator;

/// Longest name of a device or an operator in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Why something about devices or operators could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The halt store does not answer, or holds what cannot be read.
    #[error("{0}")]
    Unavailable(String),
    /// There is one of this name already.
    #[error("there is a `{0}` already")]
    Exists(String),
    /// There is none of this name.
    #[error("there is no `{0}`")]
    Missing(String),
    /// What was asked for is out of bounds.
    #[error("{0}")]
    Invalid(String),
}

/// How far somebody reaches: everything, or one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reach(Option<TenantId>);

impl Reach {
    /// Everything of every tenant.
    pub const GLOBAL: Self = Self(None);

    /// One tenant.
    #[must_use]
    pub const fn tenant(tenant: TenantId) -> Self {
        Self(Some(tenant))
    }

    /// The one tenant; none if it is all.
    #[must_use]
    pub const fn only(&self) -> Option<&TenantId> {
        self.0.as_ref()
    }

    /// Whether a scope lies within it: one of the own tenant alone, or any.
    #[must_use]
    pub fn covers(&self, scope: &Scope) -> bool {
        self.0
            .as_ref()
            .is_none_or(|own| scope.tenant() == Some(own))
    }

    /// Whether a halt of a scope may be shown: it stops something that lies within.
    #[must_use]
    pub fn sees(&self, scope: &Scope) -> bool {
        self.0
            .as_ref()
            .is_none_or(|own| scope.concerns(own.as_str()))
    }
}

impl core::fmt::Display for Reach {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.0 {
            None => f.write_str("global"),
            Some(tenant) => write!(f, "tenant:{}", tenant.as_str()),
        }
    }
}

impl From<Reach> for String {
    fn from(reach: Reach) -> Self {
        reach.to_string()
    }
}

impl TryFrom<String> for Reach {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "global" {
            return Ok(Self::GLOBAL);
        }
        let tenant = text
            .strip_prefix("tenant:")
            .and_then(|id| TenantId::parse(id).ok());
        tenant
            .map(Self::tenant)
            .ok_or_else(|| format!("`{text}` is not global or tenant:T"))
    }
}

/// Letters, digits and `._@-`: it is shown, printed and stored in flags.
fn check_name(name: &str) -> Result<(), AccessError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        let text = format!("a name is 1 to {NAME_BYTES_MAX} letters, digits or ._@-");
        return Err(AccessError::Invalid(text));
    }
    Ok(())
}

/// The lists.
#[derive(Debug, Clone)]
pub struct Access {
    documents: Documents,
}

impl Access {
    /// The lists that lie with the halts of a place. It may be away.
    ///
    /// # Errors
    /// When it can never be used.
    pub fn new(place: &Place) -> Result<Self, AccessError> {
        let documents = Documents::new(place)?;
        Ok(Self { documents })
    }

    #[cfg(test)]
    pub(crate) fn in_folder(folder: &std::path::Path) -> Self {
        Self::new(&Place::Folder(folder.to_owned())).unwrap()
    }
}

#[cfg(test)]
mod tests;
