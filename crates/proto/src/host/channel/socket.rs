//! A channel to a program on the same machine, over a Unix socket in a folder that only its owner may write to.

use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// Connects to a socket of this machine.
#[derive(Debug, Clone)]
struct Socket(PathBuf);

impl Service<Uri> for Socket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move {
            let owner = check_folder(&path)?;
            let stream = UnixStream::connect(path).await?;
            check_peer(&stream, owner)?;
            Ok(TokioIo::new(stream))
        })
    }
}

/// Whoever may replace a socket, or a folder above it, is its server: nobody but the owner of its folder may. Where a folder
/// is for all, each may replace only what is his own (the sticky bit). Gives the owner of the folder.
fn check_folder(socket: &Path) -> io::Result<u32> {
    let folder = socket
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize()?;
    for above in folder.ancestors() {
        let mode = std::fs::metadata(above)?.mode();
        let is_sticky = mode & 0o1000 != 0 && above != folder;
        if mode & 0o022 != 0 && !is_sticky {
            let why = format!("others may write to {}: chmod go-w it", above.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
    }
    Ok(std::fs::metadata(&folder)?.uid())
}

/// That the server of a socket is the owner of its folder.
fn check_peer(stream: &UnixStream, owner: u32) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer == owner {
        return Ok(());
    }
    let why = format!("the user {peer} listens there, and the folder belongs to {owner}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// A channel to whoever listens on a socket. Nothing is connected before the first call.
#[must_use]
pub fn local(socket: &Path, timeout: Duration) -> Channel {
    // The address plays no part: the socket does.
    let endpoint = Endpoint::from_static("http://localhost");
    let endpoint = endpoint.timeout(timeout).connect_timeout(timeout);
    endpoint.connect_with_connector_lazy(Socket(socket.to_owned()))
}

#[cfg(test)]
mod tests;
