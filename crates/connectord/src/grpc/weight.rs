//! What one caller's long calls may cost another: they run on threads that serve no calls, and what they
//! took is counted against the rate of their caller afterwards.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tonic::Request;
use writ_proto::Reason;
use writ_proto::host::serve::rate::Pace;

use crate::error::AppError;

/// So many rows of a list cost as much as one call more.
const LISTED_A_CALL: usize = 8;
/// So many items of a batch undo: each takes reads of its system, if not writes.
const UNDONE_A_CALL: usize = 2;
/// A halt that is set or ended is synced to the disk several times.
const HALT_CALLS: u32 = 4;

/// The allowance of whoever asks.
pub(super) struct Weight(Pace);

impl Weight {
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let pace = request.extensions().get::<Pace>().cloned();
        Self(pace.unwrap_or_default())
    }

    /// Counts an answer of so many rows.
    pub(super) fn listed(&self, rows: usize) {
        self.count(rows / LISTED_A_CALL);
    }

    /// Counts a page of a batch undo: what was looked at, and what of it was to be undone.
    pub(super) fn undone(&self, looked_at: usize, items: usize) {
        self.count((looked_at / LISTED_A_CALL).saturating_add(items / UNDONE_A_CALL));
    }

    /// Counts a change of the halts.
    pub(super) fn halted(&self) {
        self.0.answered(HALT_CALLS);
    }

    fn count(&self, calls: usize) {
        self.0.answered(u32::try_from(calls).unwrap_or(u32::MAX));
    }
}

/// Runs what takes long on other threads; it ends with the call that waits for it.
///
/// # Errors
/// Its own, or `INTERNAL` where it did not end by itself.
pub(super) async fn apart<T: Send + 'static>(
    threads: &Handle,
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    let mut running = JoinSet::new();
    running.spawn_on(work, threads);
    let ended = running.join_next().await;
    let ended = ended.and_then(Result::ok);
    ended.unwrap_or_else(|| Err(AppError::of(Reason::Internal)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_runs_apart_ends_with_its_call_and_on_other_threads() {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let here = std::thread::current().id();
        let there = apart(threads.handle(), async { Ok(std::thread::current().id()) });
        assert_ne!(there.await.unwrap(), here);
        let panics = async {
            assert!(tokio::task::try_id().is_none(), "by this test");
            Ok(())
        };
        let failed = apart(threads.handle(), panics).await.unwrap_err();
        assert_eq!(failed.reason, Reason::Internal);
        let (held, begun) = (Arc::new(()), Arc::new(tokio::sync::Notify::new()));
        let (own, tell) = (Arc::clone(&held), Arc::clone(&begun));
        let never = async move {
            let _own = own;
            tell.notify_one();
            std::future::pending::<Result<(), AppError>>().await
        };
        tokio::select! {
            _ = apart(threads.handle(), never) => unreachable!("it never ends"),
            () = begun.notified() => {}
        }
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
        threads.shutdown_background();
    }
}
