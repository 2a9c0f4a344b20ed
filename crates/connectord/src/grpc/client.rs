//! Channels to the daemons, with a client certificate. Used by the command line and by the
//! outbox.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use writ_proto::Reason;
use writ_proto::host::channel::signed::Signed;
use writ_proto::host::channel::{ChannelError, Peer, Pems, no_key};
use writ_proto::host::cli::client_files::AbsentKey;

use crate::error::AppError;
use crate::private_file::read_private;

/// Why a daemon would not take the certificate of this process, where it would not.
pub(crate) static FOREIGN: OnceLock<String> = OnceLock::new();

/// Certificate files of a client.
#[derive(Debug, Clone, Copy)]
pub struct ClientFiles<'a> {
    /// Certificate authority of the server, PEM.
    pub ca: &'a Path,
    /// Own certificate, PEM.
    pub cert: &'a Path,
    /// Own key, PEM.
    pub key: &'a Path,
}

fn read(path: &Path) -> Result<Vec<u8>, AppError> {
    std::fs::read(path).map_err(|error| {
        let name = path.display();
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => format!(
                "{name} is not there; call this in the folder that `policyd init` made, or name your files"
            ),
            _ => format!("{name}: {error}"),
        };
        AppError::new(Reason::TlsInvalid, why)
    })
}

/// Whoever names the certificate as the key is not told to make that private.
fn not_the_key(path: &Path, error: AppError) -> AppError {
    if error.reason != Reason::KeyFileMode {
        return error;
    }
    let named = path.display().to_string();
    let told = no_key(&named, &std::fs::read(path).unwrap_or_default());
    told.map_or(error, |why| {
        AppError::new(Reason::KeyInvalid, why).with_fix(
            "leave --key out where the key is in keys/ beside certs/, or name the file there",
        )
    })
}

/// A daemon that is called with a certificate, and known by its own.
///
/// # Errors
/// When a file is unusable, the certificate has expired or the address is no URL.
pub fn peer(
    (addr, service): (&str, &'static str),
    files: &ClientFiles<'_>,
    timeout: Duration,
) -> Result<Peer, AppError> {
    let peer = with_pems(files, |pems| Peer::new(addr, service, pems, timeout))?;
    if let Some(why) = peer.foreign() {
        tracing::warn!("{why}");
        // Said first, it is first.
        drop(FOREIGN.set(why.to_owned()));
    }
    Ok(peer)
}

/// What signs with a certificate for a service, and reads what others of it signed.
///
/// # Errors
/// When a file is unusable.
pub fn signed(service: &str, files: &ClientFiles<'_>) -> Result<Signed, AppError> {
    with_pems(files, |pems| Signed::new(service, pems))
}

fn with_pems<T>(
    files: &ClientFiles<'_>,
    make: impl FnOnce(&Pems<'_>) -> Result<T, ChannelError>,
) -> Result<T, AppError> {
    let (ca, cert) = (read(files.ca)?, read(files.cert)?);
    if !files.key.exists() {
        let absent = AbsentKey::of(files.key, (files.cert, &cert));
        let reason = match absent.is_certificate {
            true => Reason::KeyInvalid,
            false => Reason::TlsInvalid,
        };
        return Err(AppError::new(reason, absent.why).with_fix(absent.fix));
    }
    let key = read_private(files.key).map_err(|refusal| not_the_key(files.key, refusal.into()))?;
    let name = |path: &Path| path.display().to_string();
    let (ca_name, cert_name, key_name) = (name(files.ca), name(files.cert), name(files.key));
    let pems = Pems {
        ca: (&ca_name, &ca),
        cert: (&cert_name, &cert),
        key: (&key_name, key.as_bytes()),
        now: crate::clock::now().timestamp(),
    };
    Ok(make(&pems)?)
}
