//! `policyd use`: who commands act as.

use clap::Args;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::host::cli::client_files::{ChoiceError, choices, choose, chosen, uri_of};

use crate::error::AppError;
use crate::output::Output;

/// Whose certificate.
#[derive(Debug, Args)]
pub(crate) struct UseArgs {
    /// Its name, as in `agent-acme-triage` or `acme-triage`; who it is now, and who it can be, without one.
    name: Option<String>,
    /// Act as nobody again.
    #[arg(long, conflicts_with = "name")]
    nobody: bool,
}

fn refused(error: ChoiceError) -> AppError {
    match error {
        ChoiceError::Name(why) => {
            AppError::new(Reason::RequestMalformed, why).with_fix("list the names: policyd use")
        }
        ChoiceError::Kept(why) => AppError::new(Reason::ConfigInvalid, why)
            .with_fix("make that folder writable, or set WRIT_CERT"),
    }
}

pub(crate) fn run(args: &UseArgs, output: Output) -> Result<u8, AppError> {
    let now = match (&args.name, args.nobody) {
        (Some(name), _) => choose(Some(name)).map_err(refused)?,
        (None, true) => choose(None).map_err(refused)?,
        (None, false) => chosen(),
    };
    let known = choices();
    let shell = crate::config::variable("WRIT_CERT");
    let (text, cert, uri) = match &now {
        Some(path) => {
            let (cert, uri) = (path.display().to_string(), uri_of(path));
            let who = uri
                .clone()
                .unwrap_or_else(|| "a certificate that cannot be read".to_owned());
            let text = shell.as_ref().map_or_else(
                || format!("commands in this folder act as {who} ({cert})"),
                |first| {
                    format!(
                        "{who} ({cert}) is chosen for this folder, but WRIT_CERT={first} is set and goes before it: unset WRIT_CERT"
                    )
                },
            );
            (text, cert, uri)
        }
        None if known.is_empty() => {
            let text = "nobody is chosen, and there is no certificate with a key in certs: run this where policyd.toml is";
            (text.to_owned(), String::new(), None)
        }
        None => {
            let text = format!(
                "nobody is chosen for this folder. Choose one with policyd use NAME: {}",
                known.join(", ")
            );
            (text, String::new(), None)
        }
    };
    output.line(
        &text,
        &json!({"cert": cert, "uri": uri, "choices": known, "WRIT_CERT": shell}),
    );
    Ok(0)
}
