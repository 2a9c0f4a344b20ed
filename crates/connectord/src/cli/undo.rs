//! `connectord undo`: one execution, a run, a time window; last in, first out.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};

use clap::Args;
use serde_json::json;
use tonic::transport::Channel;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::{Reason, pb};

use super::executions::{changed, changes, id_of, since};
use super::remote::{Remote, failed};
use crate::clock;
use crate::error::AppError;
use crate::output::{Output, plural};

/// Executions looked at in one call, so that progress is seen and an interruption loses little.
const PAGE: i32 = 25;
/// Pages of one batch; a larger one is narrowed or goes on with --resume.
const PAGES_MAX: usize = 4_000;
const BAR: usize = 30;
/// Characters of an answer that are shown again.
const ANSWER_SHOWN: usize = 40;

/// What to undo.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of its own on the command line"
)]
#[derive(Debug, Args)]
pub(super) struct UndoArgs {
    #[command(flatten)]
    remote: Remote,
    /// One execution.
    #[arg(long, conflicts_with_all = ["run", "since", "from", "resume"])]
    execution: Option<String>,
    /// Everything of a run.
    #[arg(long)]
    run: Option<String>,
    /// Everything of the last so many minutes or hours, such as 15m.
    #[arg(long, conflicts_with = "from")]
    since: Option<String>,
    /// Everything since a moment, such as 2026-11-21T09:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only this action.
    #[arg(long, default_value = "")]
    action: String,
    /// Only what this agent did.
    #[arg(long, default_value = "")]
    agent: String,
    /// Only on this record, such as `deal/D-104`.
    #[arg(long, default_value = "")]
    target: String,
    /// Why; recorded.
    #[arg(long, default_value = "")]
    reason: String,
    /// Show what would be undone.
    #[arg(long)]
    dry_run: bool,
    /// Undo also what policyd has not signed the undo of; needs --reason, and is recorded.
    #[arg(long)]
    unsigned: bool,
    /// Do not ask before it is undone.
    #[arg(long, short)]
    yes: bool,
    /// Go on with the same selection after an interruption: what was undone by then counts too.
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,
}

impl UndoArgs {
    /// The names that were given where nothing was found under them: one may be mistyped.
    fn names_nothing(&self, count: &Count) -> Option<String> {
        let run = self.run.clone().unwrap_or_default();
        let names = [
            ("--run", &run),
            ("--action", &self.action),
            ("--agent", &self.agent),
            ("--target", &self.target),
        ];
        let given: Vec<String> = (names.iter().filter(|(_, name)| !name.is_empty()))
            .map(|(flag, name)| format!("{flag} {name}"))
            .collect();
        let found = count.seen.saturating_add(count.earlier);
        (found == 0 && !given.is_empty() && self.execution.is_none()).then(|| given.join(" "))
    }
}

/// What came of a batch so far.
#[derive(Debug, Default)]
struct Count {
    seen: usize,
    done: usize,
    planned: usize,
    earlier: usize,
    total: usize,
    in_doubt: Vec<String>,
    /// Why some were refused; each is told what to do once.
    refused: BTreeSet<Reason>,
}

