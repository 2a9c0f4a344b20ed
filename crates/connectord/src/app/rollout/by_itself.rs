//! What moves an action without an operator: the rates of its card, the end of a time, and the calm
//! of a pilot.

use writ_proto::card::{Card, Rollout};
use writ_proto::limits::PAGE_SIZE_MAX;

use std::collections::BTreeSet;

use super::super::catalog::{Catalog, Held};
use super::super::outcome::{Kind, Outcome};
use super::super::{App, AppError};
use super::{Move, View};
use crate::domain::execution::{Execution, State};
use crate::domain::rollout::{calm, demoted};
use crate::halt::{Customer, Subject};
use crate::store::{Filter, Promoted, Readers};
use crate::{clock, crash};

/// An undo is an execution too, so twice as many are read as the rule looks at.
const READ_PER_LOOK: u32 = 2;

impl App {
    /// Puts actions that nobody has used yet where their cards say that they start. An action that was
    /// used is moved by people alone: a card that is edited promotes nothing.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn start_new_actions(&self, catalog: &Catalog) -> Result<(), AppError> {
        for ((tenant, action), held) in &catalog.cards {
            let card = &held.card;
            let most = if card.pilot.is_some() {
                Rollout::Pilot
            } else {
                Rollout::Live
            };
            let start = card.rollout.min(card.rollout_max).min(most);
            if !start.writes() || self.journal.rollout_now(tenant, action).await?.is_some() {
                continue;
            }
            let used = Filter {
                action: Some(action.clone()),
                limit: 1,
                ..Filter::default()
            };
            if !self.journal.list(tenant, &used).await?.is_empty() {
                tracing::warn!(tenant, action, "its card says live, and nobody promoted it");
                continue;
            }
            let to = Move {
                rollout: start,
                until_ms: 0,
                accept_surprises: false,
                keeps_log: false,
                accept_unseen: true,
                card_digest: Vec::new(),
            };
            let view = View::of(catalog, tenant, action)?;
            let why = "its card says that it starts here";
            match self
                .move_to(&view, (tenant, "connectord"), (&to, None), why)
                .await
            {
                Ok(()) => {}
                // Another process did it, or its connection cannot be used: then it writes nothing.
                Err(error) => tracing::warn!(%error, tenant, action, "its start could not be set"),
            }
        }
        Ok(())
    }

    /// Back to dry run, if the latest executions went wrong more often than the card allows, or if
    /// the time of a time-boxed live is up.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn watch_rollout(&self, tenant: &str, card: &Card) -> Result<(), AppError> {
        let action = card.name.as_str();
        let Some(set) = self.journal.rollout(tenant, action).await? else {
            return self.watch_rates(tenant, card, (card, 0)).await;
        };
        let up = set.until_ms > 0 && set.until_ms <= clock::now().timestamp_millis();
        if up {
            return self.back(tenant, card, "its time is up").await;
        }
        self.watch_rates(tenant, card, (card, set.set_ms)).await?;
        // A rule that the card lost since it was promoted holds until it is promoted without it.
        match Card::parse(&set.card) {
            Ok(promoted) if promoted.demotion != card.demotion => {
                let rule = (&promoted, set.set_ms);
                self.watch_rates(tenant, card, rule).await
            }
            _ => Ok(()),
        }
    }

    async fn watch_rates(
        &self,
        tenant: &str,
        card: &Card,
        (of, since): (&Card, i64),
    ) -> Result<(), AppError> {
        let Some(rule) = of.demotion else {
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
        let view = self.view(tenant, card.name.as_str())?;
        self.move_to(&view, (tenant, "connectord"), (&to, set), why)
            .await
    }

    /// Takes every action that writes, or would start to, back to dry run, whether or not it has a card
    /// now; gives how many there were.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn demote_all(&self, why: &str) -> Result<usize, AppError> {
        let mut all: BTreeSet<(String, String)> =
            self.journal.writing().await?.into_iter().collect();
        let catalog = self.catalog.load_full();
        let starts = |held: &&Held| held.card.rollout.writes();
        for (key, _) in catalog.cards.iter().filter(|(_, held)| starts(held)) {
            if self.journal.rollout_now(&key.0, &key.1).await?.is_none() {
                all.insert(key.clone());
            }
        }
        for (tenant, action) in &all {
            let set = self.journal.rollout_now(tenant, action).await?;
            let name = Rollout::DryRun.name();
            let mut outcome = Outcome::new(Kind::RolloutChanged, tenant, name);
            outcome.action.clone_from(action);
            "connectord".clone_into(&mut outcome.by);
            outcome.note = format!("{name}: {why}");
            let promoted = Promoted {
                tenant: tenant.clone(),
                action: action.clone(),
                rollout: Rollout::DryRun,
                until_ms: 0,
                set_ms: set.as_ref().map_or(outcome.time_ms, |set| set.set_ms),
                revision: set.map_or(0, |set| set.revision),
                card: String::new(),
                system: String::new(),
            };
            self.journal.set_rollout(promoted, outcome.report()).await?;
        }
        Ok(all.len())
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
        if !execution.execute {
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
            let moved = if set.until_ms > 0 && set.until_ms <= now {
                self.watch_rollout(tenant, card).await
            } else if widens && set.rollout == Rollout::Pilot && set.until_ms == 0 {
                self.widen(tenant, card, (&set, now)).await
            } else {
                Ok(())
            };
            // One action that cannot be moved keeps no other where it is.
            if let Err(error) = moved {
                let action = card.name.as_str();
                tracing::warn!(%error, tenant, action, "an action that is due could not be moved");
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
        let log = self
            .would_have((tenant, card.name.as_str()), Readers::Writes)
            .await?;
        if log.surprises > 0 || self.has_open_doubts(tenant, card).await? {
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
        let view = self.view(tenant, card.name.as_str())?;
        if view.card.digest() != card.digest() || !self.pending(tenant, card, Some(set)).is_empty()
        {
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
        crash::point("before_widening").await;
        // Set only over what was looked at: whoever moved it meanwhile wins.
        self.move_to(
            &view,
            (tenant, "connectord"),
            (&to, Some(set.clone())),
            &why,
        )
        .await
    }

    /// Whether it is not known of an execution of the action, however old, what became of it.
    async fn has_open_doubts(&self, tenant: &str, card: &Card) -> Result<bool, AppError> {
        for state in [State::InDoubt, State::Human] {
            let filter = Filter {
                state: Some(state.name().to_owned()),
                action: Some(card.name.as_str().to_owned()),
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
