//! Incidents of a tenant: read, and closed by a record.

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::digest::sha256;
use writ_proto::ids::TenantId;
use writ_proto::value::Value;

use crate::app::App;
use crate::app::ask::disclosed::disclosure;
use crate::app::containment::denials::stamp;
use crate::domain::incident::{Closing, Incident};
use crate::domain::record::Kind;
use crate::error::AppError;
use crate::store::{Append, Appended, Incidents};

/// The same for every process, so that an incident is closed by one record.
fn closing_id(incident: Uuid) -> Uuid {
    let mut named = b"writ incident closed ".to_vec();
    named.extend_from_slice(incident.as_bytes());
    let digest = sha256(&named);
    let half: [u8; 16] = core::array::from_fn(|at| digest.get(at).copied().unwrap_or_default());
    Uuid::from_bytes(half)
}

impl App {
    /// The newest incidents of a tenant.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn incidents(
        &self,
        tenant: &TenantId,
        most: usize,
    ) -> Result<Vec<Incident>, AppError> {
        Ok(self.ledger.incident_list(tenant, most).await?)
    }

    /// One incident of a tenant.
    ///
    /// # Errors
    /// `NOT_FOUND`, also for ids of other tenants.
    pub async fn incident(&self, tenant: &TenantId, id: Uuid) -> Result<Incident, AppError> {
        let found = self.ledger.incident(tenant, id).await?;
        found.ok_or_else(|| AppError::of(Reason::NotFound))
    }

    /// Closes an incident by a record. The halt that it set stays.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ALREADY_CLOSED`, `REQUEST_MALFORMED` without a reason.
    pub async fn close_incident(
        &self,
        tenant: &TenantId,
        id: Uuid,
        (by, reason): (&str, &str),
    ) -> Result<Incident, AppError> {
        if reason.trim().is_empty() {
            let message = "a reason is required to close an incident";
            return Err(AppError::new(Reason::RequestMalformed, message));
        }
        let mut incident = self.incident(tenant, id).await?;
        let mut draft = self.blank_record(Kind::IncidentClosed, tenant, id);
        incident.closed = Some(Closing {
            time_ms: draft.time_ms,
            by: by.to_owned(),
            reason: reason.to_owned(),
        });
        draft.later = true;
        draft.agent.clone_from(&incident.agent);
        draft.action.clone_from(&incident.action);
        draft.incident = Some(stamp(&incident));
        draft.disclosures = vec![
            disclosure("by", Value::Text(by.to_owned()))?,
            disclosure("note", Value::Text(reason.to_owned()))?,
        ];
        let append = Append {
            outcome_id: Some(closing_id(id)),
            incidents: Incidents {
                denials: Vec::new(),
                closes: Some(incident),
                counts_only: false,
            },
            ..Append::record(tenant.clone(), draft)
        };
        match self.writer.append(append).await? {
            Appended::Stored { .. } => {}
            Appended::DuplicateOutcome => return Err(AppError::of(Reason::AlreadyClosed)),
            Appended::DuplicateDecision(_)
            | Appended::OverBudget { .. }
            | Appended::Counted
            | Appended::RaiseRefused => {
                return Err(AppError::of(Reason::Internal));
            }
        }
        self.refresh_stops().await?;
        self.incident(tenant, id).await
    }
}
