//! The address of a Redis.

use std::path::PathBuf;
use std::time::Duration;

use redis::IntoConnectionInfo as _;

use super::super::HaltError;
use super::failed;

/// Where it is and how far it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisPlace {
    /// `redis://127.0.0.1:6379/0`.
    pub url: String,
    /// How old what was read may be.
    pub max_staleness: Duration,
    /// Keeps the highest epoch that was seen, so that a restored backup is noticed.
    pub epoch_file: Option<PathBuf>,
}

impl RedisPlace {
    /// Checks an address: without TLS it is loopback, and there is no TLS.
    ///
    /// # Errors
    /// When the text is no address of a Redis that may be used.
    pub fn check(url: &str) -> Result<(), HaltError> {
        if url.starts_with("rediss://") {
            let why = "rediss:// is not supported; use redis:// on loopback, with a TLS tunnel";
            return Err(failed(why));
        }
        let info = url.into_connection_info().map_err(failed)?;
        match info.addr() {
            redis::ConnectionAddr::Tcp(host, _)
                if ["127.0.0.1", "::1", "localhost"].contains(&host.as_str()) =>
            {
                Ok(())
            }
            _ => Err(failed(
                "redis:// is not encrypted and may only be on loopback",
            )),
        }
    }
}
