//! Delivers notices: at least once to every sink that is configured, each sink by itself, with
//! growing waits, until it is given up. What is given up is kept and shown by `notices ls`.

mod http;
mod sink;
mod slack;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use writ_proto::Reason;

use crate::app::SharedApp;
use crate::config::NotifyConfig;
use crate::domain::incident::notice::{Delivery, Notice, backoff_ms};
use crate::error::AppError;
use crate::store::notice::{NoticeRow, Settled};
use crate::{clock, ids};
use http::Http;
use sink::Sink;

const PERIOD: Duration = Duration::from_millis(500);
/// Notices that one process sends at the same time.
const TAKE_MAX: usize = 8;
/// Longer than the messages of one notice to all sinks take.
const LEASE_MS: i64 = 60_000;
/// Names and values of a notice that its line of the log shows.
const FIELDS_SHOWN: usize = 4;
const BACKOFF_MS_MAX: i64 = 30 * 60 * 1_000;
const RETRY_AFTER_SECONDS_MAX: i64 = 3_600;
/// What was delivered is removed after this time; what was given up is not.
const KEPT_MS: i64 = 90 * 24 * 3_600 * 1_000;
const PRUNE_PERIOD: Duration = Duration::from_secs(3_600);

/// Where notices go, checked.
#[derive(Debug, Clone)]
pub struct Notifier {
    http: Http,
    sinks: Vec<Sink>,
    /// Until when each sink asked to be left alone, Unix milliseconds.
    paused: Arc<Vec<AtomicI64>>,
    tries_max: u32,
    first_ms: i64,
}

impl Notifier {
    /// Checks every sink of the configuration.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for a URL or a secret that cannot be used; it says which, not what.
    pub fn open(config: &NotifyConfig) -> Result<Self, AppError> {
        let sinks = Sink::all(config)?;
        let invalid = |why| AppError::new(Reason::ConfigInvalid, why);
        sinks.iter().try_for_each(Sink::check).map_err(invalid)?;
        Ok(Self {
            http: Http::new().map_err(|why| AppError::new(Reason::TlsInvalid, why))?,
            paused: Arc::new(sinks.iter().map(|_| AtomicI64::new(0)).collect()),
            sinks,
            tries_max: config.tries,
            first_ms: i64::from(config.backoff_seconds).saturating_mul(1_000),
        })
    }

    /// One try: each sink that has not taken the notice gets it.
    async fn attempt(&self, row: &NoticeRow) -> Settled {
        let (mut taken, mut errors, mut wait_ms) = (row.taken.clone(), Vec::new(), 0);
        let mut tried = false;
        for (sink, paused) in self.sinks.iter().zip(self.paused.iter()) {
            if row.taken.iter().any(|name| name == sink.name()) {
                continue;
            }
            let now = clock::now().timestamp_millis();
            let left = paused.load(Ordering::Relaxed).saturating_sub(now);
            // One that is longer than a pause can be is of a clock that was set back since.
            let is_pause = left <= RETRY_AFTER_SECONDS_MAX.saturating_mul(1_000);
            if left > 0 && is_pause {
                errors.push(format!("{}: asked to wait", sink.name()));
                wait_ms = left.max(wait_ms);
                continue;
            }
            tried = true;
            match sink.send(&self.http, row).await {
                Ok(()) => taken.push(sink.name().to_owned()),
                Err(failed) => {
                    errors.push(format!("{}: {}", sink.name(), failed.why));
                    let asked = left_alone_ms(failed.retry_after);
                    if asked > 0 {
                        // One that failed for another reason meanwhile takes nothing from it.
                        let until = now.saturating_add(asked);
                        if is_pause {
                            paused.fetch_max(until, Ordering::Relaxed);
                        } else {
                            paused.store(until, Ordering::Relaxed);
                        }
                    }
                }
            }
        }
        let state = match errors.is_empty() {
            true => Delivery::Delivered,
            false if !tried || row.tries < self.tries_max => Delivery::Waiting,
            false => Delivery::Dead,
        };
        let salt = ids::salt().unwrap_or_default();
        let random = u16::from_be_bytes([salt[0], salt[1]]);
        let backoff = backoff_ms(row.tries, self.first_ms, BACKOFF_MS_MAX, random);
        let now = clock::now().timestamp_millis();
        // Where another sink failed by itself, it does not wait for the one that asked to: that is passed over by then.
        let wait = if tried { backoff } else { backoff.max(wait_ms) };
        Settled {
            state,
            due_ms: now.saturating_add(wait),
            taken,
            error: errors.join("; "),
            tried: tried || self.sinks.is_empty(),
        }
    }

