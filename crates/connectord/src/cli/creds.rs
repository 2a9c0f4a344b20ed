//! `connectord creds`: secrets come from a file or standard input and are never printed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use writ_proto::Reason;
use writ_proto::ids::ConnectionId;
use writ_proto::toml_flaw::near;
use zeroize::Zeroizing;

use super::Common;
use crate::clock;
use crate::config::Config;
use crate::config::credential::CredentialFrom;
use crate::credentials::CredentialStore;
use crate::error::AppError;
use crate::output::Output;
use crate::system::file::Bound;

/// Sealed credentials.
#[derive(Debug, Subcommand)]
pub(super) enum CredsCommand {
    /// Add the credential of a connection.
    Add(Put),
    /// Replace it.
    Rotate(Put),
    /// What there is.
    Ls,
    /// Forget it.
    Rm {
        /// Connection id.
        connection: String,
    },
}

/// Whose secret, and where it comes from.
#[derive(Debug, Args)]
pub(super) struct Put {
    /// Connection id.
    connection: String,
    /// A file; standard input if absent.
    #[arg(long)]
    file: Option<PathBuf>,
    /// A part that `secret` of the system file names, and the file that holds it, such as client_secret=FILE; once for each.
    #[arg(long = "part", value_name = "NAME=FILE", conflicts_with = "file")]
    parts: Vec<String>,
}

const SECRET_BYTES_MAX: u64 = 16 * 1_024;

/// A text without its last line break.
fn read_from(from: &str, reader: impl Read) -> Result<Zeroizing<String>, AppError> {
    let mut text = Zeroizing::new(String::new());
    let beyond = SECRET_BYTES_MAX.saturating_add(1);
    let read = reader.take(beyond).read_to_string(&mut text);
    let read =
        read.map_err(|error| AppError::new(Reason::CredentialMissing, format!("{from}: {error}")))?;
    if u64::try_from(read).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
        let why = format!("{from}: a secret has at most {SECRET_BYTES_MAX} bytes");
        return Err(AppError::new(Reason::RequestTooLarge, why));
    }
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, AppError> {
    let from = path.display().to_string();
    let file = std::fs::File::open(path);
    let file =
        file.map_err(|error| AppError::new(Reason::CredentialMissing, format!("{from}: {error}")))?;
    read_from(&from, file)
}

fn secret(args: &Put) -> Result<Zeroizing<String>, AppError> {
    if let Some(path) = &args.file {
        return read_file(path);
    }
    if args.parts.is_empty() {
        return read_from("standard input", std::io::stdin());
    }
    let malformed = |why: String| AppError::new(Reason::RequestMalformed, why);
    let mut named = BTreeMap::new();
    for part in &args.parts {
        let (name, file) = part
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| malformed(format!("--part {part}: NAME=FILE is wanted")))?;
        let text = read_file(Path::new(file))?;
        if text.is_empty() {
            return Err(malformed(format!("--part {name}: {file} is empty")));
        }
        if named.insert(name, text).is_some() {
            return Err(malformed(format!("--part {name} is given twice")));
        }
    }
    let named: BTreeMap<&str, &str> = named
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let json = serde_json::to_string(&named).map_err(|error| malformed(error.to_string()))?;
    Ok(Zeroizing::new(json))
}

/// The parts that the system file of a connection names, where there is one that can be read.
fn parts_of(config: &Config, connection: &str) -> Option<Vec<String>> {
    let mut all = config.connection.iter();
    let known = all.find(|one| one.name == connection)?;
    let file = format!("{}.toml", known.system);
    let text = std::fs::read_to_string(config.systems.dir.join(file)).ok()?;
    let parts = Bound::compile(&text).ok()?.auth.parts().to_vec();
    (!parts.is_empty()).then_some(parts)
}

/// Refuses parts that the system file of a connection does not have, or lacks.
fn check_parts(args: &Put, wanted: Option<Vec<String>>) -> Result<(), AppError> {
    let Some(wanted) = wanted.filter(|_| !args.parts.is_empty()) else {
        return Ok(());
    };
    let given: Vec<&str> = args
        .parts
        .iter()
        .filter_map(|part| part.split('=').next())
        .collect();
    let unknown = given
        .iter()
        .find(|name| !wanted.iter().any(|part| part == *name));
    let lacking = wanted.iter().find(|part| !given.contains(&part.as_str()));
    let why = match (unknown, lacking) {
        (None, None) => return Ok(()),
        (Some(name), _) => format!("there is no part `{name}`"),
        (None, Some(part)) => format!("the part `{part}` is not given"),
    };
    let why = format!(
        "{}: {why}; the system file names {}",
        args.connection,
        wanted.join(", ")
    );
    Err(AppError::new(Reason::RequestMalformed, why))
}

