//! Delivers notices: at least once to every sink that is configured, each sink by itself, with
//! growing waits, until it is given up. What is given up is kept and shown by `notices ls`.

mod http;
mod slack;
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use writ_proto::Reason;
use zeroize::Zeroizing;

use crate::app::{AppError, SharedApp};
use crate::config::NotifyConfig;
use crate::domain::notice::{Delivery, backoff_ms};
use crate::store::notice::{NoticeRow, Settled};
use crate::{clock, ids, keys};
use http::{Answer, Http, target};

const PERIOD: Duration = Duration::from_millis(500);
/// Notices that one process sends at the same time.
const TAKE_MAX: usize = 8;
/// Longer than the messages of one notice to all sinks take.
const LEASE_MS: i64 = 60_000;
const BACKOFF_MS_MAX: i64 = 30 * 60 * 1_000;
const RETRY_AFTER_SECONDS_MAX: i64 = 3_600;
/// What was delivered is removed after this time; what was given up is not.
const KEPT_MS: i64 = 90 * 24 * 3_600 * 1_000;
const PRUNE_PERIOD: Duration = Duration::from_secs(3_600);

/// One receiver. Secrets are read when they are used, so that a changed file counts at once.
#[derive(Debug, Clone)]
enum Sink {
    SlackHook {
        file: PathBuf,
    },
    SlackApi {
        file: PathBuf,
        channel: String,
        url: String,
    },
    Webhook {
        file: PathBuf,
        url: String,
    },
}

/// Why a sink did not take a notice.
struct Failed {
    why: String,
    retry_after: Option<i64>,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self {
            why,
            retry_after: None,
        }
    }
}

fn secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = keys::read_private(path).map_err(|error| error.to_string())?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

impl Sink {
    const fn name(&self) -> &'static str {
        match self {
            Self::SlackHook { .. } | Self::SlackApi { .. } => "slack",
            Self::Webhook { .. } => "webhook",
        }
    }

    /// Whether its files and URLs can be used.
    fn check(&self) -> Result<(), String> {
        let (file, url) = match self {
            Self::SlackHook { file } => (file, secret(file)?),
            Self::SlackApi { file, url, .. } | Self::Webhook { file, url } => {
                (file, Zeroizing::new(url.clone()))
            }
        };
        target(&url).map_err(|why| format!("the URL of notify.{}: {why}", self.name()))?;
        let found = secret(file)?;
        if let Self::Webhook { .. } = self {
            webhook::Secret::parse(&found)?;
        }
        Ok(())
    }

    async fn send(&self, http: &Http, row: &NoticeRow) -> Result<(), Failed> {
        let unusable = |why: &str| Failed::from(format!("the URL: {why}"));
        let (took, answer) = match self {
            Self::SlackHook { file } => {
                let url = target(&secret(file)?).map_err(unusable)?;
                let body = slack::message(&row.notice, None).to_string();
                let answer = http.post(url, &[], body.into_bytes()).await?;
                (slack::took(&answer), answer)
            }
            Self::SlackApi { file, channel, url } => {
                let url = format!("{}/chat.postMessage", url.trim_end_matches('/'));
                let url = target(&url).map_err(unusable)?;
                let body = slack::message(&row.notice, Some(channel)).to_string();
                let bearer = format!("Bearer {}", secret(file)?.as_str());
                let headers = [("authorization", bearer)];
                let answer = http.post(url, &headers, body.into_bytes()).await?;
                (slack::took(&answer), answer)
            }
            Self::Webhook { file, url } => {
                let url = target(url).map_err(unusable)?;
                let key = webhook::Secret::parse(&secret(file)?).map_err(str::to_owned)?;
                let (id, now) = (row.notice.id.to_string(), clock::now().timestamp());
                let body = webhook::body(row);
                let headers = [
                    ("webhook-signature", key.sign(&id, now, &body)),
                    ("webhook-id", id),
                    ("webhook-timestamp", now.to_string()),
                ];
                let answer = http.post(url, &headers, body).await?;
                (accepted(&answer), answer)
            }
        };
        took.map_err(|why| Failed {
            why,
            retry_after: answer.retry_after,
        })
    }
}

