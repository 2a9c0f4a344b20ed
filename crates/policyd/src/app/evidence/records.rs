//! Reading the log: pages, export lines, signed heads.

use std::collections::BTreeMap;

use writ_proto::Reason;
use writ_proto::ids::TenantId;
use writ_proto::limits::PAGE_SIZE_MAX;
use writ_proto::value::Value;

use crate::app::App;
use crate::app::ask::disclosed::disclosure;
use crate::domain::bundle::{checkpoint_line, header_line, policy_line, record_line};
use crate::domain::log::checkpoint::Checkpoint;
use crate::domain::log::merkle::leaf_hash;
use crate::domain::record::{Kind, project};
use crate::error::AppError;
use crate::marks::{Heads, compared, restored};
use crate::store::{Append, Head, RecordRow};
use crate::{clock, ids};

/// Records that are read at once for an export with values.
const VALUES_PAGE: usize = 20;

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

    /// The heads of all logs, where each goes on from what is remembered of it. Where one does not, its
    /// database was put back while this process ran: no record is appended and nothing is signed any more,
    /// until a start says what is missing.
    ///
    /// # Errors
    /// `STORE_RESTORED`, or the store is away.
    pub async fn heads_as_remembered(&self) -> Result<Heads, AppError> {
        // Read first: the logs only go on.
        let known = self.marks.logs();
        let heads = self.ledger.heads().await?;
        let wrong = compared(&known, &heads, &self.ledger).await?;
        if wrong.is_empty() {
            return Ok(heads);
        }
        self.writer.close();
        let error = restored(&wrong);
        tracing::error!(%error, "the database was put back; nothing is decided any more");
        Err(error)
    }

    /// Signs a head. It is written down first: no head that contradicts it is ever signed, also not
    /// after an older database was put back.
    async fn note(&self, tenant: &TenantId, head: &Head) -> Result<String, AppError> {
        self.writer.open()?;
        let heads = self.heads_as_remembered().await?;
        let origin = self.identity.origin(tenant.as_str());
        let (size, root) = (head.frontier.size(), head.frontier.root());
        if let Some(last) = head.last {
            // It was read earlier: it is still a head of this log.
            let rows = self
                .ledger
                .record_list(tenant, size.saturating_sub(1), 1)
                .await?;
            let same = rows.first().is_some_and(|row| leaf_hash(&row.leaf) == last);
            if !same || heads.get(tenant).is_none_or(|(now, _)| *now < size) {
                return Err(AppError::of(Reason::StoreRestored));
            }
            let heads = BTreeMap::from([(tenant.clone(), (size, last))]);
            let now_ms = clock::now().timestamp_millis();
            self.marks.raise(&heads, now_ms)?;
        }
        Ok(Checkpoint { origin, size, root }.sign(self.signer.load().checkpoint_key()))
    }

    /// Says in a log that it was put back, with what is missing and why it goes on.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn restored(
        &self,
        tenant: &TenantId,
        what: &str,
        reason: &str,
    ) -> Result<(), AppError> {
        let mut draft = self.blank_record(Kind::StoreRestored, tenant, ids::new_id());
        draft.reasons = vec![Reason::StoreRestored.code().to_owned()];
        draft.disclosures = vec![
            disclosure("what", Value::Text(what.to_owned()))?,
            disclosure("note", Value::Text(reason.to_owned()))?,
        ];
        let append = Append::record(tenant.clone(), draft);
        self.writer.append(append).await?;
        Ok(())
    }

    /// The signed head of a tenant's log.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn checkpoint(&self, tenant: &TenantId) -> Result<String, AppError> {
        let head = self.ledger.head(tenant).await?;
        self.note(tenant, &head).await
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
        // With its values a record may be long, and the set of a tenant longer.
        let most = if values { VALUES_PAGE } else { PAGE_SIZE_MAX };
        let limit = usize::try_from(left).unwrap_or(most).min(most);
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
    ///
    /// # Errors
    /// When the head could not be written down, and so is not signed.
    pub async fn export_end(&self, tenant: &TenantId, head: &Head) -> Result<String, AppError> {
        Ok(checkpoint_line(&self.note(tenant, head).await?))
    }
}
