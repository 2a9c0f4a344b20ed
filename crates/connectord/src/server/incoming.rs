//! Accepts connections up to a limit. One more is closed at once instead of queued: whoever holds
//! sockets open takes nothing from the calls that are served (threats.md R24).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::Stream;
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

/// A stream of connections of which at most so many are open.
#[derive(Debug)]
pub(super) struct Incoming {
    inner: TcpIncoming,
    slots: Arc<Semaphore>,
}

impl Incoming {
    /// Accepts from a listener.
    pub(super) fn new(listener: TcpListener, connections_max: usize) -> Self {
        Self {
            inner: TcpIncoming::from(listener).with_nodelay(Some(true)),
            slots: Arc::new(Semaphore::new(connections_max)),
        }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Counted>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let stream = match Pin::new(&mut self.inner).poll_next(cx) {
                Poll::Ready(Some(Ok(stream))) => stream,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            };
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                return Poll::Ready(Some(Ok(Counted {
                    stream,
                    _slot: slot,
                })));
            }
            tracing::warn!("too many connections; one is closed");
        }
    }
}

/// A connection that gives its slot back when it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    stream: TcpStream,
    _slot: OwnedSemaphorePermit,
}

impl Connected for Counted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio_stream::StreamExt as _;

    #[tokio::test]
    async fn a_connection_beyond_the_limit_is_closed_and_a_closed_one_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut incoming = Incoming::new(listener, 1);
        let _first = TcpStream::connect(addr).await.unwrap();
        let held = incoming.next().await.unwrap().unwrap();
        let mut second = TcpStream::connect(addr).await.unwrap();
        let accepting = tokio::spawn(async move { incoming.next().await.unwrap().unwrap() });
        assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0, "closed at once");
        drop(held);
        let _third = TcpStream::connect(addr).await.unwrap();
        accepting.await.unwrap();
    }
}
