//! Channels to the daemons, with a client certificate. Used by the command line and by the watch
//! of connectord's halts.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tonic::Status;
use tonic_types::StatusExt as _;
use writ_proto::host::channel::{Peer, Pems, no_key};
use writ_proto::host::cli::client_files::AbsentKey;
use writ_proto::{Reason, pb};

use crate::domain::request::SELF_REPORT;
use crate::error::AppError;
use crate::keys;

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

/// An item of evidence as it is written in JSON. `argument`, `source` and `extractor` go together.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quoted {
    /// What kind of document.
    #[serde(rename = "type")]
    kind: String,
    /// Its id.
    id: String,
    /// What stands there.
    quote: String,
    /// SHA-256 of the text, in hex.
    sha256: String,
    /// The argument whose value stands in the quote.
    argument: String,
    /// Where the text is.
    source: Option<QuotedSource>,
    /// `literal`, `enum`, `date` or `money`.
    extractor: String,
}

/// A text of a system of record, as it is written in JSON.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotedSource {
    #[serde(default)]
    connection: String,
    object_type: String,
    object_id: String,
    text: String,
}

/// Items of evidence, and which arguments the agent is not sure of.
///
/// # Errors
/// What is wrong with an item.
pub fn evidence(quoted: &[Quoted], uncertain: &[String]) -> Result<Vec<pb::Evidence>, AppError> {
    let malformed = |why: &str| AppError::new(Reason::RequestMalformed, format!("evidence: {why}"));
    let item = |item: &Quoted| {
        let extractor = match item.extractor.as_str() {
            "" => pb::Extractor::Unspecified,
            "literal" => pb::Extractor::Literal,
            "enum" => pb::Extractor::Enum,
            "date" => pb::Extractor::Date,
            "money" => pb::Extractor::Money,
            _ => return Err(malformed("the extractor is literal, enum, date or money")),
        };
        let source = item.source.as_ref().map(|source| pb::TextSource {
            connection: source.connection.clone(),
            object_type: source.object_type.clone(),
            object_id: source.object_id.clone(),
            text: source.text.clone(),
        });
        Ok(pb::Evidence {
            r#type: item.kind.clone(),
            id: item.id.clone(),
            quote: item.quote.clone(),
            sha256: hex::decode(&item.sha256).map_err(|_| malformed("sha256 is written in hex"))?,
            uncertain_fields: Vec::new(),
            argument: item.argument.clone(),
            source,
            extractor: extractor.into(),
        })
    };
    let mut all: Vec<pb::Evidence> = quoted.iter().map(item).collect::<Result<_, _>>()?;
    all.extend(self_report(uncertain));
    Ok(all)
}

/// An agent's own word on which arguments it is not sure of, as evidence; empty without any.
#[must_use]
fn self_report(uncertain: &[String]) -> Vec<pb::Evidence> {
    if uncertain.is_empty() {
        return Vec::new();
    }
    vec![pb::Evidence {
        r#type: SELF_REPORT.to_owned(),
        uncertain_fields: uncertain.to_vec(),
        ..pb::Evidence::default()
    }]
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
    let (ca, cert) = (read(files.ca)?, read(files.cert)?);
    if !files.key.exists() {
        let absent = AbsentKey::of(files.key, (files.cert, &cert));
        let reason = match absent.is_certificate {
            true => Reason::KeyInvalid,
            false => Reason::TlsInvalid,
        };
        return Err(AppError::new(reason, absent.why).with_fix(absent.fix));
    }
    let key = keys::read_private(files.key)
        .map_err(|error| not_the_key(files.key, AppError::new(error.reason, error.detail)))?;
    let name = |path: &Path| path.display().to_string();
    let (ca_name, cert_name, key_name) = (name(files.ca), name(files.cert), name(files.key));
    let pems = Pems {
        ca: (&ca_name, &ca),
        cert: (&cert_name, &cert),
        key: (&key_name, key.as_bytes()),
        now: crate::clock::now().timestamp(),
    };
    let peer = Peer::new(addr, service, &pems, timeout)?;
    if let Some(why) = peer.foreign() {
        tracing::warn!("{why}");
        // Said first, it is first.
        drop(FOREIGN.set(why.to_owned()));
    }
    Ok(peer)
}

/// A failure as the daemon told it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
pub(crate) fn failed(status: Status) -> AppError {
    let info = status.get_details_error_info();
    let reason = info
        .as_ref()
        .and_then(|info| Reason::from_code(&info.reason));
    let fix = info.and_then(|info| info.metadata.get("fix").cloned());
    let Some(reason) = reason else {
        // A certificate that is not taken ends the connection without a word.
        return match FOREIGN.get() {
            Some(why) => AppError::new(Reason::TlsInvalid, format!("{why} ({})", cause(&status)))
                .with_fix("give --cert and --cacert of the folder that the daemon was made in"),
            None => AppError::new(Reason::Unavailable, cause(&status)),
        };
    };
    let message = status.message();
    let public = message
        .strip_prefix(reason.code())
        .unwrap_or(message)
        .trim()
        .to_owned();
    let error = AppError::new(reason, public);
    match fix.filter(|fix| fix != reason.fix()) {
        Some(fix) => error.with_fix(fix),
        None => error,
    }
}

/// Why a call without an answer of the daemon failed: what lies at the bottom.
fn cause(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}
