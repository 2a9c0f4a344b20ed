//! Group commit: whatever arrived while the last commit was in flight goes into the next one.
//!
//! A lone caller never waits for company. Under load a linger of a fraction of the last commit's
//! time lets batches form on a fast disk. The queue is bounded; when it is full callers are told.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::{Append, Appended, SqliteLedger, StoreError};

const QUEUE_MAX: usize = 4_096;
const BATCH_MAX: usize = 256;
const LINGER_MAX: Duration = Duration::from_millis(2);

type Answer = oneshot::Sender<Result<Appended, StoreError>>;

struct Job {
    append: Append,
    answer: Answer,
}

/// Hands appends to the writer.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    queue: mpsc::Sender<Job>,
    deadline: Duration,
}

/// The one task that writes.
#[derive(Debug)]
pub struct Writer {
    ledger: SqliteLedger,
    jobs: mpsc::Receiver<Job>,
}

impl Writer {
    /// A writer and the handle to it. `deadline` bounds every append.
    #[must_use]
    pub fn new(ledger: SqliteLedger, deadline: Duration) -> (Self, WriterHandle) {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        (Self { ledger, jobs }, WriterHandle { queue, deadline })
    }

    /// Writes until every handle is gone.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let (mut last_commit, mut last_size) = (Duration::ZERO, 0_usize);
        while let Some(job) = self.jobs.recv().await {
            batch.push(job);
            while batch.len() < BATCH_MAX {
                let Ok(job) = self.jobs.try_recv() else { break };
                batch.push(job);
            }
            // Company is there already and was there before: a short wait makes one commit of two.
            if batch.len() > 1 && last_size > 1 && batch.len() < last_size {
                tokio::time::sleep((last_commit / 4).min(LINGER_MAX)).await;
                while batch.len() < BATCH_MAX {
                    let Ok(job) = self.jobs.try_recv() else { break };
                    batch.push(job);
                }
            }
            // A caller that gave up must not get a record it never hears of.
            batch.retain(|job| !job.answer.is_closed());
            last_size = batch.len();
            let started = Instant::now();
            self.commit(&mut batch).await;
            last_commit = started.elapsed();
        }
    }

    async fn commit(&self, batch: &mut Vec<Job>) {
        if batch.is_empty() {
            return;
        }
        let (appends, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|job| (job.append, job.answer)).unzip();
        match self.ledger.append_batch(&appends).await {
            Ok(results) => {
                for (answer, result) in answers.into_iter().zip(results) {
                    // The caller may have gone; the record stays, and a retry finds it.
                    drop(answer.send(Ok(result)));
                }
            }
            Err(error) => {
                tracing::error!(%error, appends = appends.len(), "the batch was not stored");
                for answer in answers {
                    drop(answer.send(Err(error.clone())));
                }
            }
        }
    }
}

impl WriterHandle {
    /// Appends one record and waits until it is durable.
    ///
    /// # Errors
    /// When it is not, or nobody can tell within the deadline.
    pub async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Job { append, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Full,
                mpsc::error::TrySendError::Closed(_) => {
                    StoreError::Unavailable("the writer has stopped".to_owned())
                }
            })?;
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Unavailable("the writer has stopped".to_owned())),
            Err(_) => Err(StoreError::Unavailable(
                "no commit within the deadline".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
