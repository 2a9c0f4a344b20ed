//! Private keys on disk: read with their file mode checked, never printed, wiped when dropped.

mod rotation;

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
pub use rotation::{Rotation, lock, next_of, publish};
use writ_proto::Reason;
use zeroize::Zeroizing;

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {detail}", reason.code())]
pub struct KeyError {
    /// The stable code.
    pub reason: Reason,
    /// Which file, and what to do.
    pub detail: String,
}

fn invalid(path: &Path, why: impl core::fmt::Display) -> KeyError {
    let detail = format!("{}: {why}", path.display());
    KeyError {
        reason: Reason::KeyInvalid,
        detail,
    }
}

/// Refuses a private file that others can read or write.
///
/// # Errors
/// `KEY_FILE_MODE` with the command that repairs it, `KEY_INVALID` when there is no file.
pub fn check_mode(path: &Path) -> Result<(), KeyError> {
    let mode = std::fs::metadata(path)
        .map_err(|error| invalid(path, error))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let detail = format!(
        "{} has mode {:o}, others can use it. Fix: chmod 600 {}",
        path.display(),
        mode & 0o777,
        path.display()
    );
    Err(KeyError {
        reason: Reason::KeyFileMode,
        detail,
    })
}

/// Reads a private text file of mode 0600.
///
/// # Errors
/// As [`check_mode`].
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    check_mode(path)?;
    let text = std::fs::read_to_string(path).map_err(|error| invalid(path, error))?;
    Ok(Zeroizing::new(text))
}

/// Reads an Ed25519 key, PKCS#8 PEM.
///
/// # Errors
/// As [`check_mode`], and `KEY_INVALID` for any other content.
pub fn load(path: &Path) -> Result<SigningKey, KeyError> {
    let text = read_private(path)?;
    SigningKey::from_pkcs8_pem(&text).map_err(|error| invalid(path, error))
}

/// Makes an Ed25519 key and writes it with mode 0600; refuses to overwrite.
///
/// # Errors
/// `KEY_INVALID` when there is no randomness or the file cannot be made.
pub fn create(path: &Path) -> Result<SigningKey, KeyError> {
    let seed = Zeroizing::new(
        crate::ids::salt().ok_or_else(|| invalid(path, "the system gave no randomness"))?,
    );
    let key = SigningKey::from_bytes(&seed);
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| invalid(path, error))?;
    write_private(path, pem.as_bytes())?;
    Ok(key)
}

/// Writes a new file with mode 0600; refuses to overwrite.
///
/// # Errors
/// `KEY_INVALID` when the file is there or cannot be made.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| invalid(path, error))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| invalid(path, error))
}

#[cfg(test)]
mod tests;
