//! Group commit: whatever arrived while the last commit was in flight goes into the next one.
//!
//! Whoever finds nobody writing starts the writing, on its own thread: a lone caller waits for no
//! company and for no other thread. Under load the others get a few turns before each commit, as
//! long as each turn brings more: on a fast disk batches of one would cost more than the wait.
//! The queue is bounded; when it is full callers are told.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

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
    /// The writing was cut off, as at the end of the process.
    #[error("the writing was cut off")]
    Stopped,
    /// No commit within the deadline; it may still come.
    #[error("no commit within the deadline")]
    Late,
}

struct Job<C: Commit> {
    item: C::Item,
    answer: oneshot::Sender<Result<C::Done, C::Error>>,
}

struct Queue<C: Commit> {
    jobs: Vec<Job<C>>,
    /// Somebody writes, and will look into the queue again.
    writing: bool,
}

struct Shared<C: Commit> {
    queue: Mutex<Queue<C>>,
    commit: tokio::sync::Mutex<C>,
    deadline: Duration,
}

impl<C: Commit> Shared<C> {
    fn queue(&self) -> MutexGuard<'_, Queue<C>> {
        // What a panic left is a list of jobs, whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes items in batches.
pub struct GroupCommit<C: Commit>(Arc<Shared<C>>);

impl<C: Commit> Clone for GroupCommit<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Commit> fmt::Debug for GroupCommit<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit").finish_non_exhaustive()
    }
}

/// Lets others write when the writing ends, however it ends.
struct Turn<C: Commit> {
    shared: Arc<Shared<C>>,
    ended: bool,
}

impl<C: Commit> Drop for Turn<C> {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.queue().writing = false;
        }
    }
}

/// Writes until the queue is empty.
async fn write_all<C: Commit>(mut turn: Turn<C>) {
    let shared = Arc::clone(&turn.shared);
    let mut commit = shared.commit.lock().await;
    loop {
        linger(&shared).await;
        let mut jobs = {
            let mut queue = shared.queue();
            if queue.jobs.is_empty() {
                // Under the same lock that the queue was seen empty: nobody is forgotten. What the
                // turn would do at its end is done; it must not do it again to somebody else.
                queue.writing = false;
                turn.ended = true;
                return;
            }
            let most = queue.jobs.len().min(BATCH_MAX);
            queue.jobs.drain(..most).collect::<Vec<_>>()
        };
        // A caller that gave up must not get a record it never hears of.
        jobs.retain(|job| !job.answer.is_closed());
        let (items, answers): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|job| (job.item, job.answer)).unzip();
        if items.is_empty() {
            continue;
        }
        let result = commit.commit(&items).await;
        answer_all::<C>(answers, result);
    }
}

type Answer<C> = oneshot::Sender<Result<<C as Commit>::Done, <C as Commit>::Error>>;

fn answer_all<C: Commit>(answers: Vec<Answer<C>>, result: Result<Vec<C::Done>, C::Error>) {
    match result {
        Ok(done) => {
            for (answer, done) in answers.into_iter().zip(done) {
                // The caller may have gone; what is stored stays, and a retry finds it.
                drop(answer.send(Ok(done)));
            }
        }
        Err(error) => {
            tracing::error!(%error, items = answers.len(), "the batch was not stored");
            for answer in answers {
                drop(answer.send(Err(error.clone())));
            }
        }
    }
}

async fn linger<C: Commit>(shared: &Shared<C>) {
    let waiting = || shared.queue().jobs.len();
    let mut before = waiting();
    for _ in 0..TURNS_MAX {
        if !(2..BATCH_MAX).contains(&before) {
            return;
        }
        tokio::task::yield_now().await;
        let now = waiting();
        if now == before {
            return;
        }
        before = now;
    }
}

impl<C: Commit> GroupCommit<C> {
    /// Nothing is written yet. `deadline` bounds every wait for a commit.
    pub fn new(commit: C, deadline: Duration) -> Self {
        let queue = Queue {
            jobs: Vec::new(),
            writing: false,
        };
        Self(Arc::new(Shared {
            queue: Mutex::new(queue),
            commit: tokio::sync::Mutex::new(commit),
            deadline,
        }))
    }

    /// Hands over one item and waits until its batch is durable.
    ///
    /// # Errors
    /// The outer one when nobody can tell within the deadline, the inner one when the batch was
    /// not stored.
    pub async fn write(&self, item: C::Item) -> Result<Result<C::Done, C::Error>, Undone> {
        self.submit(item)?.done().await
    }

    /// Hands over one item without waiting. What is handed over first comes first.
    ///
    /// # Errors
    /// When the queue is full.
    pub fn submit(&self, item: C::Item) -> Result<Pending<C>, Undone> {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.0.queue();
        if queue.jobs.len() >= QUEUE_MAX {
            return Err(Undone::Full);
        }
        queue.jobs.push(Job { item, answer });
        if !std::mem::replace(&mut queue.writing, true) {
            drop(queue);
            let turn = Turn {
                shared: Arc::clone(&self.0),
                ended: false,
            };
            tokio::spawn(write_all(turn));
        }
        Ok(Pending {
            answered,
            deadline: self.0.deadline,
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
        let handle = GroupCommit::new(commit, Duration::from_secs(5));
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
        assert_eq!(*sizes.lock().unwrap(), [1, 10]);
    }

    #[tokio::test]
    async fn a_failed_batch_fails_each_and_a_late_commit_is_told_as_late() {
        let (commit, _, gate) = slow();
        let handle = GroupCommit::new(commit, Duration::from_millis(50));
        assert_eq!(handle.write(1).await, Err(Undone::Late));
        gate.add_permits(2);
        assert_eq!(handle.write(13).await, Ok(Err("thirteen".to_owned())));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_written() {
        let (commit, sizes, gate) = slow();
        let handle = GroupCommit::new(commit, Duration::from_secs(5));
        let first = handle.submit(1).unwrap();
        tokio::task::yield_now().await;
        drop(handle.submit(2).unwrap());
        let last = handle.submit(3).unwrap();
        gate.add_permits(2);
        assert_eq!(first.done().await, Ok(Ok(2)));
        assert_eq!(last.done().await, Ok(Ok(6)));
        assert_eq!(*sizes.lock().unwrap(), [1, 1]);
    }

    #[tokio::test]
    async fn a_full_queue_is_said_at_once() {
        let (commit, _, _gate) = slow();
        let handle = GroupCommit::new(commit, Duration::from_secs(5));
        let mut pending = vec![handle.submit(0).unwrap()];
        tokio::task::yield_now().await;
        // The first is being written and waits no more.
        for item in 0..u32::try_from(QUEUE_MAX).unwrap() {
            pending.push(handle.submit(item).unwrap());
        }
        assert_eq!(handle.submit(0).unwrap_err(), Undone::Full);
    }

    #[tokio::test]
    async fn the_next_caller_writes_when_the_writing_was_cut_off() {
        cut_off(true).await;
        cut_off(false).await;
    }

    async fn cut_off(begun: bool) {
        let (commit, _, gate) = slow();
        let handle = GroupCommit::new(commit, Duration::from_secs(5));
        let other = handle.clone();
        // A runtime that ends takes the writing with it.
        let cut = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(async {
                let _pending = other.submit(1).unwrap();
                if begun {
                    tokio::task::yield_now().await;
                }
            });
        });
        cut.join().unwrap();
        gate.add_permits(2);
        assert_eq!(handle.write(2).await, Ok(Ok(4)));
    }
}
