//! Work that takes long, such as lists and undos of many: on threads that serve no calls.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Where it runs, and what of it goes on without anybody who waits.
#[derive(Debug)]
pub struct Long {
    threads: Handle,
    running: Mutex<JoinSet<()>>,
}

impl Long {
    /// On the threads of a runtime.
    #[must_use]
    pub fn on(threads: Handle) -> Self {
        Self {
            threads,
            running: Mutex::default(),
        }
    }

    /// Runs work that ends with whoever waits for it; none where it panicked.
    pub async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut one = JoinSet::new();
        one.spawn_on(work, &self.threads);
        let ended = one.join_next().await?;
        ended
            .inspect_err(|error| tracing::error!(%error, "a long call did not end by itself"))
            .ok()
    }

    /// Runs work that goes on when nobody waits for it any more, until [`Self::end`]; none where it did not end by itself.
    pub async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let work = async move {
            // Who asked may be gone.
            drop(tell.send(work.await));
        };
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            while running.try_join_next().is_some() {}
            running.spawn_on(work, &self.threads);
        }
        told.await.ok()
    }

    /// Ends whatever still runs. What is between two steps of a write stays as the journal has it.
    pub async fn end(&self) {
        let mut running = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *running)
        };
        running.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    /// Work that never ends, and what is held until it is gone.
    fn never() -> (Arc<()>, impl Future<Output = ()> + Send + 'static) {
        let (held, own) = (Arc::new(()), Arc::new(()));
        let own = (Arc::clone(&held), own);
        let work = async move {
            let _own = own;
            std::future::pending::<()>().await;
        };
        (held, work)
    }

    async fn is_gone(held: &Arc<()>) -> bool {
        for _ in 0..1_000 {
            if Arc::strong_count(held) == 1 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }

    #[tokio::test]
    async fn long_work_runs_on_other_threads_and_ends_with_its_caller_or_with_the_process() {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let long = Long::on(threads.handle().clone());
        let (here, thread) = (std::thread::current().id(), || std::thread::current().id());
        let there = [
            long.apart(async move { thread() }).await,
            long.whole(async move { thread() }).await,
        ];
        assert!(
            there
                .iter()
                .all(|there| there.is_some_and(|there| there != here))
        );
        let panics = async { assert!(tokio::task::try_id().is_none(), "by this test") };
        assert_eq!(long.apart(panics).await, None);
        let moment = Duration::from_millis(20);
        let (held, work) = never();
        drop(tokio::time::timeout(moment, long.apart(work)).await);
        assert!(is_gone(&held).await);
        let (held, work) = never();
        drop(tokio::time::timeout(moment, long.whole(work)).await);
        assert_eq!(Arc::strong_count(&held), 2, "it goes on");
        long.end().await;
        assert_eq!(Arc::strong_count(&held), 1);
        threads.shutdown_background();
    }
}
