//! Whether the logs are what is remembered of them.

use std::collections::BTreeMap;

use writ_proto::Reason;
use writ_proto::ids::TenantId;

use super::{Heads, LogMark, MarkFile};
use crate::domain::log::merkle::leaf_hash;
use crate::domain::record::project;
use crate::error::AppError;
use crate::store::Ledger;

/// Which logs are not what is remembered of them, each with what is missing. Empty is good.
///
/// # Errors
/// When the database is away.
pub async fn compared(
    marks: &BTreeMap<String, LogMark>,
    heads: &Heads,
    ledger: &Ledger,
) -> Result<BTreeMap<String, String>, AppError> {
    let mut wrong = BTreeMap::new();
    for (name, mark) in marks {
        let Ok(tenant) = TenantId::parse(name) else {
            continue;
        };
        let head = heads.get(&tenant);
        let size = head.map_or(0, |(size, _)| *size);
        let at = mark.size.saturating_sub(1);
        if head.is_some_and(|(size, last)| *size == mark.size && hex::encode(last) == mark.last) {
            continue;
        }
        if size < mark.size {
            let known = mark.size;
            let text = format!("{known} records are remembered, and the log has {size}");
            wrong.insert(name.clone(), text);
            continue;
        }
        let rows = ledger.record_list(&tenant, at, 1).await?;
        let same = rows
            .first()
            .is_some_and(|row| row.seq == at && hex::encode(leaf_hash(&row.leaf)) == mark.last);
        if !same {
            let text = format!("record {at} is another one than is remembered");
            wrong.insert(name.clone(), text);
        }
    }
    Ok(wrong)
}

/// Refuses a database whose logs are not what is remembered of them, or have another name.
///
/// # Errors
/// `STORE_RESTORED`, with what is missing; `CONFIG_INVALID`.
pub async fn check(marks: &MarkFile, ledger: &Ledger) -> Result<(), AppError> {
    let known = marks.logs();
    let heads = ledger.heads().await?;
    let wrong = compared(&known, &heads, ledger).await?;
    if !wrong.is_empty() {
        return Err(restored(&wrong));
    }
    for (tenant, (size, _)) in &heads {
        let last = ledger
            .record_list(tenant, size.saturating_sub(1), 1)
            .await?;
        let origin = last.first().and_then(|row| project(&row.leaf).ok());
        let (own, log) = (format!("{}/log/{tenant}", marks.log), &marks.log);
        if let Some(found) = origin.filter(|read| read.origin != own) {
            let message = format!(
                "records.log is {log}, and the log of {tenant} is {}",
                found.origin
            );
            return Err(AppError::new(Reason::ConfigInvalid, message));
        }
        if !known.contains_key(tenant.as_str()) {
            tracing::warn!(
                %tenant, size,
                "store.mark_file remembers nothing of this log yet, so an older database would not have been noticed at this start; from now on it is"
            );
        }
    }
    Ok(())
}

/// The refusal of logs that are not what is remembered of them.
#[must_use]
pub fn restored(wrong: &BTreeMap<String, String>) -> AppError {
    let lines = wrong
        .iter()
        .map(|(tenant, what)| format!("{tenant}: {what}"));
    let lines: Vec<String> = lines.collect();
    AppError::new(Reason::StoreRestored, lines.join("; "))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::domain::record::Kind;
    use crate::store::conformance::draft;
    use crate::store::{Append, Writer};

    #[tokio::test]
    async fn a_log_is_not_continued_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("t.db").display());
        let ledger = Ledger::open(&url).await.unwrap();
        let writer = Writer::new(&ledger, Duration::from_secs(10));
        let tenant = TenantId::parse("acme").unwrap();
        let record = Append::record(tenant, draft("acme", Kind::Evaluated));
        writer.append(record).await.unwrap();
        for (log, wanted) in [
            ("policyd.localhost", None),
            ("elsewhere.localhost", Some(Reason::ConfigInvalid)),
        ] {
            let marks = MarkFile {
                path: folder.path().join("marks.json"),
                log: log.into(),
                address: url.clone(),
                held: Mutex::default(),
            };
            let refused = check(&marks, &ledger).await.err();
            assert_eq!(refused.map(|error| error.reason), wanted, "{log}");
        }
    }
}
