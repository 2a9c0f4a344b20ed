//! `connectord halt devices` and `connectord halt operators`: who may use the halt page. They work
//! on the halt store itself, so that they work when every server is down.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use writ_proto::Reason;
use writ_proto::ids::TenantId;
use zeroize::Zeroizing;

use crate::access::device::LINK_SECONDS;
use crate::access::operator::PASSWORD_BYTES_MAX;
use crate::access::{Access, AccessError, Reach};
use crate::cli::Common;
use crate::clock;
use crate::config::page::PageConfig;
use crate::error::AppError;
use crate::output::Output;

/// Devices that may halt.
#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// Add a device and print its link, once. The link works once, for a day.
    Add {
        /// Name, such as ada-phone.
        name: String,
        #[command(flatten)]
        reach: ReachArgs,
        /// Where the halt page is reached, https://HOST[:PORT]; as the configuration has it if absent.
        #[arg(long)]
        url: Option<String>,
    },
    /// Names, reach, and when each was used last.
    Ls,
    /// Forget a device: its cookie is of no use from now on.
    Revoke {
        /// Name.
        name: String,
    },
}

/// Operators who may resume, and undo.
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorsCommand {
    /// Add an operator; the password comes from the prompt, standard input or a file.
    Add {
        /// Name.
        name: String,
        #[command(flatten)]
        reach: ReachArgs,
        /// May also undo, from the page, what the last minutes wrote there.
        #[arg(long)]
        undo: bool,
        /// File with the password.
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
    /// Names, reach, and who may undo.
    Ls,
    /// Forget an operator.
    Rm {
        /// Name.
        name: String,
    },
}

/// How far somebody reaches.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ReachArgs {
    /// Everything that belongs to one tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Everything of every tenant.
    #[arg(long)]
    global: bool,
}

impl ReachArgs {
    fn reach(&self) -> Result<Reach, AppError> {
        let Some(tenant) = &self.tenant else {
            return Ok(Reach::GLOBAL);
        };
        let tenant = TenantId::parse(tenant);
        tenant
            .map(Reach::tenant)
            .map_err(|error| AppError::new(Reason::RequestMalformed, error.to_string()))
    }
}

fn failed(error: &AccessError) -> AppError {
    let reason = match error {
        AccessError::Unavailable(_) => Reason::HaltUnknown,
        AccessError::Missing(_) => Reason::NotFound,
        AccessError::Exists(_) | AccessError::Invalid(_) => Reason::RequestMalformed,
    };
    AppError::new(reason, error.to_string())
}

fn moment(seconds: i64) -> String {
    let at = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// Who may use the page, of a whole configuration or of one of a page server alone.
fn access(common: &Common) -> Result<Access, AppError> {
    let place = PageConfig::place(&common.layers()?, &common.config)?;
    Access::new(&place).map_err(|error| failed(&error))
}

/// Runs `halt devices`.
pub(super) async fn devices(
    common: &Common,
    command: &DevicesCommand,
    output: Output,
) -> Result<u8, AppError> {
    let access = access(common)?;
    match command {
        DevicesCommand::Add { name, reach, url } => {
            let now = clock::now().timestamp();
            let secret = access.add_device(name, reach.reach()?, now).await;
            let secret = Zeroizing::new(secret.map_err(|error| failed(&error))?);
            let page = PageConfig::url(&common.layers()?)?;
            let url = url.as_deref().unwrap_or(&page).trim_end_matches('/');
            let link = format!("{url}/halt/d/{}", *secret);
            let text = format!(
                "{link}\nopen it on the device and press the button; it works once, until {}",
                moment(now.saturating_add(LINK_SECONDS))
            );
            output.line(&text, &json!({"device": name, "link": link}));
        }
        DevicesCommand::Ls => {
            let devices = access.devices().await.map_err(|error| failed(&error))?;
            let used = access
                .devices_used()
                .await
                .map_err(|error| failed(&error))?;
            for device in devices {
                let last = used.get(&device.name).filter(|last| **last >= device.added);
                let last_used = last.map_or("never".to_owned(), |last| moment(*last));
                let state = if device.is_set_up() {
                    ""
                } else {
                    "  link not used yet"
                };
                let (name, reach, added) = (&device.name, &device.reach, moment(device.added));
                let text = format!("{name}  {reach}  added {added}  last used {last_used}{state}");
                let value = json!({
                    "device": name, "reach": reach, "added": device.added,
                    "last_used": last, "set_up": device.is_set_up(),
                });
                output.line(&text, &value);
            }
        }
        DevicesCommand::Revoke { name } => {
            access
                .revoke_device(name)
                .await
                .map_err(|error| failed(&error))?;
            output.line(&format!("{name}  revoked"), &json!({"device": name}));
        }
    }
    Ok(0)
}

/// Runs `halt operators`.
pub(super) async fn operators(
    common: &Common,
    command: &OperatorsCommand,
    output: Output,
) -> Result<u8, AppError> {
    let access = access(common)?;
    match command {
        OperatorsCommand::Add {
            name,
            reach,
            undo,
            password_file,
        } => {
            let (rights, now) = ((reach.reach()?, *undo), clock::now().timestamp());
            let password = password(password_file.as_ref())?;
            let added = access.add_operator(name, rights, &password, now).await;
            added.map_err(|error| failed(&error))?;
            output.line(&format!("{name}  added"), &json!({"operator": name}));
        }
        OperatorsCommand::Ls => {
            for operator in access.operators().await.map_err(|error| failed(&error))? {
                let (name, reach) = (&operator.name, &operator.reach);
                let undo = if operator.undo { "  may undo" } else { "" };
                let text = format!("{name}  {reach}{undo}  added {}", moment(operator.added));
                output.line(
                    &text,
                    &json!({"operator": name, "reach": reach, "undo": operator.undo,
                        "added": operator.added}),
                );
            }
        }
        OperatorsCommand::Rm { name } => {
            access
                .remove_operator(name)
                .await
                .map_err(|error| failed(&error))?;
            output.line(&format!("{name}  removed"), &json!({"operator": name}));
        }
    }
    Ok(0)
}

/// Never an argument: those stand in the list of processes and in the history of the shell.
fn password(file: Option<&PathBuf>) -> Result<Zeroizing<String>, AppError> {
    let wrong = |error: std::io::Error| AppError::new(Reason::RequestMalformed, error.to_string());
    if file.is_none() && std::io::stdin().is_terminal() {
        let ask = |prompt| rpassword::prompt_password(prompt).map(Zeroizing::new);
        let first = ask("password: ").map_err(wrong)?;
        if first != ask("again: ").map_err(wrong)? {
            let text = "the two passwords differ";
            return Err(AppError::new(Reason::RequestMalformed, text));
        }
        return Ok(first);
    }
    let most = u64::try_from(PASSWORD_BYTES_MAX)
        .unwrap_or(0)
        .saturating_add(2);
    let mut text = Zeroizing::new(String::new());
    match file {
        Some(path) => std::fs::File::open(path)
            .map_err(wrong)?
            .take(most)
            .read_to_string(&mut text),
        None => std::io::stdin().take(most).read_to_string(&mut text),
    }
    .map_err(wrong)?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}
