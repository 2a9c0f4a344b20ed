//! Promotion and demotion of an action for a tenant: an explicit act of an operator with the
//! would-have log in view, or what a rule of the card does by itself. All of them are records.

use writ_proto::Reason;
use writ_proto::card::{Card, Rollout};
use writ_proto::limits::PAGE_SIZE_MAX;

use super::order::Order;
use super::outcome::{Kind, Outcome};
use super::{App, AppError};
use crate::clock;
use crate::domain::difference::differences;
use crate::domain::execution::{Execution, State};
use crate::domain::rollout::{calm, demoted};
use crate::halt::{Customer, Subject};
use crate::store::{Filter, JournalError, Promoted};

/// Longest time-boxed live, in milliseconds.
const UNTIL_MS_MAX: i64 = 30 * 24 * 3_600 * 1_000;
/// An undo is an execution too, so twice as many are read as the rule looks at.
const READ_PER_LOOK: u32 = 2;

/// Where an operator wants an action to be.
#[derive(Debug, Clone)]
pub struct Move {
    /// How far.
    pub rollout: Rollout,
    /// Unix milliseconds until which it stays there; 0 is for good.
    pub until_ms: i64,
    /// Promote although rows of the log are marked.
    pub accept_surprises: bool,
    /// What was written before counts on: for the rates that demote, and for marks.
    pub keeps_log: bool,
    /// Promote although no dry run was seen.
    pub accept_unseen: bool,
    /// The card that was in view; empty where none was.
    pub card_digest: Vec<u8>,
}

impl Move {
    /// Whether what was seen before still counts: for the rates that demote, for marks, and for the
    /// calm of a pilot. A person who takes an action back to its pilot wants it to begin anew.
    fn goes_on(&self, was: Rollout) -> bool {
        let back_to_pilot = was > self.rollout && self.rollout == Rollout::Pilot;
        self.keeps_log || (self.rollout <= was && !back_to_pilot)
    }
}

/// What the would-have log of an action holds since its last promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WouldHave {
    /// Dry runs, at most a page of them.
    pub rows: usize,
    /// Executions, dry or not, that are marked and were marked or changed since then.
    pub surprises: usize,
    /// Nothing was to be moved.
    pub unchanged: bool,
}

/// Where a card has a pilot, an action goes through it.
fn check_pilot(card: &Card, was: Rollout, to: Rollout) -> Result<(), AppError> {
    match (card.pilot, to) {
        (None, Rollout::Pilot) => {
            let message = "the card has no [pilot]";
            Err(AppError::new(Reason::RequestMalformed, message))
        }
        (Some(_), Rollout::Live) if was < Rollout::Pilot => Err(AppError::of(Reason::PilotFirst)),
        _ => Ok(()),
    }
}

/// A person promotes what was looked at: dry runs, marks, and the difference of the cards.
fn check_seen(
    card: &Card,
    (was, to): (Rollout, &Move),
    log: &WouldHave,
    pending: &[String],
) -> Result<(), AppError> {
    if !to.rollout.writes() {
        return Ok(());
    }
    if to.rollout > was && log.surprises > 0 && !to.accept_surprises {
        let message = format!("{} of {} rows are marked", log.surprises, log.rows);
        return Err(AppError::new(Reason::SurprisesMarked, message));
    }
    if to.rollout > was && !was.writes() && log.rows == 0 && !to.accept_unseen {
        return Err(AppError::of(Reason::NothingSeen));
    }
    let in_view = to.card_digest == card.digest();
    let asks = !pending.is_empty() || !to.card_digest.is_empty();
    if asks && !in_view {
        let message = format!("since it was promoted: {}", pending.join("; "));
        return Err(AppError::new(Reason::CardChanged, message));
    }
    Ok(())
}