    async fn deliver(self, app: SharedApp, row: NoticeRow) {
        let settled = self.attempt(&row).await;
        say(&row, &settled, self.sinks.is_empty());
        if let Err(error) = app.ledger.notice_settle(&row, &settled).await {
            tracing::warn!(id = %row.notice.id, %error, "a notice may be sent again");
        }
    }
}

/// How long a sink is left alone that asks for so many seconds, in milliseconds.
fn left_alone_ms(asked_seconds: Option<i64>) -> i64 {
    let seconds = asked_seconds.unwrap_or(0).clamp(0, RETRY_AFTER_SECONDS_MAX);
    seconds.saturating_mul(1_000)
}

/// `a notice (a halt was set at 16:01:16Z; by acme/ops, scope tenant:acme) is kept ..`.
fn kept(notice: &Notice) -> String {
    let time = chrono::DateTime::from_timestamp_millis(notice.time_ms);
    let time = time.map_or_else(String::new, |time| time.format(" at %H:%M:%SZ").to_string());
    let fields = notice.fields.iter().take(FIELDS_SHOWN);
    let fields: Vec<String> = fields
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    format!(
        "a notice ({}{time}; {}) is kept for `policyd notices ls --cert CERT`, and nobody was told: [notify] in policyd.toml names \
         no webhook and no Slack channel",
        notice.title,
        fields.join(", ")
    )
}

fn say(row: &NoticeRow, settled: &Settled, nobody: bool) {
    let (id, kind, tries) = (row.notice.id, row.notice.kind.name(), row.tries);
    let error = settled.error.as_str();
    let told = if nobody {
        kept(&row.notice)
    } else {
        format!("a notice was delivered at try {tries}")
    };
    match settled.state {
        Delivery::Delivered => tracing::info!(%id, kind, "{told}"),
        Delivery::Waiting => tracing::warn!(%id, kind, tries, error, "a notice was not taken"),
        Delivery::Dead => tracing::error!(%id, kind, tries, error, "a notice was given up"),
    }
}

/// Delivers until the process ends.
pub async fn deliver(app: SharedApp, notifier: Notifier) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pruned: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let now = clock::now().timestamp_millis();
        match app.ledger.notice_take(now, LEASE_MS, TAKE_MAX).await {
            Ok(rows) => {
                let mut running = JoinSet::new();
                for row in rows {
                    running.spawn(notifier.clone().deliver(SharedApp::clone(&app), row));
                }
                while running.join_next().await.is_some() {}
            }
            Err(error) => tracing::warn!(%error, "notices cannot be read"),
        }
        if pruned.is_none_or(|last| last.elapsed() > PRUNE_PERIOD) {
            pruned = Some(Instant::now());
            if let Err(error) = app.ledger.notice_prune(now.saturating_sub(KEPT_MS)).await {
                tracing::warn!(%error, "old notices cannot be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_left_alone_for_longer_than_an_hour() {
        for (asked, wanted) in [
            (None, 0),
            (Some(-1), 0),
            (Some(2), 2_000),
            (Some(3_600), 3_600_000),
            (Some(999_999_999), 3_600_000),
            (Some(i64::MAX), 3_600_000),
        ] {
            assert_eq!(left_alone_ms(asked), wanted, "{asked:?}");
        }
    }
}
