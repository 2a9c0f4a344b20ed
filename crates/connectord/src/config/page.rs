//! What the HTTP port needs of a configuration: all that `connectord halt-server` reads of one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use writ_proto::Reason;

use super::{ConfigError, HaltConfig, Layers};
use crate::error::AppError;
use crate::halt::Place;
use crate::private_file::read_private;

const HOSTS_MAX: usize = 32;
const HOST_BYTES_MAX: usize = 255;

/// `http_*` of `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Without TLS, on loopback only: to try it, or behind a proxy that ends TLS.
    pub plaintext: bool,
    /// Names under which it is reached.
    pub hosts: Vec<String>,
}

impl HttpConfig {
    /// Checks the three values.
    ///
    /// # Errors
    /// When plaintext would leave the machine, or a name cannot be one of a host.
    pub fn new(addr: SocketAddr, plaintext: bool, hosts: Vec<String>) -> Result<Self, ConfigError> {
        if plaintext && !addr.ip().is_loopback() {
            let detail = format!("server.http_plaintext is for loopback only, not for {addr}");
            return Err(ConfigError::invalid(detail));
        }
        let fits = |name: &String| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
            !name.is_empty() && name.len() <= HOST_BYTES_MAX && name.bytes().all(plain)
        };
        if hosts.len() > HOSTS_MAX || !hosts.iter().all(fits) {
            let detail =
                format!("server.http_hosts is at most {HOSTS_MAX} names such as halt.example");
            return Err(ConfigError::invalid(detail));
        }
        Ok(Self {
            addr,
            plaintext,
            hosts,
        })
    }
}

/// The part of a configuration that a page server of its own reads. What else there is belongs to
/// connectord and is left alone.
#[derive(Debug, Clone)]
pub struct PageConfig {
    /// The port.
    pub http: HttpConfig,
    /// Where the halts are.
    pub halt: Place,
    tls: Option<TlsFiles>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    server: RawServer,
    tls: Option<TlsFiles>,
    halt: HaltConfig,
}

#[derive(Default, Deserialize)]
struct RawServer {
    http_addr: Option<SocketAddr>,
    #[serde(default)]
    http_plaintext: bool,
    #[serde(default)]
    http_hosts: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct TlsFiles {
    cert: PathBuf,
    key_file: PathBuf,
}

impl PageConfig {
    /// Reads what it needs; an address given as a flag goes first.
    ///
    /// # Errors
    /// When something is missing or out of range.
    pub fn from_layers(
        layers: &Layers,
        file: &Path,
        addr: Option<SocketAddr>,
    ) -> Result<Self, ConfigError> {
        let Raw {
            server,
            tls,
            mut halt,
        } = layers.shape()?;
        let missing = || ConfigError::invalid("server.http_addr says where the page is served");
        let addr = addr.or(server.http_addr).ok_or_else(missing)?;
        let base = file.parent().unwrap_or_else(|| Path::new("."));
        halt.rebase(base)?;
        let tls = tls.map(|tls| TlsFiles {
            cert: base.join(tls.cert),
            key_file: base.join(tls.key_file),
        });
        Ok(Self {
            http: HttpConfig::new(addr, server.http_plaintext, server.http_hosts)?,
            halt: halt.place,
            tls,
        })
    }

    /// Where the halts of a configuration are, whether or not it serves a page.
    ///
    /// # Errors
    /// When `[halt]` is missing or malformed.
    pub fn place(layers: &Layers, file: &Path) -> Result<Place, ConfigError> {
        let Raw { mut halt, .. } = layers.shape()?;
        halt.rebase(file.parent().unwrap_or_else(|| Path::new(".")))?;
        Ok(halt.place)
    }

    /// Where people reach the page, as far as the configuration says.
    ///
    /// # Errors
    /// When `[server]` or `[halt]` is malformed.
    pub fn url(layers: &Layers) -> Result<String, ConfigError> {
        let Raw { server, .. } = layers.shape()?;
        if let Some(host) = server.http_hosts.first() {
            return Ok(format!("https://{host}"));
        }
        let scheme = if server.http_plaintext {
            "http"
        } else {
            "https"
        };
        let port = server
            .http_addr
            .map_or(String::new(), |addr| format!(":{}", addr.port()));
        Ok(format!("{scheme}://localhost{port}"))
    }

    /// TLS of the port; none where it is plaintext.
    ///
    /// # Errors
    /// When the certificate or the key cannot be used.
    pub fn page_tls(&self) -> Result<Option<Arc<rustls::ServerConfig>>, AppError> {
        let Some(files) = self.tls.as_ref().filter(|_| !self.http.plaintext) else {
            if self.http.plaintext {
                return Ok(None);
            }
            let text = "[tls] names no certificate, and server.http_plaintext is false";
            return Err(AppError::new(Reason::TlsInvalid, text));
        };
        page_tls(&files.cert, &files.key_file).map(Some)
    }
}

/// TLS of a page from files.
///
/// # Errors
/// When the certificate or the key cannot be used.
pub fn page_tls(cert: &Path, key_file: &Path) -> Result<Arc<rustls::ServerConfig>, AppError> {
    let key = read_private(key_file)?;
    let tls = writ_proto::host::serve::http::tls(cert, &key);
    tls.map_err(|why| AppError::new(Reason::TlsInvalid, why))
}

#[cfg(test)]
mod tests;
