//! Promotion and demotion of an action for a tenant: an explicit act of an operator with the
//! would-have log in view, or what a rule of the card does by itself. All of them are records.

mod by_itself;

use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::card::{Card, Rollout};
use writ_proto::limits::PAGE_SIZE_MAX;

use super::catalog::Catalog;
use super::order::Order;
use super::outcome::{Kind, Outcome};
use super::{App, AppError};
use crate::clock;
use crate::domain::execution::Execution;
use crate::domain::gate::Refusal;
use crate::domain::promotion::differences;
use crate::store::{Filter, JournalError, Promoted, Readers};
use crate::system::System;

/// Longest time-boxed live, in milliseconds.
const UNTIL_MS_MAX: i64 = 30 * 24 * 3_600 * 1_000;

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

/// Card and driver of an action at one moment: what is promoted is what was looked at, whatever comes
/// into force meanwhile.
#[derive(Debug)]
pub(super) struct View {
    card: Arc<Card>,
    text: Arc<str>,
    system: Result<Arc<System>, Refusal>,
}

impl View {
    fn of(catalog: &Catalog, tenant: &str, action: &str) -> Result<Self, Refusal> {
        let held = catalog.held(tenant, action)?;
        Ok(Self {
            card: Arc::clone(&held.card),
            text: Arc::clone(&held.text),
            system: catalog.system(tenant, held.card.connection.as_str()),
        })
    }

    /// Hash of what the system file says of the verb, hex.
    fn system(&self) -> Result<String, Refusal> {
        let system = self.system.as_ref().map_err(Clone::clone)?;
        Ok(hex::encode(
            system.digest(&self.card.target, self.card.verb.name()),
        ))
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
    (tenant, card): (&str, &Card),
    (was, to): (Rollout, &Move),
    log: &WouldHave,
    pending: &[String],
) -> Result<(), AppError> {
    if !to.rollout.writes() {
        return Ok(());
    }
    if to.rollout > was && log.surprises > 0 && !to.accept_surprises {
        let (marked, all, name) = (log.surprises, log.rows, &card.name);
        let message = format!("{marked} of the {all} dry runs of {name} are marked as surprises");
        return Err(AppError::new(Reason::SurprisesMarked, message));
    }
    if to.rollout > was && !was.writes() && log.rows == 0 && !to.accept_unseen {
        let message = format!(
            "{tenant} has no dry run of {} since it was last moved",
            card.name
        );
        return Err(AppError::new(Reason::NothingSeen, message));
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
    /// The would-have log of an action since its last promotion. A demotion takes no mark away. A promotion waits for
    /// those who list.
    ///
    /// # Errors
    /// When the journal is away.
    pub async fn would_have(
        &self,
        (tenant, action): (&str, &str),
        readers: Readers,
    ) -> Result<WouldHave, AppError> {
        let set = self.journal.rollout(tenant, action).await?;
        let filter = Filter {
            action: Some(action.to_owned()),
            execute: Some(false),
            since_ms: set.map(|set| set.set_ms),
            limit: u32::try_from(PAGE_SIZE_MAX).unwrap_or(u32::MAX),
            readers,
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
        let view = self.view(&order.tenant, action)?;
        let card = Arc::clone(&view.card);
        if order.reason.trim().is_empty() {
            return Err(AppError::new(
                Reason::RequestMalformed,
                "a reason is required",
            ));
        }
        if to.rollout > card.rollout_max {
            let most = card.rollout_max.name();
            let name = &card.name;
            let message = format!(
                "{name} cannot be promoted further: its card says rollout_max = \"{most}\""
            );
            return Err(AppError::new(Reason::DryRunOnly, message).with_fix(format!(
                "its owner may raise rollout_max in actions/{name}.toml; then promote again"
            )));
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
        // Taking it back to dry run waits for nobody who lists.
        let readers = match to.rollout.writes() || !was.writes() {
            true => Readers::Lists,
            false => Readers::Writes,
        };
        let mut log = self.would_have((&order.tenant, action), readers).await?;
        let stays = was == to.rollout && set.as_ref().map_or(0, |set| set.until_ms) == to.until_ms;
        if stays && pending.is_empty() {
            log.unchanged = true;
            return Ok(log);
        }
        check_seen((&order.tenant, &card), (was, to), &log, &pending)?;
        let runs = match log.rows {
            1 => "dry run",
            _ => "dry runs",
        };
        let seen = format!(
            "after {} {runs} ({} marked as wrong by an operator), because {:?}",
            log.rows, log.surprises, order.reason
        );
        self.move_to(&view, (&order.tenant, &order.by), (to, set), &seen)
            .await?;
        Ok(log)
    }

    /// What card and system file say otherwise than when the action was promoted.
    pub fn pending(&self, tenant: &str, card: &Card, set: Option<&Promoted>) -> Vec<String> {
        let Some(set) = set.filter(|set| set.rollout.writes()) else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        if set.card.is_empty() || set.system.is_empty() {
            lines.push("other: it was promoted by an earlier version".to_owned());
        }
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

    fn view(&self, tenant: &str, action: &str) -> Result<View, Refusal> {
        View::of(&self.catalog.load(), tenant, action)
    }

    async fn move_to(
        &self,
        view: &View,
        (tenant, by): (&str, &str),
        (to, set): (&Move, Option<Promoted>),
        reason: &str,
    ) -> Result<(), AppError> {
        let card = &view.card;
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
        // What a person typed stands last: a note that is too long is cut there.
        outcome.note =
            format!("{from} -> {to_name}{until}, under its card sha256:{digest:.12}, {reason}");
        let (kept, system) = if to.rollout.writes() {
            (view.text.to_string(), view.system()?)
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
        if moved.is_ok() {
            let action = card.name.as_str();
            tracing::info!(tenant, action, by, "{from} -> {to_name}");
        }
        moved.map_err(|error| match error {
            JournalError::Conflict => {
                let message =
                    "it was moved by somebody else meanwhile; look again: connectord actions show";
                AppError::new(Reason::PreconditionFailed, message)
            }
            error => error.into(),
        })
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
