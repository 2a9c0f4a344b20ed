//! `policyd notices`: what people were told.

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use writ_proto::pb;
use writ_proto::pb::notice_service_client::NoticeServiceClient;

use crate::cli::people::incidents::time;
use crate::cli::remote::{Remote, failed};
use crate::error::AppError;
use crate::output::Output;

/// How a notice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// It is sent again.
    Waiting,
    /// Every sink has it.
    Delivered,
    /// Given up.
    Dead,
}

/// Reading notices.
#[derive(Debug, Subcommand)]
pub(crate) enum NoticesCommand {
    /// The newest notices, newest first.
    Ls {
        #[command(flatten)]
        remote: Remote,
        /// Only those that stand so.
        #[arg(long)]
        state: Option<State>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: i32,
    },
}

pub(crate) async fn run(command: &NoticesCommand, output: Output) -> Result<u8, AppError> {
    let NoticesCommand::Ls {
        remote,
        state,
        limit,
    } = command;
    let mut client = NoticeServiceClient::new(remote.channel().await?);
    let request = pb::ListNoticesRequest {
        parent: remote.parent(),
        page_size: *limit,
    };
    let answer = client.list_notices(request).await.map_err(failed)?;
    for notice in answer.into_inner().notices {
        let found = match pb::NoticeState::try_from(notice.state) {
            Ok(pb::NoticeState::Waiting) => Some(State::Waiting),
            Ok(pb::NoticeState::Delivered) => Some(State::Delivered),
            Ok(pb::NoticeState::Dead) => Some(State::Dead),
            Ok(pb::NoticeState::Unspecified) | Err(_) => None,
        };
        if state.is_some() && *state != found {
            continue;
        }
        let stands = match found {
            Some(State::Delivered) if notice.sinks.is_empty() => "kept; no sink is configured",
            Some(State::Delivered) => "delivered",
            Some(State::Waiting) => "waiting",
            Some(State::Dead) => "dead",
            None => "unknown",
        };
        let fields = notice.fields.iter();
        let fields: Vec<String> = fields
            .map(|field| format!("{}={}", field.name, field.value))
            .collect();
        let mut text = format!(
            "{} {}  {}  {}  {}",
            time(notice.time),
            notice.kind,
            stands,
            notice.title,
            fields.join(" "),
        );
        if !notice.error.is_empty() {
            text.push_str(&format!(
                "\n  after {} tries: {}",
                notice.tries, notice.error
            ));
        }
        let pairs = notice
            .fields
            .iter()
            .map(|field| json!({"name": field.name, "value": field.value}));
        let value = json!({
            "name": notice.name,
            "kind": notice.kind,
            "state": stands,
            "title": notice.title,
            "fields": pairs.collect::<Vec<_>>(),
            "link": notice.link,
            "time": time(notice.time),
            "repeats": notice.repeats,
            "tries": notice.tries,
            "sinks": notice.sinks,
            "error": notice.error,
        });
        output.line(&text, &value);
    }
    Ok(0)
}
