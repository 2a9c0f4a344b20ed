//! Group commit: whatever arrived while the last commit was in flight goes into the next one.
//!
//! A lone caller never waits for company. Under load the writer gives the other tasks a few turns
//! before it commits, as long as each turn brings more: on a fast disk batches of one would cost
//! more than the wait. The queue is bounded; when it is full callers are told.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Most items that wait.
pub const QUEUE_MAX: usize = 4_096;
/// Most items of one commit.
pub const BATCH_MAX: usize = 256;
const TURNS_MAX: u32 = 8;

/// What makes a batch durable.
pub trait Commit: Send + 'static {
    /// What is asked for.
    type Item: Send + 'static;
    /// What became of it.
    type Done: Send + 'static;
    /// Why a batch was not stored.
    type Error: Clone + fmt::Display + Send + 'static;

    /// Commits a batch in one transaction: one answer an item, in order, or nothing is stored.
    fn commit(
        &mut self,
        batch: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Self::Done>, Self::Error>> + Send;
}

/// Why an item has no answer. In every case but `Late` nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undone {
    /// Too many items wait.
    #[error("too many writes wait")]
    Full,
    /// The writer has ended.
    #[error("the writer has stopped")]
    Stopped,
    /// No commit within the deadline; it may still come.
    #[error("no commit within the deadline")]
    Late,
}

struct Job<C: Commit> {
    item: C::Item,
    answer: oneshot::Sender<Result<C::Done, C::Error>>,
}

/// Hands items to the writer.
pub struct Handle<C: Commit> {
    queue: mpsc::Sender<Job<C>>,
    deadline: Duration,
}

impl<C: Commit> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            deadline: self.deadline,
        }
    }
}

impl<C: Commit> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// The one task that writes.
pub struct Writer<C: Commit> {
    commit: C,
    jobs: mpsc::Receiver<Job<C>>,
}

impl<C: Commit> fmt::Debug for Writer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// A writer and the handle to it. `deadline` bounds every wait for a commit.
pub fn writer<C: Commit>(commit: C, deadline: Duration) -> (Writer<C>, Handle<C>) {
    let (queue, jobs) = mpsc::channel(QUEUE_MAX);
    (Writer { commit, jobs }, Handle { queue, deadline })
}

impl<C: Commit> Writer<C> {
    /// Writes until every handle is gone.
    pub async fn run(mut self) {
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        while self.jobs.recv_many(&mut jobs, BATCH_MAX).await > 0 {
            self.linger(&mut jobs).await;
            // A caller that gave up must not get a record it never hears of.
            jobs.retain(|job: &Job<C>| !job.answer.is_closed());
            let (items, answers): (Vec<_>, Vec<_>) =
                jobs.drain(..).map(|job| (job.item, job.answer)).unzip();
            if items.is_empty() {
                continue;
            }
            match self.commit.commit(&items).await {
                Ok(done) => {
                    for (answer, done) in answers.into_iter().zip(done) {
                        // The caller may have gone; what is stored stays, and a retry finds it.
                        drop(answer.send(Ok(done)));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, items = items.len(), "the batch was not stored");
                    for answer in answers {
                        drop(answer.send(Err(error.clone())));
                    }
                }
            }
        }
    }

    async fn linger(&mut self, jobs: &mut Vec<Job<C>>) {
        for _ in 0..TURNS_MAX {
            let before = jobs.len();
            if !(2..BATCH_MAX).contains(&before) {
                return;
            }
            tokio::task::yield_now().await;
            while jobs.len() < BATCH_MAX {
                let Ok(job) = self.jobs.try_recv() else { break };
                jobs.push(job);
            }
            if jobs.len() == before {
                return;
            }
        }
    }
}

impl<C: Commit> Handle<C> {
    /// Hands over one item and waits until its batch is durable.
    ///
    /// # Errors
    /// The outer one when nobody can tell within the deadline, the inner one when the batch was
    /// not stored.
    pub async fn write(&self, item: C::Item) -> Result<Result<C::Done, C::Error>, Undone> {
        self.submit(item)?.done().await
    }

