//! What a client finds beside it: the certificate that was chosen for a folder, its key, the address in a configuration, and
//! whose certificate it is.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::GeneralName;

use crate::host::layers::{ConfigError, table_of};
use crate::host::store::durable;

/// A path of the command line or a variable, which may be set to nothing: that says nothing.
///
/// # Errors
/// None.
pub fn path_or_nothing(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

/// The configuration that a command was given, or the one in the folder it runs in.
static CONFIG: OnceLock<PathBuf> = OnceLock::new();

/// Says which one it is, once for a process.
pub fn set_config(path: &Path) {
    // Who says it again says the same.
    drop(CONFIG.set(path.to_owned()));
}

/// The configuration of this process.
#[must_use]
pub fn config() -> &'static Path {
    CONFIG.get().map_or(Path::new(""), PathBuf::as_path)
}

/// A path as it is given; one that is not given, beside the configuration.
#[must_use]
pub fn beside_config(path: Option<&PathBuf>, default: &str) -> PathBuf {
    path.cloned().unwrap_or_else(|| folder().join(default))
}

/// Beside the configuration: the certificate that commands act with where none is given.
const CHOSEN: &str = ".writ-client";

fn folder() -> &'static Path {
    config().parent().unwrap_or(Path::new(""))
}

/// The certificate that was chosen for this folder: one of its `certs`, and nothing else that the file may say.
#[must_use]
pub fn chosen() -> Option<PathBuf> {
    let text = std::fs::read_to_string(folder().join(CHOSEN)).ok()?;
    let name = text.trim().strip_prefix("certs/")?.strip_suffix(".pem")?;
    let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']) && !name.starts_with('.');
    plain.then(|| folder().join(format!("certs/{name}.pem")))
}

/// Why nobody was chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// No certificate has the name, or more than one.
    #[error("{0}")]
    Name(String),
    /// The choice cannot be kept; where, and why.
    #[error("{0}")]
    Kept(String),
}

/// Certificates that can be chosen, by the name of their file: those in `certs` that have a key beside them.
#[must_use]
pub fn choices() -> Vec<String> {
    let entries = std::fs::read_dir(folder().join("certs"));
    let entries = entries.into_iter().flatten().filter_map(Result::ok);
    let paths = entries.map(|entry| entry.path());
    let paths = paths.filter(|path| path.extension().is_some_and(|end| end == "pem"));
    let usable = paths.filter(|path| key_beside(path).exists());
    let mut names: Vec<String> = usable
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Chooses a certificate for this folder by its name, with or without `agent-` or `operator-` before it; nobody where
/// there is no name.
///
/// # Errors
/// When no certificate, or more than one, has the name, or the choice cannot be kept.
pub fn choose(name: Option<&str>) -> Result<Option<PathBuf>, ChoiceError> {
    let kept = folder().join(CHOSEN);
    let failed = |error: std::io::Error| ChoiceError::Kept(format!("{}: {error}", kept.display()));
    let Some(name) = name else {
        return match std::fs::remove_file(&kept) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(None),
        };
    };
    let all = choices();
    let forms = ["", "agent-", "operator-"].map(|kind| format!("{kind}{name}"));
    let mut fits = forms.iter().filter(|form| all.contains(form));
    let certs = folder().join("certs");
    let found = fits.next().ok_or_else(|| {
        let (certs, known) = (certs.display(), all.join(", "));
        ChoiceError::Name(if all.is_empty() {
            format!(
                "{certs} has no certificate with a key: run this in the folder of the configuration"
            )
        } else {
            format!("{certs} has no certificate named {name}; there are {known}")
        })
    })?;
    if let Some(other) = fits.next() {
        let why =
            format!("{name} fits two certificates, {found} and {other}: write the whole name");
        return Err(ChoiceError::Name(why));
    }
    let cert = format!("certs/{found}.pem");
    durable::replace(&kept, format!("{cert}\n").as_bytes()).map_err(failed)?;
    Ok(Some(folder().join(cert)))
}

