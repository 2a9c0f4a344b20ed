//! What moves an action without an operator: the rates of its card, the end of a time, and the calm
//! of a pilot.

use writ_proto::card::{Card, Rollout};
use writ_proto::limits::PAGE_SIZE_MAX;

use super::super::{App, AppError};
use super::Move;
use crate::clock;
use crate::domain::execution::{Execution, State};
use crate::domain::rollout::{calm, demoted};
use crate::halt::{Customer, Subject};
use crate::store::{Filter, Promoted};

/// An undo is an execution too, so twice as many are read as the rule looks at.
const READ_PER_LOOK: u32 = 2;

impl App {
    /// Back to dry run, if the latest executions went wrong more often than the card allows, or if
    /// the time of a time-boxed live is up.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn watch_rollout(&self, tenant: &str, card: &Card) -> Result<(), AppError> {
        let action = card.name.as_str();
        let Some(set) = self.journal.rollout(tenant, action).await? else {
            return self.watch_rates(tenant, card, 0).await;
        };
        let up = set.until_ms > 0 && set.until_ms <= clock::now().timestamp_millis();
        if up {
            return self.back(tenant, card, "its time is up").await;
        }
        self.watch_rates(tenant, card, set.set_ms).await
    }

    async fn watch_rates(&self, tenant: &str, card: &Card, since: i64) -> Result<(), AppError> {
        let Some(rule) = card.demotion else {
            return Ok(());
        };
        if !self.rollout_of(tenant, card).await?.writes() {
            return Ok(());
        }
        let filter = Filter {
            action: Some(card.name.as_str().to_owned()),
            execute: Some(true),
            since_ms: Some(since),
            limit: rule.of_last.saturating_mul(READ_PER_LOOK),
            ..Filter::default()
        };
        let latest = self.journal.list(tenant, &filter).await?;
        match demoted(rule, &latest) {
            Some(why) => self.back(tenant, card, &why).await,
            None => Ok(()),
        }
    }

    async fn back(&self, tenant: &str, card: &Card, why: &str) -> Result<(), AppError> {
        tracing::warn!(
            tenant,
            action = card.name.as_str(),
            why,
            "demoted to dry run"
        );
        let set = self.journal.rollout_now(tenant, card.name.as_str()).await?;
        // Somebody may have taken it back already.
        if !Self::within(card, set.as_ref()).writes()
            && set.as_ref().is_none_or(|set| set.until_ms == 0)
        {
            return Ok(());
        }
        let to = Move {
            rollout: Rollout::DryRun,
            until_ms: 0,
            accept_surprises: false,
            keeps_log: true,
            accept_unseen: true,
            card_digest: Vec::new(),
        };
        self.move_to(card, (tenant, "connectord"), (&to, set), why)
            .await
    }

    /// After an execution went wrong or was undone: what that means for its action. What cannot be
    /// looked at now is looked at again after the next one.
    pub(in crate::app) async fn after_trouble(&self, execution: &Execution) {
        let Ok(card) = self.card(&execution.tenant, &execution.action) else {
            return;
        };
        if let Err(error) = self.watch_rates_of(execution, &card).await {
            tracing::warn!(%error, "the rates of an action could not be looked at");
        }
    }

    async fn watch_rates_of(&self, execution: &Execution, card: &Card) -> Result<(), AppError> {
        if !execution.execute || card.demotion.is_none() {
            return Ok(());
        }
        self.watch_rollout(&execution.tenant, card).await
    }

    /// Ends every time-boxed live whose time is up and, if asked to, widens every pilot that was
    /// calm for long enough.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn move_what_is_due(&self, widens: bool) -> Result<(), AppError> {
        let catalog = self.catalog.load_full();
        for ((tenant, _), held) in &catalog.cards {
            let card = &held.card;
            let set = self.journal.rollout(tenant, card.name.as_str()).await?;
            let Some(set) = set else { continue };
            let now = clock::now().timestamp_millis();
            if set.until_ms > 0 && set.until_ms <= now {
                self.watch_rollout(tenant, card).await?;
            } else if widens && set.rollout == Rollout::Pilot && set.until_ms == 0 {
                self.widen(tenant, card, (&set, now)).await?;
            }
        }
        Ok(())
    }

    /// From the pilot to live, if the card says when and it was calm since then.
    async fn widen(
        &self,
        tenant: &str,
        card: &Card,
        (set, now_ms): (&Promoted, i64),
    ) -> Result<(), AppError> {
        let Some(widen) = card.pilot.and_then(|pilot| pilot.widen) else {
            return Ok(());
        };
        let since = now_ms.saturating_sub(i64::from(widen.calm_seconds).saturating_mul(1_000));
        let due = set.set_ms <= since && card.rollout_max == Rollout::Live;
        if !due || self.may_be_halted(tenant, card) {
            return Ok(());
        }
        if self.would_have(tenant, card.name.as_str()).await?.surprises > 0
            || self.has_open_doubts(tenant, card, set.set_ms).await?
        {
            return Ok(());
        }
        let limit = u32::try_from(PAGE_SIZE_MAX).unwrap_or(u32::MAX);
        let filter = Filter {
            action: Some(card.name.as_str().to_owned()),
            execute: Some(true),
            since_ms: Some(since),
            limit,
            ..Filter::default()
        };
        let all = self.journal.list(tenant, &filter).await?;
        // More than can be looked at is not known to be calm.
        if all.len() >= PAGE_SIZE_MAX {
            return Ok(());
        }
        let Some(held) = calm(widen, &all) else {
            return Ok(());
        };
        // What the pilot has shown, it has shown of the card that was promoted.
        if !self.pending(tenant, card, Some(set)).is_empty() {
            return Ok(());
        }
        let to = Move {
            rollout: Rollout::Live,
            until_ms: 0,
            accept_surprises: false,
            keeps_log: true,
            accept_unseen: true,
            card_digest: Vec::new(),
        };
        let why = format!("the pilot was calm: {held}");
        // Set only over what was looked at: whoever moved it meanwhile wins.
        self.move_to(card, (tenant, "connectord"), (&to, Some(set.clone())), &why)
            .await
    }

    /// Whether it is not known of an execution of the action, however old, what became of it.
    async fn has_open_doubts(
        &self,
        tenant: &str,
        card: &Card,
        since_ms: i64,
    ) -> Result<bool, AppError> {
        for state in [State::InDoubt, State::Human] {
            let filter = Filter {
                state: Some(state.name().to_owned()),
                action: Some(card.name.as_str().to_owned()),
                since_ms: Some(since_ms),
                limit: 1,
                ..Filter::default()
            };
            if !self.journal.list(tenant, &filter).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a halt stops the action, or nobody can tell: it is not calm then.
    fn may_be_halted(&self, tenant: &str, card: &Card) -> bool {
        let subject = Subject {
            tenant,
            connection: card.connection.as_str(),
            action: card.name.as_str(),
            agent: "",
            run: "",
            customer: Customer::NotYet,
        };
        let state = self.halt_state();
        state.map_or(true, |state| state.covering(&subject).is_some())
    }
}
