//! Reading the log: pages, export lines, signed heads.

use writ_proto::Reason;
use writ_proto::ids::TenantId;
use writ_proto::limits::PAGE_SIZE_MAX;

use super::{App, AppError};
use crate::domain::checkpoint::Checkpoint;
use crate::domain::export::{checkpoint_line, header_line, policy_line, record_line};
use crate::domain::record::{Kind, project};
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
        values: bool,
    ) -> Result<(Head, Option<String>), AppError> {
        let head = self.ledger.head(tenant).await?;
        if from > head.frontier.size() {
            return Err(AppError::new(
                Reason::RequestMalformed,
                "from_seq is beyond the end",
            ));
        }
        let header =
            (from == 0).then(|| header_line(&self.identity.origin(tenant.as_str()), values));
        Ok((head, header))
    }

    /// Export lines from a place up to the head of the export, one text a record.
    ///
    /// # Errors
    /// When the store is away or holds something else than it should.
    pub async fn export_lines(
        &self,
        tenant: &TenantId,
        (from, values): (u64, bool),
        head: &Head,
    ) -> Result<Vec<String>, AppError> {
        let left = head.frontier.size().saturating_sub(from);
        let limit = usize::try_from(left)
            .unwrap_or(PAGE_SIZE_MAX)
            .min(PAGE_SIZE_MAX);
        let rows = self.records(tenant, from, limit).await?;
        let mut lines = Vec::with_capacity(rows.len());
        for row in &rows {
            lines.push(self.export_line(tenant, row, values).await?);
        }
        Ok(lines)
    }

    /// The line of a record; behind that of the first record of a policy set the line of the set.
    async fn export_line(
        &self,
        tenant: &TenantId,
        row: &RecordRow,
        values: bool,
    ) -> Result<String, AppError> {
        let corrupt = || AppError::of(Reason::StoreCorrupt);
        let disclosed = values.then_some(row.disclosed.as_slice());
        let mut line = record_line(&row.leaf, disclosed).ok_or_else(corrupt)?;
        let read = project(&row.leaf).map_err(|_| corrupt())?;
        if !values || read.kind != Kind::PolicyPublished.name() {
            return Ok(line);
        }
        let digest: Option<[u8; 32]> = hex::decode(&read.policy_digest)
            .ok()
            .and_then(|digest| digest.try_into().ok());
        let digest = digest.ok_or_else(corrupt)?;
        if self.ledger.policy_first(tenant, &digest).await? == Some(row.seq) {
            let body = self.ledger.policy_set(tenant, &digest).await?;
            line.push_str(&policy_line(&digest, &body.ok_or_else(corrupt)?));
        }
        Ok(line)
    }

    /// The last line of an export.
    #[must_use]
    pub fn export_end(&self, tenant: &TenantId, head: &Head) -> String {
        checkpoint_line(&self.note(tenant, head))
    }
}
