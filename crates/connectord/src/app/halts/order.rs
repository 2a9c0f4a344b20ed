//! Who may halt and resume what: an operator his own tenant, the operators that the configuration
//! names every tenant, policyd a run or an agent of one tenant.

use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::ids::{AgentId, TenantId};
use writ_proto::limits::REASON_BYTES_MAX;

use crate::app::App;
use crate::domain::caps::Over;
use crate::domain::gate::{Call, Refusal};
use crate::error::AppError;
use crate::halt::HaltMark;
use crate::halt::{Act, FLAGS_OF_TENANT_MAX, FULL, Flag, HaltError, HaltState, Part, Scope};
use crate::{clock, ids};

/// Longest halt that ends by itself, in seconds.
pub const HALT_SECONDS_MAX: i64 = 30 * 24 * 3_600;
/// How long a run stays halted that passed a ceiling: a day, and then it is over.
const RUN_HALT_SECONDS: i64 = 24 * 3_600;
/// What policyd halts for.
const CAUSES: [&str; 2] = ["budget", "incident"];

/// Who asks for a halt or for its end.
#[derive(Debug, Clone)]
pub enum Asker {
    /// An operator of a tenant.
    Operator(TenantId, AgentId),
    /// policyd, for one of the causes it may halt for.
    Policyd(String),
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct HaltOrder {
    /// Who.
    pub asker: Asker,
    /// Scope as it was typed.
    pub scope: String,
    /// Why.
    pub reason: String,
    /// Seconds after which it ends by itself; 0 where it stays.
    pub seconds: i64,
}

fn malformed(why: impl Into<String>) -> AppError {
    AppError::new(Reason::RequestMalformed, why)
}

/// Why nothing is known or changed; what is inside is for the log.
fn unknown(error: &HaltError) -> AppError {
    AppError {
        detail: error.to_string(),
        ..AppError::of(Reason::HaltUnknown)
    }
}

/// Whether a standing halt lasts about as long as a wanted one. One that is over soon does not; one
/// that ends a little earlier does, or every refused call would set it anew.
fn lasts(same: &Flag, wanted: &Flag) -> bool {
    let left = |until: i64| until.saturating_sub(wanted.since);
    same.until == 0 || wanted.until > 0 && left(same.until) >= left(wanted.until) / 2
}

impl Asker {
    fn name(&self) -> String {
        match self {
            Self::Operator(tenant, name) => format!("{}/{}", tenant.as_str(), name.as_str()),
            Self::Policyd(cause) => cause.clone(),
        }
    }
}

/// Who sets the halts of ceilings.
const CAPS: &str = "caps";

impl App {
    /// Sets a halt.
    ///
    /// # Errors
    /// When the asker may not, the scope is none, or the store could not be changed.
    pub async fn set_halt(&self, order: &HaltOrder) -> Result<(Flag, HaltState), AppError> {
        let (scope, act) = self.ordered(order)?;
        if !(0..=HALT_SECONDS_MAX).contains(&order.seconds) {
            return Err(malformed(format!(
                "duration: 1 second to {HALT_SECONDS_MAX} seconds"
            )));
        }
        let mut flag = Flag::new(scope, &act, ids::new_id().to_string());
        flag.at_ms = clock::now().timestamp_millis();
        if order.seconds > 0 {
            flag.until = act.at.saturating_add(order.seconds);
        }
        if matches!(order.asker, Asker::Policyd(_))
            && let Some(standing) = self.lasting(&flag)
        {
            return Ok(standing);
        }
        self.check_room(order, &flag)?;
        let state = self.halts.set(&flag).await;
        let state = state.map_err(|error| unknown(&error))?;
        tracing::warn!(scope = %flag.scope, by = flag.by, reason = flag.reason, "halted");
        // It halts already; that it is remembered is for a store that is put back later.
        let (marks, mark) = (Arc::clone(&self.marks), HaltMark::of(&state));
        let remembered = tokio::task::spawn_blocking(move || marks.raise_halts(mark)).await;
        if let Ok(Err(error)) = remembered {
            tracing::error!(%error, "a halt could not be remembered outside its store");
        }
        Ok((flag, state))
    }

    /// What a reached ceiling comes to. One of a run halts the run, as the switch would: what is
    /// over its limits has to be looked at before it goes on.
    pub(crate) async fn over(&self, call: &Call, over: Over) -> Refusal {
        let refusal = Refusal::new(Reason::BudgetExceeded, over.what);
        let tenant = TenantId::parse(&call.tenant).ok();
        if let Some(tenant) = tenant.filter(|_| over.halts_run && !call.run_id.is_empty()) {
            let scope = Scope::new(Some(tenant), Part::Run(call.run_id.clone()));
            let (kind, id) = call.target.clone().unwrap_or_default();
            let last = format!(
                "last call: {} by {}, on {kind} {id}",
                call.action, call.agent
            );
            let act = Act {
                by: CAPS.to_owned(),
                reason: format!("{}; {last}", refusal.detail),
                at: clock::now().timestamp(),
            };
            let mut flag = Flag::new(scope, &act, ids::new_id().to_string());
            flag.at_ms = clock::now().timestamp_millis();
            flag.until = act.at.saturating_add(RUN_HALT_SECONDS);
            if self.lasting(&flag).is_some() {
                return refusal;
            }
            // policyd has a larger share: what it halts is more than one run.
            let room = self.halts.has_room(&flag, FLAGS_OF_TENANT_MAX / 4);
            let set = if room {
                self.halts.set(&flag).await.map(drop)
            } else {
                Ok(())
            };
            match set {
                Ok(()) => {
                    tracing::warn!(scope = %flag.scope, reason = flag.reason, room, "over a ceiling");
                }
                // The call is refused all the same; the next one over the ceiling tries again.
                Err(error) => tracing::error!(%error, scope = %flag.scope, "could not halt"),
            }
        }
        refusal
    }

