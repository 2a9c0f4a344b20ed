//! Policy sets by digest, and which of them each tenant's last record names.

use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::{Ledger, StoreError, corrupt};

/// A set to keep, and to name as the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    /// Its digest; none where the tenant has no policies any more.
    pub digest: Option<[u8; 32]>,
    /// The engine that evaluates it.
    pub engine: String,
}

/// What the last record of a tenant says is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Digest of the set; none where the policies were retired.
    pub digest: Option<[u8; 32]>,
    /// The engine.
    pub engine: String,
    /// Id of the record.
    pub record: Uuid,
}

impl InForce {
    pub(super) fn from_columns(
        digest: &[u8],
        engine: String,
        record: Uuid,
    ) -> Result<Self, StoreError> {
        let read = || <[u8; 32]>::try_from(digest).map_err(|_| corrupt("a policy digest"));
        Ok(Self {
            digest: if digest.is_empty() {
                None
            } else {
                Some(read()?)
            },
            engine,
            record,
        })
    }
}

impl Ledger {
    /// Keeps the texts of a set, before a record says that it is in force. Nothing else waits for it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn policy_keep(
        &self,
        tenant: &TenantId,
        digest: &[u8; 32],
        body: &str,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.policy_keep(tenant, digest, body).await,
            Self::Postgres(ledger) => ledger.policy_keep(tenant, digest, body).await,
        }
    }

    /// What the last record of a tenant says is in force.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn policy_in_force(&self, tenant: &TenantId) -> Result<Option<InForce>, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.policy_in_force(tenant).await,
            Self::Postgres(ledger) => ledger.policy_in_force(tenant).await,
        }
    }

    /// The place of the first record that says a set of a tenant is in force.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn policy_first(
        &self,
        tenant: &TenantId,
        digest: &[u8; 32],
    ) -> Result<Option<u64>, StoreError> {
        let seq = match self {
            Self::Sqlite(ledger) => ledger.policy_first(tenant, digest).await?,
            Self::Postgres(ledger) => ledger.policy_first(tenant, digest).await?,
        };
        Ok(seq.and_then(|seq| u64::try_from(seq).ok()))
    }

    /// The texts of a set that a tenant published.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn policy_set(
        &self,
        tenant: &TenantId,
        digest: &[u8; 32],
    ) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.policy_set(tenant, digest).await,
            Self::Postgres(ledger) => ledger.policy_set(tenant, digest).await,
        }
    }
}
