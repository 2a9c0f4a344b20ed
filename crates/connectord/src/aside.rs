//! Work that takes long at once, beside the threads that serve connections: there every other call would wait for it.

use tokio::sync::Semaphore;

/// Most pieces of such work at once: the threads are those that halts are set on, too.
const AT_ONCE_MAX: usize = 4;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

/// Does it, in its turn; nothing where it panicked.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let _place = PLACES.acquire().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}
