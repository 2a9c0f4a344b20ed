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
    let certs = folder().join("certs");
    let found = fitting(&all, name).map_err(|fits| {
        let (certs, known) = (certs.display(), all.join(", "));
        ChoiceError::Name(match fits.as_slice() {
            [one, other, ..] => {
                format!("{name} fits two certificates, {one} and {other}: write the whole name")
            }
            _ if all.is_empty() => format!(
                "{certs} has no certificate with a key: run this in the folder of the configuration"
            ),
            _ => format!("{certs} has no certificate named {name}; there are {known}"),
        })
    })?;
    let cert = format!("certs/{found}.pem");
    durable::replace(&kept, format!("{cert}\n").as_bytes()).map_err(failed)?;
    Ok(Some(folder().join(cert)))
}

/// The certificate that somebody names: a file, or else one of `certs` by its name, as it is chosen with.
#[must_use]
pub fn named(given: PathBuf) -> PathBuf {
    let name = given
        .to_str()
        .filter(|name| !given.is_file() && !name.contains(['/', '\\']));
    let all = choices();
    let found = name.and_then(|name| fitting(&all, name).ok());
    let path = found.map(|found| folder().join(format!("certs/{found}.pem")));
    path.unwrap_or(given)
}

/// The one name that fits, or those that do.
fn fitting<'a>(all: &'a [String], name: &str) -> Result<&'a String, Vec<&'a String>> {
    let forms = ["", "agent-", "operator-"].map(|kind| format!("{kind}{name}"));
    let fits: Vec<&String> = forms
        .iter()
        .filter_map(|form| all.iter().find(|one| *one == form))
        .collect();
    match fits.as_slice() {
        [one] => Ok(one),
        _ => Err(fits),
    }
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

/// The address that is given, or that of the variable that the daemon itself takes it from, or that of its configuration,
/// or the usual one.
///
/// # Errors
/// When the variable or the configuration is there and does not say it.
pub fn address_of(
    given: Option<&String>,
    (variable, set): (&str, Option<String>),
    (config, usual): (&Path, &str),
) -> Result<String, ConfigError> {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        return Ok(given.clone());
    }
    if let Some(text) = set.filter(|text| !text.is_empty()) {
        let why = format!("{variable}: `{text}` is no IP address and port such as 127.0.0.1:7350");
        return text
            .parse()
            .map(called)
            .map_err(|_| ConfigError::invalid(why));
    }
    let beside = address_beside(config)?;
    Ok(beside.unwrap_or_else(|| usual.to_owned()))
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

/// What is wrong where the key beside a certificate is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentKey {
    /// Whether what was given as the certificate is one; often it is not.
    pub is_certificate: bool,
    /// What is wrong.
    pub why: String,
    /// What mends it.
    pub fix: &'static str,
}

impl AbsentKey {
    /// Of a key that is not there, beside a certificate of some content.
    #[must_use]
    pub fn of(key: &Path, (cert, text): (&Path, &[u8])) -> Self {
        let text = String::from_utf8_lossy(text);
        let is_certificate = text.contains("-----BEGIN CERTIFICATE");
        let (key, cert) = (key.display(), cert.display());
        let (why, fix) = if is_certificate {
            (
                format!("{key}, the key of {cert}, is not there"),
                "correct --cert and --key, such as certs/agent-TENANT-NAME.pem and keys/agent-TENANT-NAME-tls.pem; of a daemon, \
                 tls.cert and tls.key_file of its configuration",
            )
        } else if text.contains("PRIVATE KEY-----") {
            (
                format!("{cert} is a private key, not a certificate"),
                "--cert takes the certificate, such as certs/agent-TENANT-NAME.pem; its key goes with --key",
            )
        } else {
            (
                format!("{cert} is no certificate"),
                "--cert takes a certificate, such as certs/agent-TENANT-NAME.pem",
            )
        };
        Self {
            is_certificate,
            why,
            fix,
        }
    }
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
    fn a_key_that_is_not_there_is_told_by_what_was_given_as_the_certificate() {
        for (text, is_certificate, why) in [
            (
                "-----BEGIN CERTIFICATE-----",
                true,
                "k.pem, the key of c.pem, is not there",
            ),
            (
                "-----BEGIN PRIVATE KEY-----",
                false,
                "c.pem is a private key, not a certificate",
            ),
            ("hello", false, "c.pem is no certificate"),
        ] {
            let cert = (Path::new("c.pem"), text.as_bytes());
            let absent = AbsentKey::of(Path::new("k.pem"), cert);
            assert_eq!(
                (absent.is_certificate, absent.why.as_str()),
                (is_certificate, why)
            );
        }
    }

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
    fn a_name_fits_one_certificate_or_none() {
        let all = [
            "agent-acme-ops",
            "agent-acme-triage",
            "ops",
            "operator-acme-ops",
        ];
        let all = all.map(str::to_owned);
        let one = |name| fitting(&all, name).map(String::as_str);
        assert_eq!(one("acme-triage"), Ok("agent-acme-triage"));
        assert_eq!(one("ops"), Ok("ops"));
        assert_eq!(one("operator-acme-ops"), Ok("operator-acme-ops"));
        assert_eq!(one("acme-ops").unwrap_err().len(), 2);
        assert!(one("triage").unwrap_err().is_empty());
        // A file is itself, and so is what has the form of a path.
        for path in ["./ops", "certs/ops.pem", "nowhere"] {
            assert_eq!(named(path.into()), Path::new(path));
        }
    }

    #[test]
    fn an_address_comes_from_the_nearest_place_that_says_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.toml");
        let of = |given: &str, variable: Option<&str>| {
            let variable = ("DAEMON_ADDR", variable.map(str::to_owned));
            address_of(Some(&given.to_owned()), variable, (&path, "usual"))
        };
        assert_eq!(of("", None).as_deref(), Ok("usual"));
        std::fs::write(&path, "[server]\ngrpc_addr = \"127.0.0.1:9100\"").unwrap();
        assert_eq!(of("", None).as_deref(), Ok("https://127.0.0.1:9100"));
        let variable = Some("127.0.0.1:9200");
        assert_eq!(of("", variable).as_deref(), Ok("https://127.0.0.1:9200"));
        assert_eq!(of("given", variable).as_deref(), Ok("given"));
        std::fs::write(&path, "not TOML").unwrap();
        assert!(of("", None).is_err() && of("", variable).is_ok());
        let wrong = of("", Some("localhost:9200")).unwrap_err().to_string();
        assert!(wrong.contains("DAEMON_ADDR: `localhost:9200`"), "{wrong}");
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