impl App {
    /// The would-have log of an action since its last promotion. A demotion takes no mark away.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn would_have(&self, tenant: &str, action: &str) -> Result<WouldHave, AppError> {
        let set = self.journal.rollout(tenant, action).await?;
        let filter = Filter {
            action: Some(action.to_owned()),
            execute: Some(false),
            since_ms: set.map(|set| set.set_ms),
            limit: u32::try_from(PAGE_SIZE_MAX).unwrap_or(u32::MAX),
            ..Filter::default()
        };
        // Marked rows are looked for apart: one must not hide behind a thousand newer ones, nor one
        // that was marked after the promotion because it is older.
        let marked = Filter {
            surprises: true,
            execute: None,
            since_ms: None,
            touched_since_ms: filter.since_ms,
            ..filter.clone()
        };
        Ok(WouldHave {
            rows: self.journal.list(tenant, &filter).await?.len(),
            surprises: self.journal.list(tenant, &marked).await?.len(),
            unchanged: false,
        })
    }

    /// Sets how far an action goes; what its would-have log held is in the record and the answer.
    ///
    /// # Errors
    /// Without a reason, beyond what the card allows, with surprises that are not accepted, or
    /// when the journal is away.
    pub async fn set_rollout(
        &self,
        order: &Order,
        action: &str,
        to: &Move,
    ) -> Result<WouldHave, AppError> {
        let card = self.card(&order.tenant, action)?;
        if order.reason.trim().is_empty() {
            return Err(AppError::new(
                Reason::RequestMalformed,
                "a reason is required",
            ));
        }
        if to.rollout > card.rollout_max {
            let most = card.rollout_max.name();
            let message = format!("this card's rollout_max is `{most}`: raise it before promoting");
            return Err(AppError::new(Reason::DryRunOnly, message));
        }
        if to.until_ms != 0 && !to.rollout.writes() {
            let message = "until: only for an action that writes, in its pilot or live";
            return Err(AppError::new(Reason::RequestMalformed, message));
        }
        let ahead = to.until_ms.saturating_sub(clock::now().timestamp_millis());
        if to.until_ms != 0 && !(1..=UNTIL_MS_MAX).contains(&ahead) {
            let message = "until: a time within the next 30 days";
            return Err(AppError::new(Reason::RequestMalformed, message));
        }
        let set = self.journal.rollout_now(&order.tenant, action).await?;
        let was = Self::within(&card, set.as_ref());
        check_pilot(&card, was, to.rollout)?;
        let pending = self.pending(&order.tenant, &card, set.as_ref());
        let mut log = self.would_have(&order.tenant, action).await?;
        let stays = was == to.rollout && set.as_ref().map_or(0, |set| set.until_ms) == to.until_ms;
        if stays && pending.is_empty() {
            log.unchanged = true;
            return Ok(log);
        }
        check_seen(&card, (was, to), &log, &pending)?;
        let seen = format!(
            "{} (would-have log: {} rows, {} surprises marked)",
            order.reason, log.rows, log.surprises
        );
        self.move_to(&card, (&order.tenant, &order.by), (to, set), &seen)
            .await?;
        Ok(log)
    }

    /// What card and system file say otherwise than when the action was promoted.
    pub fn pending(&self, tenant: &str, card: &Card, set: Option<&Promoted>) -> Vec<String> {
        let Some(set) = set.filter(|set| set.rollout.writes()) else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        if !set.card.is_empty() {
            match Card::parse(&set.card) {
                Ok(promoted) => {
                    lines.extend(differences(&promoted, card).iter().map(ToString::to_string));
                }
                Err(error) => lines.push(format!(
                    "other: the card that was promoted cannot be read: {error}"
                )),
            }
        }
        let system = self.system(tenant, card.connection.as_str());
        let now = system.map(|system| hex::encode(system.digest(&card.target, card.verb.name())));
        if !set.system.is_empty() && now.is_ok_and(|now| now != set.system) {
            lines.push(format!(
                "other: the system file does `{}` otherwise",
                card.verb.name()
            ));
        }
        lines
    }

    async fn move_to(
        &self,
        card: &Card,
        (tenant, by): (&str, &str),
        (to, set): (&Move, Option<Promoted>),
        reason: &str,
    ) -> Result<(), AppError> {
        let was = Self::within(card, set.as_ref());
        let mut outcome = Outcome::new(Kind::RolloutChanged, tenant, to.rollout.name());
        card.name.as_str().clone_into(&mut outcome.action);
        card.connection.as_str().clone_into(&mut outcome.connection);
        by.clone_into(&mut outcome.by);
        let until = chrono::DateTime::from_timestamp_millis(to.until_ms)
            .filter(|_| to.until_ms > 0)
            .map(|until| format!(" until {}", until.format("%Y-%m-%dT%H:%M:%SZ")));
        let (from, to_name) = (was.name(), to.rollout.name());
        let until = until.unwrap_or_default();
        let digest = hex::encode(card.digest());
        outcome.note = format!("{from} -> {to_name}{until}, card {digest:.12}: {reason}");
        let (kept, system) = if to.rollout.writes() {
            let catalog = self.catalog.load();
            let text = catalog.held(tenant, card.name.as_str())?.text.to_string();
            let system = catalog.system(tenant, card.connection.as_str())?;
            (
                text,
                hex::encode(system.digest(&card.target, card.verb.name())),
            )
        } else {
            (String::new(), String::new())
        };
        let revision = set.as_ref().map_or(0, |set| set.revision);
        let promoted = Promoted {
            tenant: tenant.to_owned(),
            action: card.name.as_str().to_owned(),
            rollout: to.rollout,
            until_ms: to.until_ms,
            set_ms: set
                .filter(|_| to.goes_on(was))
                .map_or(outcome.time_ms, |set| set.set_ms),
            revision,
            card: kept,
            system,
        };
        let moved = self.journal.set_rollout(promoted, outcome.report()).await;
        moved.map_err(|error| match error {
            JournalError::Conflict => {
                let message =
                    "it was moved by somebody else meanwhile; look again: connectord actions show";
                AppError::new(Reason::PreconditionFailed, message)
            }
            error => error.into(),
        })
    }

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
    pub(super) async fn after_trouble(&self, execution: &Execution) {
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

    /// Marks an execution as a surprise, or takes the mark away.
    ///
    /// # Errors
    /// `NOT_FOUND`, or the journal is away.
    pub async fn mark_surprise(
        &self,
        order: &Order,
        id: &str,
        why: &str,
    ) -> Result<Execution, AppError> {
        let found = self.journal.execution(&order.tenant, id).await?;
        let mut execution = found.ok_or_else(|| AppError::of(Reason::NotFound))?;
        // Its own end would come too late for the entry that the mark has written.
        if !execution.state.is_final() {
            let message = "it has not ended; mark it when it has";
            return Err(AppError::new(Reason::RequestMalformed, message));
        }
        why.clone_into(&mut execution.surprise);
        let status = if why.is_empty() {
            "SURPRISE_TAKEN_BACK"
        } else {
            "SURPRISE_MARKED"
        };
        let mut outcome = Outcome::of_execution(Kind::RolloutChanged, &execution, status);
        (outcome.by, outcome.note) = (order.by.clone(), why.to_owned());
        self.journal
            .save(&mut [&mut execution], vec![outcome.report()])
            .await?;
        Ok(execution)
    }
}
