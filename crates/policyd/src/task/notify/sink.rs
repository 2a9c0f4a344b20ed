//! Where a notice is sent, with the secret that it takes.

use std::path::{Path, PathBuf};

use writ_proto::Reason;
use zeroize::Zeroizing;

use super::http::{Answer, Http, target};
use super::{slack, webhook};
use crate::config::NotifyConfig;
use crate::error::AppError;
use crate::store::notice::NoticeRow;
use crate::{clock, keys};

/// One receiver. Secrets are read when they are used, so that a changed file counts at once.
#[derive(Debug, Clone)]
pub(super) enum Sink {
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
pub(super) struct Failed {
    pub(super) why: String,
    pub(super) retry_after: Option<i64>,
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
    /// Those of a configuration.
    pub(super) fn all(config: &NotifyConfig) -> Result<Vec<Self>, AppError> {
        let mut sinks = Vec::new();
        if let Some(slack) = config.slack.clone() {
            match (slack.webhook_file, slack.token_file, slack.channel) {
                (Some(file), _, _) => sinks.push(Self::SlackHook { file }),
                (None, Some(file), Some(channel)) => sinks.push(Self::SlackApi {
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
            sinks.push(Self::Webhook {
                file: webhook.secret_file,
                url: webhook.url,
            });
        }
        Ok(sinks)
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::SlackHook { .. } | Self::SlackApi { .. } => "slack",
            Self::Webhook { .. } => "webhook",
        }
    }

    /// Whether its files and URLs can be used.
    pub(super) fn check(&self) -> Result<(), String> {
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

    pub(super) async fn send(&self, http: &Http, row: &NoticeRow) -> Result<(), Failed> {
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
