//! The record of a policy set: without one it does not come into force.

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::context;
use writ_proto::digest::sha256;

use super::super::{App, AppError};
use crate::domain::policy::TenantPolicies;
use crate::domain::record::{Kind, PolicyStamp, engine};
use crate::ids;
use crate::store::{Append, Appended, InForce, PolicyRow};

/// The same for every process that sees the same change, so that it is recorded once.
fn published_id(tenant: &str, to: &str, from: Option<&InForce>) -> Uuid {
    let before = from.map_or_else(Uuid::nil, |known| known.record);
    let parts = [context::PUBLISHED, tenant, to].join("\0");
    let digest = sha256(&[parts.as_bytes(), before.as_bytes()].concat());
    let half: [u8; 16] = core::array::from_fn(|at| digest.get(at).copied().unwrap_or_default());
    Uuid::from_bytes(half)
}

impl App {
    /// Records that a set comes into force, with its texts, unless the last record of its tenant
    /// says so already and the engine is the same.
    ///
    /// # Errors
    /// When it could not be recorded: then the set must not decide anything.
    pub async fn publish(&self, set: &TenantPolicies) -> Result<(), AppError> {
        let row = PolicyRow {
            digest: Some(set.digest),
            engine: engine(),
        };
        self.record_set(set, Kind::PolicyPublished, row).await?;
        // A set that forbids something must not wait for the mark file.
        if let Err(error) = self.tell_changes(&set.tenant).await {
            tracing::error!(tenant = %set.tenant, %error, "changed keys or configuration are not told");
        }
        Ok(())
    }

    /// Records that a tenant has no policies any more.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn retire(&self, set: &TenantPolicies) -> Result<(), AppError> {
        let row = PolicyRow {
            digest: None,
            engine: engine(),
        };
        self.record_set(set, Kind::PolicyRetired, row).await
    }

    async fn record_set(
        &self,
        set: &TenantPolicies,
        kind: Kind,
        row: PolicyRow,
    ) -> Result<(), AppError> {
        let known = self.ledger.policy_in_force(&set.tenant).await?;
        let same = |known: &InForce| known.digest == row.digest && known.engine == row.engine;
        if known.as_ref().is_some_and(same) {
            return Ok(());
        }
        if let Some(digest) = &row.digest {
            let body = set.sources.published();
            self.ledger.policy_keep(&set.tenant, digest, &body).await?;
        }
        let mut draft = self.blank_record(kind, &set.tenant, ids::new_id());
        draft.policy = Some(PolicyStamp {
            digest: set.digest,
            label: set.label.clone(),
            determining: Vec::new(),
            errors: Vec::new(),
            schema_digest: set.schema_digest,
        });
        let to = row.digest.map_or_else(String::new, hex::encode);
        let to = format!("{to} {}", row.engine);
        let append = Append {
            outcome_id: Some(published_id(set.tenant.as_str(), &to, known.as_ref())),
            policy: Some(row),
            ..Append::record(set.tenant.clone(), draft)
        };
        match self.writer.append(append).await? {
            Appended::Stored { .. } | Appended::DuplicateOutcome => Ok(()),
            _ => Err(AppError::of(Reason::Internal)),
        }
    }
}
