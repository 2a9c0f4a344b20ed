//! A channel to a program on the same machine, over a Unix socket in a folder that only its owner may write to.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
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
            check_folder(&path)?;
            UnixStream::connect(path).await.map(TokioIo::new)
        })
    }
}

/// Whoever may replace a socket is its server: nobody but the owner of its folder may.
fn check_folder(socket: &Path) -> io::Result<()> {
    let folder = socket.parent().unwrap_or(Path::new("."));
    let mode = std::fs::metadata(folder)?.permissions().mode();
    if mode & 0o022 == 0 {
        return Ok(());
    }
    let why = format!("others may write to {}: chmod 750 it", folder.display());
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
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_write_to_has_no_socket_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        for (mode, good) in [(0o700, true), (0o755, true), (0o775, false), (0o757, false)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path(), permissions).unwrap();
            assert_eq!(check_folder(&socket).is_ok(), good, "{mode:o}");
        }
    }
}
