//! `[notify]`: who is told when a limit fires, an incident opens or a halt is set.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use writ_proto::duration::seconds;

use super::ConfigError;

/// Longest name of a Slack channel, in bytes.
const CHANNEL_BYTES_MAX: usize = 80;

/// `[notify]`. Without a sink notices are kept and shown, and sent nowhere.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// Tries of one notice before it is given up, 1 to 20; default 12, about half an hour.
    #[serde(default = "twelve")]
    pub tries: u32,
    /// Wait after the first failed try, 1s to 5m; doubled each time up to 30 minutes; default 1s.
    #[serde(rename = "backoff", default = "one", deserialize_with = "seconds")]
    pub backoff_seconds: u32,
    /// Slack.
    #[serde(default)]
    pub slack: Option<SlackConfig>,
    /// A receiver of signed JSON.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
}

/// `[notify.slack]`: an incoming webhook, or a token and a channel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    /// File with the URL of an incoming webhook, which is a secret; mode 0600.
    #[serde(default)]
    pub webhook_file: Option<PathBuf>,
    /// File with a bot token of scope `chat:write`; mode 0600.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Channel of the token.
    #[serde(default)]
    pub channel: Option<String>,
    /// Where the Web API of Slack is.
    #[serde(default = "slack_api")]
    pub api_url: String,
}

/// `[notify.webhook]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// https, or http on loopback.
    pub url: String,
    /// File with the signing secret, `whsec_` and base64 of 24 to 64 bytes; mode 0600.
    pub secret_file: PathBuf,
}

const fn twelve() -> u32 {
    12
}

const fn one() -> u32 {
    1
}

fn slack_api() -> String {
    "https://slack.com/api".to_owned()
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            tries: twelve(),
            backoff_seconds: one(),
            slack: None,
            webhook: None,
        }
    }
}

impl NotifyConfig {
    /// Checks the values and makes paths absolute.
    pub(super) fn check(&mut self, base: &Path) -> Result<(), ConfigError> {
        if !(1..=20).contains(&self.tries) {
            return Err(ConfigError::invalid("notify.tries is 1 to 20"));
        }
        if !(1..=300).contains(&self.backoff_seconds) {
            return Err(ConfigError::invalid("notify.backoff is 1s to 5m"));
        }
        if let Some(slack) = &mut self.slack {
            let hook = slack.webhook_file.is_some();
            let channel = slack.channel.as_deref();
            let named = |channel: &str| {
                !channel.is_empty()
                    && channel.len() <= CHANNEL_BYTES_MAX
                    && channel.bytes().all(|byte| byte.is_ascii_graphic())
            };
            let token = slack.token_file.is_some() && channel.is_some_and(named);
            if hook == token || (hook && (slack.token_file.is_some() || channel.is_some())) {
                let detail = "notify.slack takes webhook_file, or token_file and channel";
                return Err(ConfigError::invalid(detail));
            }
            let files = [&mut slack.webhook_file, &mut slack.token_file];
            for path in files.into_iter().flatten() {
                *path = base.join(&*path);
            }
        }
        if let Some(webhook) = &mut self.webhook {
            webhook.secret_file = base.join(&webhook.secret_file);
        }
        Ok(())
    }
}
