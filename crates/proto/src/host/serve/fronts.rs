//! One single-threaded runtime a core serves the connections: everything of a connection stays on
//! one thread, and the answers of one commit leave in few packets (docs/performance.md).

use std::future::Future;
use std::sync::Arc;
use std::{io, thread};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::host::serve::incoming::{Accepted, Incoming};

/// Most open connections. One more is closed at once instead of queued: whoever holds sockets
/// open takes nothing from the calls that are served.
pub const CONNECTIONS_MAX: usize = 1_024;
const HANDOVER_MAX: usize = 64;
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Says that a front has ended, however it did.
struct Ending {
    ended: mpsc::Sender<()>,
    drained: Arc<watch::Sender<usize>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // One is enough: the others are told to stop then.
        let _full = self.ended.try_send(());
        self.drained
            .send_modify(|count| *count = count.saturating_add(1));
    }
}

/// Becomes ready when the daemon is told to stop.
#[derive(Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits for it.
    pub async fn requested(mut self) {
        // A sender that is gone means the same.
        drop(self.0.wait_for(|stop| *stop).await);
    }
}

/// Serves connections on so many threads until `stop` is done, and waits for the calls in flight.
/// `serve` makes the service of one front.
///
/// # Errors
/// When a thread cannot be started, or a front ended by itself.
pub async fn serve<S, F, E>(
    listener: TcpListener,
    (threads, connections_max): (usize, usize),
    stop: impl Future<Output = ()>,
    serve: S,
) -> io::Result<()>
where
    S: Fn(Incoming, Stop) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let (stopping, stopped) = watch::channel(false);
    let (ended, mut any_ended) = mpsc::channel(1);
    let mut fronts = Vec::new();
    let fronts_total = threads.max(1);
    let drained = Arc::new(watch::channel(0_usize).0);
    for number in 0..fronts_total {
        let (hand, handed) = mpsc::channel::<Accepted>(HANDOVER_MAX);
        let (serve, stop) = (serve.clone(), stopped.clone());
        let ending = Ending {
            ended: ended.clone(),
            drained: Arc::clone(&drained),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let work = move || {
            runtime.block_on(async {
                let mut all = ending.drained.subscribe();
                let served = serve(Incoming(handed), Stop(stop)).await;
                drop(ending);
                // The others may still wait for work that runs on this thread.
                drop(all.wait_for(|count| *count >= fronts_total).await);
                served.map_err(io::Error::other)
            })
        };
        let thread = thread::Builder::new().name(format!("front-{number}"));
        fronts.push((hand, thread.spawn(work)?));
    }
    let (hands, threads): (Vec<_>, Vec<_>) = fronts.into_iter().unzip();
    tokio::select! {
        () = stop => {}
        _ = any_ended.recv() => {}
        () = accept(&listener, connections_max, &hands) => {}
    }
    drop(listener);
    let _all_gone = stopping.send(true);
    drop(hands);
    let joined = tokio::task::spawn_blocking(move || {
        let mut result = Ok(());
        for thread in threads {
            let ended = thread.join();
            result =
                result.and(ended.unwrap_or_else(|_| Err(io::Error::other("a front panicked"))));
        }
        result
    });
    joined.await.map_err(io::Error::other)?
}

async fn accept(listener: &TcpListener, connections_max: usize, hands: &[mpsc::Sender<Accepted>]) {
    let slots = Arc::new(Semaphore::new(connections_max));
    let mut turn = hands.iter().cycle();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(hand) = turn.next() {
                    hand_over(stream, &slots, hand);
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: what is open goes on.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn hand_over(stream: TcpStream, slots: &Arc<Semaphore>, hand: &mpsc::Sender<Accepted>) {
    let slot = Arc::clone(slots).try_acquire_owned().ok();
    let ready = stream.set_nodelay(true).and_then(|()| stream.into_std());
    let handed = slot
        .zip(ready.ok())
        .is_some_and(|(slot, stream)| hand.try_send((stream, slot)).is_ok());
    if !handed {
        tracing::warn!("too many connections; one is closed");
    }
}

#[cfg(test)]
mod tests;