/// A connection that is a letter away from one of the configuration is a slip; any other may come later.
fn check_known(name: &str, known: &[String], output: Output) -> Result<(), AppError> {
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    if let Some(near) = near(name, known.iter().map(String::as_str)) {
        let message =
            format!("the configuration has no connection `{name}`. Did you mean `{near}`?");
        return Err(
            AppError::new(Reason::UnknownConnection, message).with_fix(
                "name the connection as connectord.toml does, or add a [[connection]] of this name there first",
            ),
        );
    }
    let known = match known {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    output.note(&format!(
        "WARNING: connectord.toml has no connection {name} (it has {known}), so nothing uses this credential until a \
         [[connection]] has that name; connectord creds rm {name} forgets it"
    ));
    Ok(())
}

/// Two connections with one refresh token end each other.
fn check_alone(store: &CredentialStore, name: &str, secret: &str) -> Result<(), AppError> {
    let Some(other) = store.shared_with(name, secret)? else {
        return Ok(());
    };
    let why = format!(
        "{name}: {other} has the same refresh token, and each is good once: the second one to use it would end both"
    );
    let error = AppError::new(Reason::RequestMalformed, why);
    Err(error.with_fix("authorize this connection on its own, and add that refresh token"))
}

/// Refuses what is there already, or, for a rotation, is not.
fn check_there(adds: bool, name: &str, there: bool) -> Result<(), AppError> {
    match (adds, there) {
        (true, true) => {
            let why = "a credential exists already; replace it with connectord creds rotate";
            Err(AppError::new(
                Reason::RequestMalformed,
                format!("{name}: {why}"),
            ))
        }
        (false, false) => {
            let why = "there is no credential to replace; add one with connectord creds add";
            Err(AppError::new(
                Reason::CredentialMissing,
                format!("{name}: {why}"),
            ))
        }
        (true, false) | (false, true) => Ok(()),
    }
}

/// Connections whose credential is not in the sealed file, and where it is.
fn elsewhere(config: &Config) -> Vec<(&str, String)> {
    let all = config.connection.iter();
    let place = |from: &CredentialFrom| match from {
        CredentialFrom::File(path) => path.display().to_string(),
        CredentialFrom::Systemd(id) => format!("systemd {id}"),
        CredentialFrom::Vault(path) => format!("vault {path}"),
    };
    let named = all.filter_map(|one| Some((one.name.as_str(), place(one.credential.as_ref()?))));
    named.collect()
}

/// A sealed credential that nothing would use is not taken.
fn check_sealed(config: &Config, name: &str) -> Result<(), AppError> {
    let mut all = elsewhere(config).into_iter();
    let Some((_, place)) = all.find(|(other, _)| *other == name) else {
        return Ok(());
    };
    let why = format!("{name}: its credential is in {place}, as connectord.toml says");
    let error = AppError::new(Reason::RequestMalformed, why);
    Err(error.with_fix(
        "change it or take it away there; or take `credential` out of the [[connection]] first",
    ))
}

/// Prints where each credential is, and none of them.
fn list(config: &Config, store: &CredentialStore, output: Output) -> Result<(), AppError> {
    for (name, place) in elsewhere(config) {
        let text = format!("{name}  in {place}");
        output.line(&text, &json!({"connection": name, "in": place}));
    }
    for listed in store.list()? {
        let added = chrono::DateTime::from_timestamp(listed.added, 0).unwrap_or_default();
        let added = added.format("%Y-%m-%d").to_string();
        let unused = elsewhere(config)
            .iter()
            .any(|(name, _)| *name == listed.connection);
        let unused = if unused {
            "  (not used: it is elsewhere)"
        } else {
            ""
        };
        let text = format!(
            "{}  added {added}  ****{}{unused}",
            listed.connection, listed.last_four
        );
        output.line(
            &text,
            &json!({"connection": listed.connection, "added": added}),
        );
    }
    Ok(())
}

pub(super) fn run(
    common: &Common,
    command: &CredsCommand,
    output: &Output,
) -> Result<u8, AppError> {
    let config = common.read()?;
    let known: Vec<String> = config
        .connection
        .iter()
        .map(|one| one.name.clone())
        .collect();
    let sealed = &config.credentials;
    let store = CredentialStore::new(sealed.file.clone(), sealed.key_file.clone());
    let exists = |connection: &str| -> Result<bool, AppError> {
        Ok(store
            .list()?
            .iter()
            .any(|listed| listed.connection == connection))
    };
    match command {
        CredsCommand::Add(args) | CredsCommand::Rotate(args) => {
            let name = ConnectionId::parse(&args.connection)
                .map_err(|error| AppError::new(Reason::RequestMalformed, error.to_string()))?;
            let adds = matches!(command, CredsCommand::Add(_));
            let there = exists(name.as_str())?;
            let near = near(name.as_str(), known.iter().map(String::as_str));
            if adds || !there && near.is_some() {
                check_known(name.as_str(), &known, *output)?;
            }
            check_sealed(&config, name.as_str())?;
            check_there(adds, name.as_str(), there)?;
            let parts = parts_of(&config, name.as_str());
            let renews = parts.iter().flatten().any(|part| part == "refresh_token");
            check_parts(args, parts)?;
            let secret = secret(args)?;
            if renews {
                check_alone(&store, name.as_str(), &secret)?;
            }
            store.put(name.as_str(), &secret, clock::now().timestamp())?;
            output.line(
                &format!("{name}  stored, encrypted"),
                &json!({"connection": name.as_str()}),
            );
        }
        CredsCommand::Ls => list(&config, &store, *output)?,
        CredsCommand::Rm { connection } => {
            check_sealed(&config, connection)?;
            store.remove(connection)?;
            output.line(
                &format!("{connection}  removed"),
                &json!({"connection": connection}),
            );
        }
    }
    Ok(0)
}
