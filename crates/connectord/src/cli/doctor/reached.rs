//! What a system of record answers, and what it says of the credential.

use std::time::Duration;

use writ_proto::Reason;
use writ_proto::host::store::postgres::without_password;

use super::Doctor;
use crate::app::catalog::Catalog;
use crate::app::standing::{Told, told, too_wide};
use crate::config::Config;
use crate::error::AppError;
use crate::system::{System, SystemError};

/// Examines one connection; what is wrong with its files is said where nobody else says it.
pub(super) async fn reached(
    doctor: &mut Doctor<'_>,
    (config, catalog, name): (&Config, &Catalog, &str),
    alone: bool,
) {
    let Some(connection) = catalog.connections.get(name) else {
        return;
    };
    let system = match &connection.system {
        Ok(system) => system,
        Err(refusal) if alone => {
            return doctor.error(&AppError::new(refusal.reason, &refusal.detail));
        }
        Err(_) => return,
    };
    // What a file leaves to chance, it leaves aloud.
    for choice in system.choices_of_none() {
        doctor.note(&format!("connection {name}: {choice}"));
    }
    if system.has_no_probe() {
        doctor.note(&format!(
            "connection {name}: its system file has no `probe`, so it was not asked anything"
        ));
        return;
    }
    let answered = match system.says_scopes() {
        true => told(catalog, (name, connection, system), Duration::ZERO).await,
        false => system.probe().await.map(|_| Told::default()),
    };
    let told = match answered {
        Ok(told) => told,
        Err(error) => return unreached(doctor, (config, name), &error),
    };
    doctor.ok(&format!(
        "connection {name}: it answers, and takes the credential"
    ));
    if !told.says && matches!(**system, System::Http(_)) {
        doctor.note(&format!(
            "connection {name}: nothing says what else the credential may do: its system file has no `scopes`"
        ));
    }
    if !told.beyond.is_empty() {
        let refusal = too_wide(name, &told.beyond);
        doctor.error(&AppError::new(refusal.reason, refusal.detail));
    }
    if !told.missing.is_empty() {
        let missing = told.missing.join(", ");
        let why = format!("connection {name}: the credential lacks what its cards need: {missing}");
        doctor.error(&AppError::new(Reason::SystemDenied, why));
    }
    if !told.unused.is_empty() {
        doctor.warn(&format!(
            "connection {name}: the credential may do what no card needs: {}",
            told.unused.join(", ")
        ));
    }
}

fn unreached(doctor: &mut Doctor<'_>, (config, name): (&Config, &str), error: &SystemError) {
    let at = config.connection.iter().find(|one| one.name == *name);
    let at = at.map_or("", |one| one.base_url.as_str());
    let why = format!("connection {name} at {}: {error}", without_password(at));
    let found = AppError::new(error.reason(), why);
    // The fix of that code is this command.
    doctor.error(&match found.reason {
        Reason::SystemUnavailable => found.with_fix(format!(
            "start the system of record, or mend base_url of {name} in connectord.toml"
        )),
        _ => found,
    });
}