impl Count {
    fn item(&mut self, item: &pb::UndoItem, output: &Output) {
        self.seen = self.seen.saturating_add(1);
        self.done = self.done.saturating_add(usize::from(item.undone));
        self.planned = self
            .planned
            .saturating_add(usize::from(item.reason_code.is_empty()));
        let refused = Reason::from_code(&item.reason_code);
        self.refused.extend(refused.filter(|_| !item.undone));
        let word = if item.unsigned {
            " (UNDO_NOT_SIGNED)"
        } else {
            ""
        };
        let target = item.target.clone().unwrap_or_default();
        let value = json!({"execution": item.execution, "undone": item.undone,
            "action": item.action, "target": format!("{}/{}", target.r#type, target.id), "agent": item.agent,
            "time": item.create_time.as_ref().and_then(written_at),
            "reason_code": item.reason_code, "message": item.message,
            "changes": changes(&item.changes), "unsigned": item.unsigned});
        let id = named(item);
        let fields: Vec<String> = item.changes.iter().map(changed).collect();
        let fields = fields.join(", ");
        let what = match (item.undone, item.reason_code.as_str()) {
            (true, _) if fields.is_empty() => format!("UNDONE{word}"),
            (true, _) => format!("UNDONE{word}: put back {fields}"),
            (false, "") if fields.is_empty() => format!("would be undone{word}"),
            (false, "") => format!("would put back {fields}{word}"),
            (false, code) => format!("REFUSED {code} {}", item.message),
        };
        output.line(&format!("{id}  {what}"), &value);
    }

    /// A bar on the terminal; nothing where nobody watches.
    fn show(&self) {
        let mut err = std::io::stderr();
        if !err.is_terminal() || self.total == 0 {
            return;
        }
        let filled = self.seen.saturating_mul(BAR) / self.total;
        let bar = format!(
            "{}{}",
            "#".repeat(filled.min(BAR)),
            ".".repeat(BAR.saturating_sub(filled))
        );
        // A terminal that is gone must not end the batch.
        let _ = write!(err, "\r[{bar}] {} of {}", self.seen, self.total);
        if self.seen >= self.total {
            let _ = writeln!(err);
        }
    }
}

/// `2026-11-28T09:00:00Z`.
fn written_at(time: &prost_types::Timestamp) -> Option<String> {
    let time = chrono::DateTime::from_timestamp(time.seconds, 0)?;
    Some(time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// What is undone: its id, its record, who wrote it by which action, and when.
fn named(item: &pb::UndoItem) -> String {
    let id = item.execution.rsplit('/').next().unwrap_or_default();
    let target = item.target.clone().unwrap_or_default();
    let time = item
        .create_time
        .as_ref()
        .and_then(written_at)
        .unwrap_or_default();
    format!(
        "{id}  {}/{}  {} by {}  {time}",
        target.r#type, target.id, item.action, item.agent
    )
}

/// That nobody said yes, which is no leave to undo.
fn unasked() -> AppError {
    let message = "nobody answered whether to undo, so nothing was undone";
    let fix = "--yes undoes without asking, --dry-run shows what would be undone";
    AppError::new(Reason::RequestMalformed, message).with_fix(fix)
}

/// What somebody answered.
enum Answer {
    Yes,
    No,
    /// There was nothing to ask.
    Nothing,
}

/// Shows the first of the plan and asks.
async fn answer(
    client: &mut ConnectorServiceClient<Channel>,
    selection: &pb::BatchUndoRequest,
    output: &Output,
) -> Result<Answer, AppError> {
    let mut request = pb::BatchUndoRequest {
        dry_run: true,
        ..selection.clone()
    };
    let page = client.batch_undo(request.clone()).await;
    let mut page = page.map_err(failed)?.into_inner();
    let (total, is_cut) = (page.total, page.total_is_cut);
    let mut in_doubt = page.in_doubt.len();
    if total == 0 && !is_cut {
        return Ok(Answer::Nothing);
    }
    // Those before may all be undone already.
    for _ in 0..PAGES_MAX {
        if !page.items.is_empty() || page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        let next = client.batch_undo(request.clone()).await;
        page = next.map_err(failed)?.into_inner();
        in_doubt = in_doubt.saturating_add(page.in_doubt.len());
    }
    let mut count = Count::default();
    for item in &page.items {
        count.item(item, output);
    }
    if count.seen == 0 {
        return Ok(Answer::Nothing);
    }
    if !page.next_page_token.is_empty() {
        output.note("these are the first; --dry-run shows all. What is in doubt behind them and was written is undone too");
    }
    let mut err = std::io::stderr();
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    let least = if is_cut { "at least " } else { "" };
    let total = total.max(count.seen);
    let doubt = match in_doubt {
        0 => String::new(),
        count if page.next_page_token.is_empty() => format!(", and {count} in doubt if written"),
        count => format!(", and at least {count} in doubt if written"),
    };
    let total = plural(total, "write");
    let _ = write!(err, "undo {least}{total}{doubt}? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if matches!(read, Ok(0) | Err(_)) {
        let _ = writeln!(err);
        return Err(unasked());
    }
    let answer = answer.trim().to_lowercase();
    let is_yes = matches!(answer.as_str(), "y" | "yes");
    if !is_yes && !matches!(answer.as_str(), "" | "n" | "no") {
        // What was pasted behind the command is taken for the answer.
        let said: String = answer.chars().take(ANSWER_SHOWN).collect();
        let _ = writeln!(err, "the answer was {said:?}, not y");
    }
    Ok(if is_yes { Answer::Yes } else { Answer::No })
}

fn moment(text: &str) -> Result<prost_types::Timestamp, AppError> {
    let moment = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| {
        let message = format!("--from {text}: write a time such as 2026-11-21T09:00:00Z");
        AppError::new(Reason::RequestMalformed, message)
    })?;
    Ok(prost_types::Timestamp {
        seconds: moment.timestamp(),
        nanos: 0,
    })
}

fn selection(args: &UndoArgs) -> Result<pb::BatchUndoRequest, AppError> {
    if args.run.is_none() && args.since.is_none() && args.from.is_none() {
        let narrowed = [&args.action, &args.agent, &args.target];
        let message = if narrowed.iter().all(|one| one.is_empty()) {
            "say what to undo: --execution ID, --run RUN, --since 15m or --from TIME; --action, --agent and --target \
             narrow it"
        } else {
            "--action, --agent and --target narrow what is undone; say also since when or of which run: --since 15m, \
             --from TIME or --run RUN"
        };
        return Err(AppError::new(Reason::RequestMalformed, message));
    }
    let since = match (&args.since, &args.from) {
        (Some(span), _) => Some(since(span)?),
        (None, Some(time)) => Some(moment(time)?),
        (None, None) => None,
    };
    // What is written while the batch goes on is not part of it.
    let until = prost_types::Timestamp {
        seconds: clock::now().timestamp().saturating_add(1),
        nanos: 0,
    };
    Ok(pb::BatchUndoRequest {
        parent: args.remote.parent(),
        run_id: args.run.clone().unwrap_or_default(),
        since,
        until: Some(until),
        action: args.action.clone(),
        agent: args.agent.clone(),
        target_id: id_of(&args.target)?.to_owned(),
        reason: args.reason.clone(),
        dry_run: args.dry_run,
        unsigned: args.unsigned,
        page_size: PAGE,
        page_token: String::new(),
    })
}

async fn batch(
    client: &mut ConnectorServiceClient<Channel>,
    (args, mut request): (&UndoArgs, pb::BatchUndoRequest),
    output: &Output,
) -> Result<Count, AppError> {
    let from = request.since.filter(|_| !args.dry_run);
    let from = from.and_then(|since| chrono::DateTime::from_timestamp(since.seconds, 0));
    let mut count = Count::default();
    for _ in 0..PAGES_MAX {
        let page = client.batch_undo(request.clone()).await;
        let page = page.map_err(failed)?.into_inner();
        if request.page_token.is_empty() {
            count.total = usize::try_from(page.total).unwrap_or_default();
        }
        count.in_doubt.extend(page.in_doubt);
        let earlier = usize::try_from(page.undone_earlier).unwrap_or_default();
        count.earlier = count.earlier.saturating_add(earlier);
        for item in &page.items {
            count.item(item, output);
            count.show();
        }
        if page.next_page_token.is_empty() {
            return Ok(count);
        }
        if let Some(from) = from.filter(|_| request.page_token.is_empty()) {
            let from = from.format("%Y-%m-%dT%H:%M:%SZ");
            output.note(&format!(
                "if this is interrupted, run it again with --from {from} --resume"
            ));
        }
        request.page_token = page.next_page_token;
    }
    Err(AppError::new(
        Reason::RequestTooLarge,
        "the selection is very large; go on with --resume",
    ))
}

/// Records of two kinds may have the same id, and the selection goes by the id: where the kind is given,
/// nothing of another kind is touched.
async fn check_kind(
    client: &mut ConnectorServiceClient<Channel>,
    (target, selection): (&str, &pb::BatchUndoRequest),
) -> Result<(), AppError> {
    let Some((kind, id)) = target.split_once('/') else {
        return Ok(());
    };
    let mut request = pb::BatchUndoRequest {
        dry_run: true,
        ..selection.clone()
    };
    let (mut other, mut is_there) = (None, false);
    for _ in 0..PAGES_MAX {
        let page = client.batch_undo(request.clone()).await;
        let page = page.map_err(failed)?.into_inner();
        for target in page.items.into_iter().filter_map(|item| item.target) {
            is_there |= target.r#type == kind;
            other = other.or(Some(target.r#type).filter(|other| other != kind));
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let Some(other) = other else { return Ok(()) };
    let message = if is_there {
        format!("--target {kind}/{id}: {other}/{id} was written too; say which by --action")
    } else {
        format!(
            "--target {kind}/{id}: nothing of that kind was written. Did you mean {other}/{id}?"
        )
    };
    Err(AppError::new(Reason::RequestMalformed, message))
}

/// One execution by its id, which needs no question.
async fn one(
    client: &mut ConnectorServiceClient<Channel>,
    (args, id): (&UndoArgs, &str),
    output: &Output,
) -> Result<Count, AppError> {
    // What a list or an undo prints, whole or the end of it.
    let id = id.rsplit('/').next().unwrap_or_default();
    let request = pb::UndoRequest {
        name: format!("{}/executions/{id}", args.remote.parent()),
        reason: args.reason.clone(),
        dry_run: args.dry_run,
        unsigned: args.unsigned,
        request_id: crate::ids::new_id().to_string(),
    };
    let answer = client.undo(request).await.map_err(failed)?.into_inner();
    let mut count = Count::default();
    for item in answer.item.iter() {
        count.item(item, output);
    }
    Ok(count)
}

/// What a selection finds, after a yes where one is needed; nothing where it ends before that.
async fn many(args: &UndoArgs, output: &Output) -> Result<Option<Count>, AppError> {
    // What is looked at, asked for and undone is the same, however long the answer takes.
    let mut selection = selection(args)?;
    let asks = !args.dry_run && !args.yes;
    // Whoever reads JSON is no person.
    if asks && !output.is_table() {
        return Err(unasked());
    }
    let mut client = ConnectorServiceClient::new(args.remote.channel().await?);
    check_kind(&mut client, (&args.target, &selection)).await?;
    if asks {
        match answer(&mut client, &selection, output).await? {
            Answer::Yes => {}
            Answer::No => {
                output.line("nothing was undone", &json!({"undone": 0}));
                return Ok(None);
            }
            // What comes to stand from here on was in nobody's view.
            Answer::Nothing => selection.dry_run = true,
        }
    }
    let is_unseen = selection.dry_run && !args.dry_run;
    let count = batch(&mut client, (args, selection), output).await?;
    if is_unseen && count.seen > 0 {
        let text = "nothing was undone: these were settled only now; run it again";
        output.line(text, &json!({"undone": 0}));
        return Ok(None);
    }
    Ok(Some(count))
}

pub(super) async fn run(args: &UndoArgs, output: &Output) -> Result<u8, AppError> {
    let count = if let Some(id) = &args.execution {
        let mut client = ConnectorServiceClient::new(args.remote.channel().await?);
        one(&mut client, (args, id), output).await?
    } else {
        match many(args, output).await? {
            Some(count) => count,
            None => return Ok(1),
        }
    };
    let (number, verb) = if args.dry_run {
        (count.planned, "would undo")
    } else {
        (count.done, "undid")
    };
    let earlier = if args.resume { count.earlier } else { 0 };
    let more = if earlier > 0 {
        format!(" ({earlier} more were undone before)")
    } else {
        String::new()
    };
    let value = json!({"undone": count.done, "planned": count.planned, "of": count.seen,
        "undone_earlier": count.earlier, "in_doubt": count.in_doubt});
    let nothing = args.names_nothing(&count);
    let text = match &nothing {
        Some(names) => format!(
            "no live write of {} matches {names}, so nothing was undone; see what there is: connectord executions ls",
            args.remote.tenant()
        ),
        None if count.seen == 0 && earlier == 0 => format!(
            "no live write of {} in that time is left to undo; see what there is: connectord executions ls",
            args.remote.tenant()
        ),
        None => format!("{verb} {number} of {}{more}", count.seen),
    };
    output.line(&text, &value);
    for reason in &count.refused {
        output.note(&format!("Fix ({}): {}", reason.code(), reason.fix()));
    }
    if !count.in_doubt.is_empty() {
        let ids = count.in_doubt.join(", ");
        let text = format!(
            "{} more may have been written, which nobody knows yet: {ids}; they are being settled, then run this again",
            count.in_doubt.len()
        );
        output.line(&text, &json!({"in_doubt": count.in_doubt}));
    }
    Ok(u8::from(
        count.planned != count.seen || !count.in_doubt.is_empty() || nothing.is_some(),
    ))
}
