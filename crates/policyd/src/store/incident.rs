//! Incidents as the ledger keeps them: opened and closed with a record; which halts are wanted.

use std::collections::BTreeSet;

use uuid::Uuid;
use writ_proto::ids::TenantId;
use writ_proto::value::{Map, Value, first_from_cbor};

use super::notice::LIST_MAX;
use super::{Ledger, StoreError, corrupt};
use crate::domain::incident::{Closing, HaltWish, Incident};

/// The columns of an incident, in the order of [`COLUMNS`].
pub(super) struct Columns {
    pub(super) id: Uuid,
    pub(super) tenant: String,
    pub(super) opened_ms: i64,
    pub(super) agent: String,
    pub(super) action: String,
    pub(super) body: Vec<u8>,
    pub(super) halt: i64,
    pub(super) closed_ms: i64,
}

/// Names of the columns.
pub(super) const COLUMNS: &str = "id, tenant, opened_ms, agent, action, body, halt, closed_ms";

/// The stored form of what has no column of its own.
pub(super) fn encode(incident: &Incident) -> Vec<u8> {
    let text = |text: &str| Value::Text(text.to_owned());
    let closed = incident.closed.as_ref();
    let mut map = Map::new();
    map.set("rule", text(&incident.rule));
    map.set("count", Value::Int(i64::from(incident.count)));
    map.set("window", Value::Int(i64::from(incident.window_seconds)));
    let codes = incident.codes.iter().map(|code| text(code));
    map.set("codes", Value::List(codes.collect()));
    map.set("by", text(closed.map_or("", |closed| &closed.by)));
    map.set("reason", text(closed.map_or("", |closed| &closed.reason)));
    map.encode()
}

/// Agents to halt, numbered within their tenant, up to the one parameter.
pub(super) const TO_HALT: &str = "SELECT tenant, agent FROM (\
     SELECT tenant, agent, row_number() OVER (PARTITION BY tenant ORDER BY agent) AS place \
     FROM (SELECT DISTINCT tenant, agent FROM incident WHERE halt = 1 AND closed_ms = 0) AS wanted\
     ) AS placed WHERE place <= ";

impl Columns {
    pub(super) fn row(self) -> Result<Incident, StoreError> {
        let wrong = || corrupt("an incident");
        let Ok((Value::Map(map), [])) = first_from_cbor(&self.body) else {
            return Err(wrong());
        };
        let text = |name: &str| {
            let found = map.get(name).and_then(Value::as_text).map(str::to_owned);
            found.ok_or_else(wrong)
        };
        let number = |name: &str| match map.get(name) {
            Some(Value::Int(number)) => u32::try_from(*number).map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        let codes = match map.get("codes") {
            Some(Value::List(codes)) => codes.iter().filter_map(Value::as_text),
            _ => return Err(wrong()),
        };
        let (by, reason) = (text("by")?, text("reason")?);
        let closing = Closing {
            time_ms: self.closed_ms,
            by,
            reason,
        };
        Ok(Incident {
            id: self.id,
            tenant: TenantId::parse(&self.tenant).map_err(|_| corrupt("a tenant"))?,
            agent: self.agent,
            action: self.action,
            rule: text("rule")?,
            count: number("count")?,
            window_seconds: number("window")?,
            codes: codes.map(str::to_owned).collect(),
            opened_ms: self.opened_ms,
            halt: HaltWish::from_number(self.halt).ok_or_else(wrong)?,
            closed: (self.closed_ms != 0).then_some(closing),
        })
    }
}

impl Ledger {
    /// The newest incidents of a tenant, newest first, at most 1,000.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn incident_list(
        &self,
        tenant: &TenantId,
        most: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        let most = most.min(LIST_MAX);
        match self {
            Self::Sqlite(ledger) => ledger.incident_list(tenant, most).await,
            Self::Postgres(ledger) => ledger.incident_list(tenant, most).await,
        }
    }

    /// An incident of a tenant.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn incident(
        &self,
        tenant: &TenantId,
        id: Uuid,
    ) -> Result<Option<Incident>, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.incident(tenant, id).await,
            Self::Postgres(ledger) => ledger.incident(tenant, id).await,
        }
    }

    /// Whether an agent has an open incident.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn incident_is_open(
        &self,
        tenant: &TenantId,
        agent: &str,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.incident_is_open(tenant, agent).await,
            Self::Postgres(ledger) => ledger.incident_is_open(tenant, agent).await,
        }
    }

    /// Open incidents whose halt is wanted and not confirmed, behind one of them, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn incident_halts_wanted(
        &self,
        after: Uuid,
        most: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.incident_halts_wanted(after, most).await,
            Self::Postgres(ledger) => ledger.incident_halts_wanted(after, most).await,
        }
    }

    /// Whether an open incident of an agent wants its halt.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn incident_wants_halt(
        &self,
        tenant: &TenantId,
        agent: &str,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.incident_wants_halt(tenant, agent).await,
            Self::Postgres(ledger) => ledger.incident_wants_halt(tenant, agent).await,
        }
    }

    /// Agents whose halt an open incident wants, each once: of every tenant at most so many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn agents_to_halt(
        &self,
        most: usize,
    ) -> Result<BTreeSet<(TenantId, String)>, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.agents_to_halt(most).await,
            Self::Postgres(ledger) => ledger.agents_to_halt(most).await,
        }
    }

    /// Says that the halt of an incident is set.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn incident_halt_set(&self, id: Uuid) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.incident_halt_set(id).await,
            Self::Postgres(ledger) => ledger.incident_halt_set(id).await,
        }
    }
}
