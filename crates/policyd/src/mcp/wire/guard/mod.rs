//! Who is let in over HTTP: whoever shows the secret of this bridge and names this very address.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use writ_proto::Reason;
use zeroize::Zeroizing;

use crate::error::AppError;
use crate::{ids, keys};

/// Most requests at once; what comes beyond is refused.
const REQUESTS_MAX: usize = 64;

/// Whom a request may name and what it must show.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) hosts: [String; 3],
    secret: Zeroizing<String>,
    pub(crate) places: tokio::sync::Semaphore,
}

fn unusable(path: &Path, why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::KeyInvalid, format!("{}: {why}", path.display()))
}

/// The secret in a file of mode 0600, made if there is none.
///
/// # Errors
/// When the file cannot be made or read, others can read it, or it holds something else.
pub fn secret(path: &Path) -> Result<Zeroizing<String>, AppError> {
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let random = ids::salt().ok_or_else(|| AppError::of(Reason::Internal))?;
            let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random));
            std::io::Write::write_all(&mut file, text.as_bytes())
                .map_err(|error| unusable(path, error))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unusable(path, error)),
    }
    let text =
        keys::read_private(path).map_err(|error| AppError::new(error.reason, error.detail))?;
    let text = Zeroizing::new(text.trim().to_owned());
    match URL_SAFE_NO_PAD.decode(text.as_bytes()) {
        Ok(bytes) if bytes.len() == 32 => Ok(text),
        _ => Err(unusable(path, "it does not hold the secret of a bridge")),
    }
}

impl Door {
    pub(crate) fn of(addr: SocketAddr, secret: Zeroizing<String>) -> Self {
        let port = addr.port();
        Self {
            hosts: [
                format!("localhost:{port}"),
                format!("127.0.0.1:{port}"),
                format!("[::1]:{port}"),
            ],
            secret,
            places: tokio::sync::Semaphore::new(REQUESTS_MAX),
        }
    }

    /// Why a request stays outside, or nothing.
    pub(crate) fn refuses(&self, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        let one = |name| {
            let mut all = headers.get_all(name).iter();
            let first = all.next();
            (
                first.and_then(|value| value.to_str().ok()),
                all.next().is_some(),
            )
        };
        let is_ours = |host: &str| self.hosts.iter().any(|own| own == host);
        match one(header::HOST) {
            (Some(host), false) if is_ours(host) => {}
            _ => return Some((StatusCode::FORBIDDEN, "this Host is not served here")),
        }
        if headers.contains_key(header::ORIGIN) {
            let origin = one(header::ORIGIN);
            let host = origin.0.and_then(|origin| origin.strip_prefix("http://"));
            if origin.1 || !host.is_some_and(is_ours) {
                return Some((StatusCode::FORBIDDEN, "this Origin is not served here"));
            }
        }
        let shown = match one(header::AUTHORIZATION) {
            (Some(text), false) => text.strip_prefix("Bearer ").unwrap_or_default(),
            _ => "",
        };
        if bool::from(shown.as_bytes().ct_eq(self.secret.as_bytes())) {
            None
        } else {
            Some((StatusCode::UNAUTHORIZED, "show the secret of this bridge"))
        }
    }
}

#[cfg(test)]
mod tests;
