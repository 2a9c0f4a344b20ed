//! `policyd story deal/D-104`: everything that the log says of one record of the CRM.

use clap::Args;
use serde_json::{Value as Json, json};
use writ_proto::limits::PAGE_SIZE_MAX;
use writ_proto::pb::record_service_client::RecordServiceClient;
use writ_proto::{Reason, pb};

use crate::cli::people::records::{is_dry_run, target_of, time_of, value_of, values_of};
use crate::cli::remote::{Remote, failed};
use crate::error::AppError;
use crate::output::Output;

/// Records that are told at most; the newest of them.
const TOLD_MAX: usize = 1_000;

/// Characters of the id of a decision.
const ID_CHARS: usize = 36;

/// Which record.
#[derive(Debug, Args)]
pub(crate) struct StoryArgs {
    #[command(flatten)]
    remote: Remote,
    /// Type and id, such as `deal/D-104`.
    record: String,
}

/// Whether a record of the log belongs to the story: it is about the record, or it moved an action.
fn belongs(record: &pb::Record, wanted: &str) -> bool {
    let moved = record.kind == "rollout_changed" && !record.status.starts_with("SURPRISE_");
    target_of(record) == *wanted || moved
}

fn json_of(values: &Json, name: &str) -> String {
    values.get(name).map(Json::to_string).unwrap_or_default()
}

/// One line of the story in words.
fn told(record: &pb::Record) -> String {
    let values = values_of(record);
    let text = |name: &str| value_of(&values, name);
    let rules = record.rule_ids.join(", ");
    let codes = record.reason_codes.join(", ");
    match record.kind.as_str() {
        "evaluated" => {
            let mut line = format!(
                "{} asked for {}{} {}{}: {}",
                record.agent,
                if is_dry_run(record) {
                    "a dry run of "
                } else {
                    ""
                },
                record.action,
                json_of(&values, "args"),
                because(text("reason")),
                record.verdict,
            );
            for (word, part) in [
                ("", &codes),
                ("by rule ", &rules),
                ("under the policies ", &record.policy_version),
            ] {
                if !part.is_empty() {
                    line.push_str(&format!(" {word}{part}"));
                }
            }
            line
        }
        "result" | "reconciliation" if is_dry_run(record) => format!(
            "dry run of {} {}{}; nothing was written",
            record.action,
            with_codes(&record.status, &codes),
            changed(&values, "would become"),
        ),
        "result" | "reconciliation" => format!(
            "{} {}{}",
            record.action,
            with_codes(&record.status, &codes),
            changed(&values, "became"),
        ),
        "token_refused" => format!("a writ for {} was refused: {codes}", record.action),
        "undo" => undo_told(record, &values, &codes),
        // The note holds what moved, beside the reason that somebody gave.
        "rollout_changed" => {
            let did = match record.status.as_str() {
                "SURPRISE_MARKED" => "marked as wrong an execution of",
                "SURPRISE_TAKEN_BACK" => "took back the mark of an execution of",
                _ => "moved",
            };
            // Where the values are erased the status says where to.
            let note = match text("note") {
                note if note.is_empty() && did == "moved" => record.status.clone(),
                note => note,
            };
            let told = format!("{} {did} {}: {note}", text("by"), record.action);
            told.trim_end_matches([':', ' ']).to_owned()
        }
        kind => format!("{kind} {} {} {codes}", record.action, record.status),
    }
}

/// `FAILED (SYSTEM_UNAVAILABLE)`.
fn with_codes(status: &str, codes: &str) -> String {
    if codes.is_empty() {
        status.to_owned()
    } else {
        format!("{status} ({codes})")
    }
}

/// What a record showed before and after; nothing where it was not looked at.
fn changed(values: &Json, word: &str) -> String {
    let seen = |name| {
        Some(json_of(values, name)).filter(|json| !matches!(json.as_str(), "" | "{}" | "null"))
    };
    match (seen("before"), seen("after")) {
        (Some(before), Some(after)) => format!(": {before} {word} {after}"),
        (None, Some(after)) => format!(": {word} {after}"),
        (Some(before), None) => format!(": it held {before}"),
        (None, None) => String::new(),
    }
}