/// `keys/NAME-tls.pem` beside `certs/NAME.pem`, as `init` makes them.
#[must_use]
pub fn key_beside(cert: &Path) -> PathBuf {
    let name = cert.file_stem().and_then(|name| name.to_str());
    let beside = cert.parent().unwrap_or(Path::new(""));
    // A bare name lies in the folder one is in.
    let folder = beside.parent().unwrap_or(Path::new(".."));
    folder.join(format!("keys/{}-tls.pem", name.unwrap_or_default()))
}

/// `https://host:port` of the daemon that a configuration file is of; nothing where there is no such file. A daemon that
/// listens everywhere is reached on this machine.
///
/// # Errors
/// When the file is there and does not say it: the daemon at the usual address may be somebody else's.
pub fn address_beside(config: &Path) -> Result<Option<String>, ConfigError> {
    let name = config.display();
    let text = match std::fs::read_to_string(config) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ConfigError::invalid(format!("cannot read {name}: {error}"))),
    };
    let table = table_of(config, &text)?;
    let addr = table.get("server").and_then(|of| of.get("grpc_addr"));
    // A variable may say it instead.
    let Some(addr) = addr else { return Ok(None) };
    let addr = addr.as_str().and_then(|addr| addr.parse().ok());
    let Some::<std::net::SocketAddr>(addr) = addr else {
        let why = format!(
            "{name}: server.grpc_addr is no IP address and port such as \"127.0.0.1:7350\""
        );
        return Err(ConfigError::invalid(why));
    };
    Ok(Some(called(addr)))
}

/// How a daemon that listens there is called.
#[must_use]
pub fn called(addr: std::net::SocketAddr) -> String {
    let (ip, port) = (addr.ip(), addr.port());
    let host = match ip {
        std::net::IpAddr::V4(v4) if v4.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(v6) if v6.is_unspecified() => "[::1]".to_owned(),
        std::net::IpAddr::V4(v4) => v4.to_string(),
        std::net::IpAddr::V6(v6) => format!("[{v6}]"),
    };
    format!("https://{host}:{port}")
}

/// Whether a file holds a private key, such as one that was given as a certificate.
#[must_use]
pub fn holds_key(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY-----"))
}

/// The one URI in a certificate that says whose it is.
#[must_use]
pub fn uri_of(cert: &Path) -> Option<String> {
    let text = std::fs::read(cert).ok()?;
    let (_, pem) = parse_x509_pem(&text).ok()?;
    let parsed = pem.parse_x509().ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
    uris.next().filter(|_| uris.next().is_none())
}

/// The word behind a part of that URI, up to the next slash.
#[must_use]
pub fn word_of(cert: &Path, part: &str) -> Option<String> {
    let uri = uri_of(cert)?;
    let (_, rest) = uri.split_once(part)?;
    rest.split('/').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_looked_for_where_init_puts_it() {
        for (cert, key) in [
            ("certs/agent-a-b.pem", "keys/agent-a-b-tls.pem"),
            ("ops.pem", "../keys/ops-tls.pem"),
            ("/w/certs/ops.pem", "/w/keys/ops-tls.pem"),
        ] {
            assert_eq!(key_beside(Path::new(cert)), Path::new(key));
        }
    }

    #[test]
    fn the_address_of_a_configuration_can_be_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.toml");
        let table = [
            (
                "[server]\ngrpc_addr = \"127.0.0.1:9100\"",
                Some("https://127.0.0.1:9100"),
            ),
            (
                "[server]\ngrpc_addr = \"0.0.0.0:9100\"",
                Some("https://127.0.0.1:9100"),
            ),
            (
                "[server]\ngrpc_addr = \"[::]:9100\"",
                Some("https://[::1]:9100"),
            ),
            ("[server]\ngrpc_addr = \"[::1]:1\"", Some("https://[::1]:1")),
            ("[server]\ngrpc_addr = 5", None),
            ("not TOML", None),
        ];
        std::fs::write(&path, "[server]").unwrap();
        assert_eq!(address_beside(&path), Ok(None));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(address_beside(&path), Ok(None));
        for (text, wanted) in table {
            std::fs::write(&path, text).unwrap();
            let found = address_beside(&path);
            // A file that says nothing usable is not passed over.
            assert_eq!(found.ok().flatten().as_deref(), wanted, "{text}");
            assert_eq!(address_beside(&path).is_err(), wanted.is_none(), "{text}");
        }
        assert_eq!(uri_of(&path), None);
    }
}
