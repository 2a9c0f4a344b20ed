//! `connectord creds`: secrets come from a file or standard input and are never printed.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use writ_proto::Reason;
use writ_proto::ids::ConnectionId;
use writ_proto::toml_flaw::near;

use super::Common;
use crate::clock;
use crate::credentials::CredentialStore;
use crate::error::AppError;
use crate::output::Output;

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
}

const SECRET_BYTES_MAX: u64 = 16 * 1_024;

fn secret(args: &Put) -> Result<zeroize::Zeroizing<String>, AppError> {
    let from = args.file.as_ref().map_or_else(
        || "standard input".to_owned(),
        |path| path.display().to_string(),
    );
    let wrong = |error: std::io::Error| {
        AppError::new(Reason::CredentialMissing, format!("{from}: {error}"))
    };
    let mut text = zeroize::Zeroizing::new(String::new());
    match &args.file {
        Some(path) => {
            let file = std::fs::File::open(path).map_err(wrong)?;
            file.take(SECRET_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(wrong)?;
        }
        None => {
            std::io::stdin()
                .take(SECRET_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(wrong)?;
        }
    }
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

/// A connection that is a letter away from one of the configuration is a slip; any other may come later.
fn check_known(name: &str, known: &[String], output: Output) -> Result<(), AppError> {
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    if let Some(near) = near(name, known.iter().map(String::as_str)) {
        let message =
            format!("the configuration has no connection `{name}`. Did you mean `{near}`?");
        return Err(AppError::new(Reason::UnknownConnection, message));
    }
    output.note("the configuration has no connection of that name yet: it is a [[connection]]");
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
    let config = config.credentials;
    let store = CredentialStore::new(config.file, config.key_file);
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
            if adds {
                check_known(name.as_str(), &known, *output)?;
            }
            if adds == exists(name.as_str())? {
                let hint = if adds {
                    "a credential exists already; replace it with connectord creds rotate"
                } else {
                    "there is no credential to replace; add one with connectord creds add"
                };
                let reason = if adds {
                    Reason::RequestMalformed
                } else {
                    Reason::CredentialMissing
                };
                return Err(AppError::new(reason, format!("{name}: {hint}")));
            }
            store.put(name.as_str(), &secret(args)?, clock::now().timestamp())?;
            output.line(
                &format!("{name}  sealed"),
                &json!({"connection": name.as_str()}),
            );
        }
        CredsCommand::Ls => {
            for listed in store.list()? {
                let added = chrono::DateTime::from_timestamp(listed.added, 0).unwrap_or_default();
                let added = added.format("%Y-%m-%d").to_string();
                let text = format!(
                    "{}  added {added}  ****{}",
                    listed.connection, listed.last_four
                );
                output.line(
                    &text,
                    &json!({"connection": listed.connection, "added": added}),
                );
            }
        }
        CredsCommand::Rm { connection } => {
            store.remove(connection)?;
            output.line(
                &format!("{connection}  removed"),
                &json!({"connection": connection}),
            );
        }
    }
    Ok(0)
}
