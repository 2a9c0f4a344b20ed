//! Promotion and demotion of an action for a tenant: an explicit act of an operator, recorded.

use writ_proto::Reason;
use writ_proto::card::Rollout;

use super::outcome::{Kind, Outcome};
use super::undo::Order;
use super::{App, AppError};

impl App {
    /// Sets how far an action goes.
    ///
    /// # Errors
    /// Without a reason, beyond what the card allows, or when the journal is away.
    pub async fn set_rollout(
        &self,
        order: &Order,
        action: &str,
        rollout: Rollout,
    ) -> Result<(), AppError> {
        let card = self.card(&order.tenant, action)?;
        if order.reason.trim().is_empty() {
            return Err(AppError::new(
                Reason::RequestMalformed,
                "a reason is required",
            ));
        }
        if rollout > card.rollout_max {
            let message = format!("the card allows at most {}", card.rollout_max.name());
            return Err(AppError::new(Reason::DryRunOnly, message));
        }
        let was = self.rollout_of(&order.tenant, &card).await?;
        let mut outcome = Outcome::new(Kind::RolloutChanged, &order.tenant, rollout.name());
        card.name.as_str().clone_into(&mut outcome.action);
        card.connection.as_str().clone_into(&mut outcome.connection);
        outcome.by.clone_from(&order.by);
        outcome.note = format!("{} -> {}: {}", was.name(), rollout.name(), order.reason);
        let at = (order.tenant.as_str(), action);
        Ok(self
            .journal
            .set_rollout(at, rollout, outcome.report())
            .await?)
    }
}