    /// Hands over one item without waiting.
    ///
    /// # Errors
    /// When the queue is full or the writer has ended.
    pub fn submit(&self, item: C::Item) -> Result<Pending<C>, Undone> {
        let (answer, answered) = oneshot::channel();
        let job = Job { item, answer };
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Undone::Full,
            mpsc::error::TrySendError::Closed(_) => Undone::Stopped,
        })?;
        Ok(Pending {
            answered,
            deadline: self.deadline,
        })
    }
}

/// An item that was handed over. Dropping it takes it back if its batch has not begun.
pub struct Pending<C: Commit> {
    answered: oneshot::Receiver<Result<C::Done, C::Error>>,
    deadline: Duration,
}

impl<C: Commit> fmt::Debug for Pending<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl<C: Commit> Pending<C> {
    /// Waits until its batch is durable.
    ///
    /// # Errors
    /// As `write`.
    pub async fn done(self) -> Result<Result<C::Done, C::Error>, Undone> {
        match tokio::time::timeout(self.deadline, self.answered).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(Undone::Stopped),
            Err(_) => Err(Undone::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Remembers the size of each batch; the first commit waits until it is let go.
    struct Slow {
        sizes: Arc<Mutex<Vec<usize>>>,
        gate: Arc<tokio::sync::Semaphore>,
    }

    impl Commit for Slow {
        type Item = u32;
        type Done = u32;
        type Error = String;

        async fn commit(&mut self, batch: &[u32]) -> Result<Vec<u32>, String> {
            self.gate.acquire().await.unwrap().forget();
            self.sizes.lock().unwrap().push(batch.len());
            if batch.contains(&13) {
                return Err("thirteen".to_owned());
            }
            Ok(batch.iter().map(|item| item * 2).collect())
        }
    }

    fn slow() -> (Slow, Arc<Mutex<Vec<usize>>>, Arc<tokio::sync::Semaphore>) {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let commit = Slow {
            sizes: Arc::clone(&sizes),
            gate: Arc::clone(&gate),
        };
        (commit, sizes, gate)
    }

    #[tokio::test]
    async fn what_arrives_during_a_commit_goes_into_the_next_one_and_each_gets_its_answer() {
        let (commit, sizes, gate) = slow();
        let (writer, handle) = writer(commit, Duration::from_secs(5));
        let writing = tokio::spawn(writer.run());
        let ask = |item: u32| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.write(item).await })
        };
        let first = ask(1);
        tokio::task::yield_now().await;
        let rest: Vec<_> = (2..12).map(ask).collect();
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap().unwrap(), 2);
        for (task, item) in rest.into_iter().zip(2_u32..) {
            assert_eq!(task.await.unwrap().unwrap().unwrap(), item * 2);
        }
        drop(handle);
        writing.await.unwrap();
        assert_eq!(*sizes.lock().unwrap(), [1, 10]);
    }

    #[tokio::test]
    async fn a_failed_batch_fails_each_and_a_late_commit_is_told_as_late() {
        let (commit, _, gate) = slow();
        let (writer, handle) = writer(commit, Duration::from_millis(50));
        let writing = tokio::spawn(writer.run());
        assert_eq!(handle.write(1).await, Err(Undone::Late));
        gate.add_permits(2);
        assert_eq!(handle.write(13).await, Ok(Err("thirteen".to_owned())));
        writing.abort();
        drop(writing.await);
        assert_eq!(handle.write(1).await, Err(Undone::Stopped));
    }

    #[tokio::test]
    async fn a_full_queue_is_said_at_once() {
        let (commit, _, _gate) = slow();
        let (_writer, handle) = writer(commit, Duration::from_secs(5));
        let mut tasks = Vec::new();
        for item in 0..u32::try_from(QUEUE_MAX).unwrap() {
            let handle = handle.clone();
            tasks.push(tokio::spawn(async move { handle.write(item).await }));
        }
        tokio::task::yield_now().await;
        while handle.queue.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(handle.write(0).await, Err(Undone::Full));
        for task in tasks {
            task.abort();
        }
    }
}