fn because(why: String) -> String {
    match why.as_str() {
        "" => why,
        said => format!(", because \"{said}\""),
    }
}

fn undo_told(record: &pb::Record, values: &serde_json::Value, codes: &str) -> String {
    let text = |name: &str| value_of(values, name);
    let (by, why) = (text("by"), because(text("note")));
    if record.status == "UNDO_REFUSED" {
        let action = &record.action;
        return format!("undo of {action} refused for {by}{why} ({codes}): nothing was changed");
    }
    let changed = changed(values, "became");
    let (action, status) = (&record.action, with_codes(&record.status, codes));
    if status == "UNDONE" {
        return format!("{by} undid {action}{why}: it was put back{changed}");
    }
    format!("undo of {action} by {by}{why}: {status}{changed}")
}

/// All records of a tenant that belong to a story, the newest at most.
async fn collected(args: &StoryArgs) -> Result<Vec<pb::Record>, AppError> {
    let mut client = RecordServiceClient::new(args.remote.channel().await?);
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListRecordsRequest {
            parent: args.remote.parent(),
            page_size: i32::try_from(PAGE_SIZE_MAX).unwrap_or(i32::MAX),
            page_token,
        };
        let page = client.list_records(request).await.map_err(failed)?;
        let page = page.into_inner();
        let wanted = |record: &pb::Record| belongs(record, &args.record);
        found.extend(page.records.into_iter().filter(wanted));
        let more = found.len().saturating_sub(TOLD_MAX);
        found.drain(..more);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

pub(crate) async fn run(args: &StoryArgs, output: Output) -> Result<u8, AppError> {
    if !args.record.contains('/') {
        let record = &args.record;
        let message = format!("`{record}` is not TYPE/ID, such as deal/D-104");
        let error = AppError::new(Reason::RequestMalformed, message);
        // What is as long as that is the id of a decision.
        return Err(if record.len() == ID_CHARS {
            error.with_fix(format!(
                "read a decision by its id: policyd decisions get {record}"
            ))
        } else {
            error
        });
    }
    let records = collected(args).await?;
    let about = |record: &&pb::Record| target_of(record) == args.record;
    // Moves of actions that nobody used on this record are no part of it.
    let actions: Vec<&str> = records
        .iter()
        .filter(about)
        .map(|record| record.action.as_str())
        .collect();
    let own = records
        .iter()
        .filter(|record| actions.contains(&record.action.as_str()));
    // connectord's part is recorded a moment after it happened, behind what policyd did meanwhile.
    let mut own: Vec<&pb::Record> = own.collect();
    own.sort_by_key(|record| (time_of(record), record.seq));
    if !own.is_empty() {
        output.note("The number after # is that of the entry in the log. Entries about other records, halts and policies are not shown.");
    }
    if !own.is_sorted_by_key(|record| record.seq) {
        output.note("The lines are in the order in which things happened. The numbers can be out of that order, because what connectord did is logged a \
             moment after it happened.");
    }
    for record in &own {
        let time = time_of(record).format("%Y-%m-%d %H:%M:%S%.3fZ");
        let line = told(record);
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = format!("{time}  #{:<5} {line}", record.seq);
        let value = json!({"seq": record.seq, "time": time_of(record).to_rfc3339(), "kind": record.kind,
            "decision": record.record_id, "version": record.version, "agent": record.agent, "action": record.action,
            "verdict": record.verdict, "status": record.status, "rules": record.rule_ids, "policy": record.policy_version,
            "values": values_of(record), "leaf_hash": hex::encode(&record.leaf_hash), "told": line});
        output.line(&text, &value);
    }
    if own.is_empty() {
        let message = format!(
            "the log of {} says nothing of {}",
            args.remote.tenant(),
            args.record
        );
        return Err(AppError::new(Reason::NotFound, message).with_fix(
            "name a record as its card does, such as deal/D-104, or a decision by its id: policyd decisions ls",
        ));
    }
    output.note("Prove it: policyd records export --with-values --out FILE --cert CERT, then policyd records verify FILE --trust keys/public.json --replay");
    Ok(0)
}
