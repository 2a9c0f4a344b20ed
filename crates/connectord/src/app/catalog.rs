//! What the files of connectord say at this moment: cards by tenant, connections by name. It is
//! replaced as a whole when a file changes; who works with an older one finishes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono_tz::Tz;
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::toml_flaw::near;

use crate::domain::gate::Refusal;
use crate::system::System;

/// How long a card that was replaced is held, for the writs that were signed under it.
pub const HELD_MS: i64 = 5 * 60 * 1_000;

/// A card and those that it replaced a moment ago.
#[derive(Debug, Clone)]
pub struct Held {
    /// The card in force.
    pub card: Arc<Card>,
    /// The file as it is written.
    pub text: Arc<str>,
    /// Why its connection cannot perform it, if it cannot.
    pub unfit: Option<String>,
    /// Earlier cards, each with the Unix milliseconds at which it was replaced.
    pub earlier: Vec<(Arc<Card>, i64)>,
}

impl Held {
    /// The card that a writ was signed under, if it is in force or was a moment ago.
    #[must_use]
    pub fn of_digest(&self, digest: &[u8; 32], now_ms: i64) -> Option<&Arc<Card>> {
        let fresh = |(card, replaced): &&(Arc<Card>, i64)| {
            card.digest() == *digest && now_ms.saturating_sub(*replaced) < HELD_MS
        };
        if self.card.digest() == *digest {
            return Some(&self.card);
        }
        self.earlier.iter().find(fresh).map(|(card, _)| card)
    }
}

/// One instance of a system of record, and whose it is.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Tenants that may use it.
    pub tenants: BTreeSet<String>,
    /// Its driver; or why it cannot be used.
    pub system: Result<Arc<System>, Refusal>,
    /// What its credential may do although the system file needs it for nothing.
    pub accepts: BTreeSet<String>,
}

impl Connection {
    /// What a credential may do beyond what the system file needs and the operator accepted by name.
    #[must_use]
    pub fn beyond(&self, system: &System, held: &BTreeSet<String>) -> Vec<String> {
        let needed = system.needs_at_most();
        let more = held.difference(&needed);
        let more = more.filter(|name| !self.accepts.contains(*name));
        more.cloned().collect()
    }
}

/// Something wrong in a file, and whose it is; nobody's is everybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The tenant, if it is one tenant's.
    pub tenant: Option<String>,
    /// The stable code.
    pub reason: Reason,
    /// File and what is wrong.
    pub what: String,
}

/// Cards and connections.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Cards by tenant and action.
    pub cards: BTreeMap<(String, String), Held>,
    /// Connections by name.
    pub connections: BTreeMap<String, Connection>,
    /// Zones of the tenants' days, as their policy sets name them.
    pub zones: BTreeMap<String, Tz>,
    /// What is wrong, and what is kept from before because of it.
    pub problems: Vec<Problem>,
}

/// Tenants whose cards are counted apart.
const TOLD_MAX: usize = 5;

impl Catalog {
    /// What is there, in one line: `cards 17 (acme 16, globex 1)  connections crm/main`.
    #[must_use]
    pub fn told(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (tenant, _) in self.cards.keys() {
            let count = counts.entry(tenant).or_default();
            *count = count.saturating_add(1);
        }
        let each = counts.iter().take(TOLD_MAX);
        let each: Vec<String> = each
            .map(|(tenant, own)| format!("{tenant} {own}"))
            .collect();
        let more = if counts.len() > TOLD_MAX { ", ..." } else { "" };
        let shown = |(name, connection): (&String, &Connection)| match &connection.system {
            Ok(_) => name.clone(),
            Err(_) => format!("{name} (UNUSABLE)"),
        };
        let systems: Vec<String> = self.connections.iter().map(shown).collect();
        let problems = match self.problems.len() {
            0 => String::new(),
            count => format!("  PROBLEMS {count}: connectord doctor"),
        };
        let each = match each.as_slice() {
            [] => String::new(),
            each => format!(" ({}{more})", each.join(", ")),
        };
        let (cards, systems) = (self.cards.len(), systems.join(", "));
        format!("cards {cards}{each}  connections {systems}{problems}")
    }

    /// The card in force of an action.
    ///
    /// # Errors
    /// `CARD_MISSING`, or `CARD_INVALID` where its connection cannot perform it.
    pub fn held(&self, tenant: &str, action: &str) -> Result<&Held, Refusal> {
        let held = self.cards.get(&(tenant.to_owned(), action.to_owned()));
        held.ok_or_else(|| {
            let own = self.cards.keys().filter(|(of, _)| of == tenant);
            let near = near(action, own.map(|(_, name)| name.as_str()));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let why = format!("no card for `{action}` of tenant `{tenant}`{near}");
            Refusal::new(Reason::CardMissing, why)
        })
    }

    /// The driver of a connection of a tenant. One of another tenant is told apart from none by
    /// nobody.
    ///
    /// # Errors
    /// `UNKNOWN_CONNECTION`, or why it cannot be used.
    pub fn system(&self, tenant: &str, connection: &str) -> Result<Arc<System>, Refusal> {
        let found = self
            .connections
            .get(connection)
            .filter(|found| found.tenants.contains(tenant));
        let found = found.ok_or_else(|| {
            let detail = format!("tenant `{tenant}` has no connection `{connection}`; [[connection]] in connectord.toml names its tenants");
            Refusal::new(Reason::UnknownConnection, detail)
        })?;
        found.system.clone()
    }

    /// The zone of a tenant's days; UTC where its policy set names none.
    #[must_use]
    pub fn zone(&self, tenant: &str) -> Tz {
        self.zones.get(tenant).copied().unwrap_or(Tz::UTC)
    }

    /// What is wrong with the files of a tenant.
    pub fn problems_of<'a>(&'a self, tenant: &'a str) -> impl Iterator<Item = &'a str> {
        let own = move |problem: &&Problem| {
            problem
                .tenant
                .as_deref()
                .is_none_or(|owner| owner == tenant)
        };
        self.problems
            .iter()
            .filter(own)
            .map(|problem| problem.what.as_str())
    }
}