    /// A halt of exactly this scope that makes the one of a machine needless: who set it keeps his
    /// name and reason there.
    fn lasting(&self, wanted: &Flag) -> Option<(Flag, HaltState)> {
        let state = self.halt_state().ok()?;
        let same = |one: &&Flag| one.scope == wanted.scope && lasts(one, wanted);
        let same = state.flags.iter().find(same)?.clone();
        Some((same, Arc::unwrap_or_clone(state)))
    }

    /// Too many flags would halt everybody, so no tenant and no machine may fill the store. What
    /// stands can be set again, and a whole tenant can always be halted.
    fn check_room(&self, order: &HaltOrder, flag: &Flag) -> Result<(), AppError> {
        let most = match order.asker {
            Asker::Operator(..) => FLAGS_OF_TENANT_MAX,
            // Leaves room for people.
            Asker::Policyd(_) => FLAGS_OF_TENANT_MAX / 2,
        };
        if self.halts.has_room(flag, most) {
            return Ok(());
        }
        Err(AppError::new(Reason::RateLimited, FULL))
    }

    /// Ends a halt that was there when its end was asked for; says whether there was one.
    ///
    /// # Errors
    /// When the asker may not, gives no reason, or the store could not be changed.
    pub async fn clear_halt(
        &self,
        order: &HaltOrder,
        seen: Option<Arc<HaltState>>,
    ) -> Result<(bool, HaltState), AppError> {
        if matches!(order.asker, Asker::Policyd(_)) {
            return Err(AppError::of(Reason::OperatorRequired));
        }
        let (scope, act) = self.ordered(order)?;
        if order.reason.trim().is_empty() {
            return Err(malformed("a reason is required to resume"));
        }
        let cleared = self.halts.clear_standing(&scope, &act, seen).await;
        let (state, flag) = cleared.map_err(|error| unknown(&error))?;
        if flag.is_some() {
            tracing::warn!(%scope, by = act.by, reason = act.reason, "resumed");
        }
        Ok((flag.is_some(), state))
    }

    fn ordered(&self, order: &HaltOrder) -> Result<(Scope, Act), AppError> {
        if order.reason.len() > REASON_BYTES_MAX || order.reason.contains('\0') {
            return Err(AppError::of(Reason::RequestTooLarge));
        }
        let scope = match &order.asker {
            Asker::Operator(tenant, name) => self.of_operator((tenant, name), &order.scope)?,
            Asker::Policyd(cause) => self.of_policyd(cause, &order.scope)?,
        };
        let act = Act {
            by: order.asker.name(),
            reason: order.reason.clone(),
            at: clock::now().timestamp(),
        };
        Ok((scope, act))
    }

    /// Whether the configuration names an operator as one of all tenants.
    pub(crate) fn is_global_operator(&self, tenant: &TenantId, name: &AgentId) -> bool {
        let full = format!("{}/{}", tenant.as_str(), name.as_str());
        self.global_operators.contains(&full)
    }

    fn of_operator(
        &self,
        (tenant, name): (&TenantId, &AgentId),
        typed: &str,
    ) -> Result<Scope, AppError> {
        let scope = Scope::typed(typed, tenant).map_err(|error| malformed(error.to_string()))?;
        if scope.tenant() == Some(tenant) {
            return Ok(scope);
        }
        if !self.is_global_operator(tenant, name) {
            // Whether another tenant is there is not for this operator to learn.
            return Err(match scope.tenant() {
                Some(other) => AppError::new(
                    Reason::NotFound,
                    format!(
                        "`{}` is no tenant that an operator of {} may halt",
                        other.as_str(),
                        tenant.as_str()
                    ),
                ),
                None => AppError::of(Reason::GlobalOperatorRequired),
            });
        }
        self.of_known_tenant(scope)
    }

    fn of_policyd(&self, cause: &str, typed: &str) -> Result<Scope, AppError> {
        if !CAUSES.contains(&cause) {
            return Err(malformed("cause: budget or incident"));
        }
        let scope: Scope = typed
            .parse()
            .map_err(|error: writ_proto::ids::IdError| malformed(error.to_string()))?;
        let narrow = matches!(scope.part(), Part::Run(_) | Part::Agent(_));
        if scope.tenant().is_none() || !narrow {
            return Err(AppError::of(Reason::OperatorRequired));
        }
        self.of_known_tenant(scope)
    }

    fn of_known_tenant(&self, scope: Scope) -> Result<Scope, AppError> {
        let Some(tenant) = scope.tenant() else {
            return Ok(scope);
        };
        if self
            .catalog
            .load()
            .cards
            .keys()
            .any(|(known, _)| known == tenant.as_str())
        {
            return Ok(scope);
        }
        let message = format!("no tenant `{}` has cards here", tenant.as_str());
        Err(AppError::new(Reason::UnknownTenant, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_that_is_over_soon_does_not_stand_for_one_that_stays() {
        let flag = |until| Flag {
            until,
            ..Flag::new(
                Scope::global(),
                &Act {
                    at: 1_000,
                    ..Act::default()
                },
                String::new(),
            )
        };
        for (same, wanted, expected) in [
            (0, 0, true),
            (0, 2_000, true),
            (9_000, 0, false),
            (1_002, 2_000, false),
            (1_990, 2_000, true),
        ] {
            assert_eq!(
                lasts(&flag(same), &flag(wanted)),
                expected,
                "{same} {wanted}"
            );
        }
    }
}
