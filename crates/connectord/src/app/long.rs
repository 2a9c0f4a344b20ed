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

    /// Runs work that goes on when nobody waits for it any more, until [`Self::end`]; none where it did not end by itself.
    pub async fn run<T: Send + 'static>(
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

    #[tokio::test]
    async fn long_work_runs_on_other_threads_and_goes_on_until_the_process_ends() {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let long = Long::on(threads.handle().clone());
        let (here, thread) = (std::thread::current().id(), || std::thread::current().id());
        let there = long.run(async move { thread() }).await;
        assert!(there.is_some_and(|there| there != here));
        let panics = async { assert!(tokio::task::try_id().is_none(), "by this test") };
        assert_eq!(long.run(panics).await, None);
        let moment = Duration::from_millis(20);
        let (held, work) = never();
        drop(tokio::time::timeout(moment, long.run(work)).await);
        assert_eq!(Arc::strong_count(&held), 2, "it goes on");
        long.end().await;
        assert_eq!(Arc::strong_count(&held), 1);
        threads.shutdown_background();
    }
}
