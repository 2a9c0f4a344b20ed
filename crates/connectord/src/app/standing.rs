//! Whether a credential may do more than its connection needs: then nothing is done with it until it may less, or the operator
//! has accepted the rest by name.

use std::collections::BTreeSet;
use std::time::Duration;

use writ_proto::Reason;

use super::App;
use super::catalog::{Catalog, Connection};
use crate::domain::gate::Refusal;
use crate::system::{HOLDS, System, SystemError};

/// How long a credential that may do too much is taken for one without another look.
const TOO_MUCH_FOR: Duration = Duration::from_secs(3);

/// What a credential may do, beside what is needed of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Whether the system says at all what it may do.
    pub says: bool,
    /// What it may do that nothing in the system file needs and nobody accepted.
    pub beyond: Vec<String>,
    /// What cards need and it lacks.
    pub missing: Vec<String>,
    /// What the system file or the operator lets it have, and no card needs.
    pub unused: Vec<String>,
}

/// Why a credential is not used, for operators.
#[must_use]
pub fn too_wide(name: &str, beyond: &[String]) -> Refusal {
    let why = format!(
        "the credential of {name} may also do what its system file needs for nothing: {}",
        beyond.join(", ")
    );
    Refusal::new(Reason::CredentialTooWide, why)
}

/// What the cards of a connection need of its credential.
fn needed(
    catalog: &Catalog,
    name: &str,
    connection: &Connection,
    system: &System,
) -> BTreeSet<String> {
    let cards = catalog.cards.iter();
    let own = cards.filter(|((tenant, _), held)| {
        held.card.connection.as_str() == name && connection.tenants.contains(tenant)
    });
    own.flat_map(|(_, held)| system.needs(&held.card)).collect()
}

/// What the system of a connection says of its credential, no longer than `within` ago.
///
/// # Errors
/// When it does not say.
pub async fn told(
    catalog: &Catalog,
    (name, connection, system): (&str, &Connection, &System),
    within: Duration,
) -> Result<Told, SystemError> {
    let Some(held) = system.scopes(within).await? else {
        return Ok(Told::default());
    };
    let needed = needed(catalog, name, connection, system);
    let beyond = connection.beyond(system, &held);
    // A wider right that was accepted may hold what is needed under another name: an administrator is an agent.
    let wider = system.says_a_role() && held.iter().any(|name| connection.accepts.contains(name));
    let missing = needed.difference(&held).filter(|_| !wider);
    let unused = held
        .difference(&needed)
        .filter(|name| !beyond.contains(name));
    Ok(Told {
        says: true,
        missing: missing.cloned().collect(),
        unused: unused.cloned().collect(),
        beyond,
    })
}

impl App {
    /// Refuses a credential that may do more than it has to. Where the system cannot say, nothing is asked.
    ///
    /// # Errors
    /// `CREDENTIAL_TOO_WIDE`; or why it could not be asked.
    pub(super) async fn check_standing(&self, name: &str, system: &System) -> Result<(), Refusal> {
        let catalog = self.catalog.load_full();
        let connection = catalog.connections.get(name);
        let connection = connection.ok_or_else(|| Refusal::of(Reason::UnknownConnection))?;
        // What was too much is asked again soon, so that who narrows it need not wait.
        for within in [HOLDS, TOO_MUCH_FOR] {
            let Some(held) = system.scopes(within).await? else {
                return Ok(());
            };
            let beyond = connection.beyond(system, &held);
            if beyond.is_empty() {
                return Ok(());
            }
            // Which rights those are is for operators: in the log, and `connectord probe` says it.
            if within == TOO_MUCH_FOR {
                return Err(Refusal::of(Reason::CredentialTooWide));
            }
        }
        Ok(())
    }
}