fn accepted(answer: &Answer) -> Result<(), String> {
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    Err(format!("status {}", answer.status))
}

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
        let mut sinks = Vec::new();
        if let Some(slack) = config.slack.clone() {
            match (slack.webhook_file, slack.token_file, slack.channel) {
                (Some(file), _, _) => sinks.push(Sink::SlackHook { file }),
                (None, Some(file), Some(channel)) => sinks.push(Sink::SlackApi {
                    file,
                    channel,
                    url: slack.api_url,
                }),
                (None, _, _) => {
                    return Err(AppError::new(
                        Reason::ConfigInvalid,
                        "notify.slack is empty",
                    ));
                }
            }
        }
        if let Some(webhook) = config.webhook.clone() {
            sinks.push(Sink::Webhook {
                file: webhook.secret_file,
                url: webhook.url,
            });
        }
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
        for (sink, paused) in self.sinks.iter().zip(self.paused.iter()) {
            if row.taken.iter().any(|name| name == sink.name()) {
                continue;
            }
            let now = clock::now().timestamp_millis();
            let left = paused.load(Ordering::Relaxed).saturating_sub(now);
            if left > 0 {
                errors.push(format!("{}: asked to wait", sink.name()));
                wait_ms = left.max(wait_ms);
                continue;
            }
            match sink.send(&self.http, row).await {
                Ok(()) => taken.push(sink.name().to_owned()),
                Err(failed) => {
                    errors.push(format!("{}: {}", sink.name(), failed.why));
                    let asked = failed.retry_after.unwrap_or(0);
                    let asked = asked
                        .clamp(0, RETRY_AFTER_SECONDS_MAX)
                        .saturating_mul(1_000);
                    paused.store(now.saturating_add(asked), Ordering::Relaxed);
                    wait_ms = asked.max(wait_ms);
                }
            }
        }
        let state = match errors.is_empty() {
            true => Delivery::Delivered,
            false if row.tries >= self.tries_max => Delivery::Dead,
            false => Delivery::Waiting,
        };
        let salt = ids::salt().unwrap_or_default();
        let random = u16::from_be_bytes([salt[0], salt[1]]);
        let backoff = backoff_ms(row.tries, self.first_ms, BACKOFF_MS_MAX, random);
        let now = clock::now().timestamp_millis();
        Settled {
            state,
            due_ms: now.saturating_add(backoff.max(wait_ms)),
            taken,
            error: errors.join("; "),
        }
    }

    async fn deliver(self, app: SharedApp, row: NoticeRow) {
        let settled = self.attempt(&row).await;
        let (id, kind, tries) = (row.notice.id, row.notice.kind.name(), row.tries);
        match settled.state {
            Delivery::Delivered => tracing::info!(%id, kind, tries, "a notice was delivered"),
            Delivery::Waiting => {
                tracing::warn!(%id, kind, tries, error = settled.error, "a notice was not taken");
            }
            Delivery::Dead => {
                tracing::error!(%id, kind, tries, error = settled.error, "a notice was given up");
            }
        }
        if let Err(error) = app.ledger.notice_settle(&row, &settled).await {
            tracing::warn!(%id, %error, "a notice may be sent again");
        }
    }
}

/// Delivers until the process ends.
pub async fn deliver(app: SharedApp, notifier: Notifier) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pruned: Option<tokio::time::Instant> = None;
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
            pruned = Some(tokio::time::Instant::now());
            if let Err(error) = app.ledger.notice_prune(now.saturating_sub(KEPT_MS)).await {
                tracing::warn!(%error, "old notices cannot be removed");
            }
        }
    }
}
