//! Reading the log: pages, export lines, signed heads.

use writ_proto::Reason;
use writ_proto::ids::TenantId;
use writ_proto::limits::PAGE_SIZE_MAX;

use super::{App, AppError};
use crate::domain::checkpoint::Checkpoint;
use crate::domain::export::{checkpoint_line, header_line, record_line};
use crate::store::{Head, RecordRow};

impl App {
    /// Records of a tenant from a place on.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn records(
        &self,
        tenant: &TenantId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<RecordRow>, AppError> {
        Ok(self
            .ledger
            .record_list(tenant, from, limit.min(PAGE_SIZE_MAX))
            .await?)
    }

    fn note(&self, tenant: &TenantId, head: &Head) -> String {
        let origin = self.identity.origin(tenant.as_str());
        let (size, root) = (head.frontier.size(), head.frontier.root());
        Checkpoint { origin, size, root }.sign(self.signer.load().checkpoint_key())
    }

    /// The signed head of a tenant's log.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn checkpoint(&self, tenant: &TenantId) -> Result<String, AppError> {
        let head = self.ledger.head(tenant).await?;
        Ok(self.note(tenant, &head))
    }

    /// The head that an export ends at, with its first line if the export starts at 0.
    ///
    /// # Errors
    /// When the store is away or the start is beyond the end.
    pub async fn export_start(
        &self,
        tenant: &TenantId,
        from: u64,
    ) -> Result<(Head, Option<String>), AppError> {
        let head = self.ledger.head(tenant).await?;
        if from > head.frontier.size() {
            return Err(AppError::new(
                Reason::RequestMalformed,
                "from_seq is beyond the end",
            ));
        }
        let header = (from == 0).then(|| header_line(&self.identity.origin(tenant.as_str())));
        Ok((head, header))
    }

    /// Export lines from a place up to the head of the export.
    ///
    /// # Errors
    /// When the store is away or holds something else than it should.
    pub async fn export_lines(
        &self,
        tenant: &TenantId,
        from: u64,
        head: &Head,
    ) -> Result<Vec<String>, AppError> {
        let left = head.frontier.size().saturating_sub(from);
        let limit = usize::try_from(left)
            .unwrap_or(PAGE_SIZE_MAX)
            .min(PAGE_SIZE_MAX);
        let rows = self.records(tenant, from, limit).await?;
        let lines = rows.iter().map(|row| record_line(&row.leaf));
        let lines: Option<Vec<String>> = lines.collect();
        lines.ok_or_else(|| AppError::of(Reason::StoreCorrupt))
    }

    /// The last line of an export.
    #[must_use]
    pub fn export_end(&self, tenant: &TenantId, head: &Head) -> String {
        checkpoint_line(&self.note(tenant, head))
    }
}
