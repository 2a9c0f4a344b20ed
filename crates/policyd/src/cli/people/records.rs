//! `policyd records`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use ed25519_dalek::VerifyingKey;
use serde_json::json;
use writ_proto::keyset::{KeySet, public_key};
use writ_proto::pb::record_service_client::RecordServiceClient;
use writ_proto::{Reason, pb};

use crate::app::policies;
use crate::cli::remote::{Remote, failed};
use crate::domain::bundle;
use crate::domain::bundle::Report;
use crate::domain::record::project;
use crate::error::AppError;
use crate::output::{Output, plural};

/// The log of records.
#[derive(Debug, Subcommand)]
pub(crate) enum RecordsCommand {
    /// Records in order.
    Ls {
        #[command(flatten)]
        remote: Remote,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        limit: i32,
        /// From this sequence number on.
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// The whole log with its signed head, as JSON lines.
    Export {
        #[command(flatten)]
        remote: Remote,
        /// Where to write it.
        #[arg(long)]
        out: PathBuf,
        /// With the values that the records commit to and the policy sets: personal data, and what
        /// `verify --replay` needs.
        #[arg(long)]
        with_values: bool,
    },
    /// Prove an export with public keys alone. Exit 0 ok, 1 a proof fails, 2 unreadable, 3 it holds and
    /// values are absent.
    Verify {
        /// The export.
        file: PathBuf,
        /// The trust document, such as keys/public.json.
        #[arg(long, value_name = "keys/public.json")]
        trust: PathBuf,
        /// The pinned public key that signs it, hex; without it the document is taken on trust.
        #[arg(long)]
        root: Option<String>,
        /// Decide every decision again and compare; the export must be one with values.
        #[arg(long)]
        replay: bool,
    },
}

/// What stands in an export with values.
const VALUES: &[u8] = b"\"values_b64\"";

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

/// A file that cannot be read says nothing about an export.
fn unread(path: &Path, why: &std::io::Error) -> AppError {
    let why = format!("{}: {why}", path.display());
    AppError::new(Reason::RequestMalformed, why).with_fix(
        "name the file that policyd records export wrote, and the trust document with --trust",
    )
}

fn broken(path: &Path, why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::ExportInvalid, format!("{}: {why}", path.display()))
}

pub(crate) async fn run(command: &RecordsCommand, output: Output) -> Result<u8, AppError> {
    match command {
        RecordsCommand::Ls {
            remote,
            limit,
            from,
        } => {
            let mut client = RecordServiceClient::new(remote.channel().await?);
            let page_token = from.to_string();
            let request = pb::ListRecordsRequest {
                parent: remote.parent(),
                page_size: *limit,
                page_token,
            };
            let answer = client
                .list_records(request)
                .await
                .map_err(failed)?
                .into_inner();
            for record in &answer.records {
                output.line(&describe(record), &shown(record));
            }
            match (answer.records.is_empty(), answer.next_page_token.as_str()) {
                (true, _) => output.note("no record from there on"),
                (false, "") => {}
                (false, next) => output.note(&format!("more: --from {next}")),
            }
            Ok(0)
        }
        RecordsCommand::Export {
            remote,
            out,
            with_values,
        } => export(remote, (out, *with_values), output).await,
        RecordsCommand::Verify {
            file,
            trust,
            root,
            replay,
        } => verify((file, trust), (root.as_deref(), *replay), output),
    }
}

/// The place in the log of a line of an export.
fn seq_of(line: &&[u8]) -> Option<u64> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    line.get("seq")?.as_u64()
}

async fn export(
    remote: &Remote,
    (out, with_values): (&Path, bool),
    output: Output,
) -> Result<u8, AppError> {
    let mut client = RecordServiceClient::new(remote.channel().await?);
    let request = pb::ExportRecordsRequest {
        parent: remote.parent(),
        from_seq: 0,
        with_values,
    };
    let stream = client.export_records(request).await.map_err(failed)?;
    let (mut stream, mut bytes) = (stream.into_inner(), Vec::new());
    while let Some(part) = stream.message().await.map_err(failed)? {
        bytes.extend_from_slice(&part.chunk);
    }
    // What has no signed end proves nothing, and takes the place of none that has.
    let end = bytes
        .split(|byte| *byte == b'\n')
        .rfind(|line| !line.is_empty());
    if !end.is_some_and(|end| end.starts_with(b"{\"checkpoint\":")) {
        let why = "the export ended before its signed end; no file was written";
        return Err(AppError::new(Reason::ExportInvalid, why)
            .with_fix("ask again; a slow line gets 60 s for each MiB"));
    }
    std::fs::write(out, &bytes).map_err(|error| {
        let why = format!("--out: {}: {error}", out.display());
        AppError::new(Reason::RequestMalformed, why)
    })?;
    let lines = bytes.split(|byte| *byte == b'\n');
    let records: Vec<&[u8]> = lines
        .filter(|line| line.starts_with(b"{\"seq\":"))
        .collect();
    let span = records
        .first()
        .and_then(seq_of)
        .zip(records.last().and_then(seq_of));
    let span = span.map_or_else(String::new, |(first, last)| {
        format!(", #{first} to #{last}")
    });
    let records = records.len();
    let text = format!(
        "{} of the log{span}, in {}",
        plural(records, "record"),
        out.display()
    );
    output.line(&text, &json!({"records": records, "file": out}));
    Ok(0)
}

fn verify(
    (file, trust): (&Path, &Path),
    (root, replay): (Option<&str>, bool),
    output: Output,
) -> Result<u8, AppError> {
    let bytes = std::fs::read(file).map_err(|error| unread(file, &error))?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let has_values = lines.any(|line| contains(line, VALUES));
    let keys = keys(trust, root)?;
    let replays = replay && has_values;
    let report = policies::on_large_stack(|| bundle::verify(&bytes, &keys, replays))
        .ok_or_else(|| AppError::of(Reason::Internal))?;
    let code = code_of(&report);
    // What is forged or no export at all is told as that.
    if replay && !has_values && matches!(code, 0 | INCOMPLETE) {
        let (name, records) = (file.display(), report.records);
        let (of, by) = (&report.origin, signed_by(&report));
        let text = format!(
            "{name}: INCOMPLETE {records} records of {of}{by}: they are as they were signed, but it has no values, and \
             without them nothing is decided again; export it anew: policyd records export --with-values --out FILE"
        );
        let result = json!({"result": "INCOMPLETE", "file": file, "records": records, "origin": of,
            "signed_by": report.signed_by, "values_absent": report.values_absent, "pinned": root.is_some()});
        output.line(&text, &result);
        unpinned(root.is_some(), output);
        return Ok(INCOMPLETE);
    }
    told(&report, (file, root.is_some(), replays), output);
    Ok(code)
}

const fn code_of(report: &Report) -> u8 {
    match (report.unreadable, report.is_ok()) {
        (true, _) => 2,
        (false, false) => 1,
        (false, true) if report.values_absent > 0 || report.erased > 0 => INCOMPLETE,
        (false, true) => 0,
    }
}

/// Hex digits of a key.
const ROOT_CHARS: usize = 64;

/// Exit code where everything holds, and something that would have to be looked at is not there.
const INCOMPLETE: u8 = 3;

/// Prints what verification found.
fn told(report: &Report, (file, pinned, replay): (&Path, bool, bool), output: Output) {
    for finding in &report.findings {
        output.line(finding, &json!({"finding": finding}));
    }
    if report.more_findings > 0 {
        let (more, text) = (report.more_findings, "more findings");
        output.line(&format!("{more} {text}"), &json!({"more_findings": more}));
    }
    let word = if report.is_ok() { "OK" } else { "FAILED" };
    let Report {
        records,
        values,
        policy_sets,
        replayed,
        not_derivable,
        erased,
        values_absent,
        ..
    } = report;
    for set in &report.refused_sets {
        output.line(set, &json!({"refused_set": set}));
    }
    let text = if report.unreadable {
        format!("{}: {word}, not an export", file.display())
    } else {
        let mut text = format!(
            "{}: {word} {} of {}",
            file.display(),
            plural(*records, "record"),
            report.origin
        );
        text.push_str(&signed_by(report));
        if *values > 0 {
            text.push_str(&format!(
                "; {} and {} {} their digests",
                plural(*values, "value"),
                plural(*policy_sets, "policy set"),
                if report.is_ok() {
                    "match"
                } else {
                    "compared with"
                }
            ));
        }
        if replay {
            text.push_str(&format!(
                "; {replayed} decisions made again, with the same result"
            ));
        }
        for (count, what) in [
            (*not_derivable, "of requests that could not be read"),
            (
                *erased,
                "decisions NOT made again: what they were made from is absent",
            ),
            (*values_absent, "values are absent"),
        ] {
            if count > 0 {
                text.push_str(&format!("; {count} {what}"));
            }
        }
        text
    };
    output.line(
        &text,
        &json!({"result": word, "records": records, "origin": report.origin,
            "signed_by": report.signed_by, "values": values, "values_absent": report.values_absent,
            "policy_sets": policy_sets, "replayed": replayed, "not_derivable": not_derivable, "erased": erased, "pinned": pinned}),
    );
    unpinned(pinned || report.unreadable, output);
}

/// Which other installation signed it.
fn signed_by(report: &Report) -> String {
    match report.signed_by.as_str() {
        "" => String::new(),
        other => format!(", signed by the log key {other}"),
    }
}

/// What a trust document by itself does not prove.
fn unpinned(pinned: bool, output: Output) {
    if !pinned {
        output.note(
            "This holds if the file of --trust is the real one. Where you are not sure of that, add --root HEX: whoever runs connectord knows it, as \
             trust.root_key in connectord.toml.",
        );
    }
}

/// The trust document, proven by the pinned key, or by the trust key it lists itself.
fn keys(path: &Path, root: Option<&str>) -> Result<KeySet, AppError> {
    let text = std::fs::read_to_string(path).map_err(|error| unread(path, &error))?;
    let listed = || -> Option<VerifyingKey> {
        let json: serde_json::Value = serde_json::from_str(&text).ok()?;
        let key = json
            .get("keys")?
            .as_array()?
            .iter()
            .find(|key| key.get("use").is_some_and(|u| u == "trust"))?;
        public_key(&hex::decode(key.get("public_key")?.as_str()?).ok()?)
    };
    let pinned = root.and_then(|root| public_key(&hex::decode(root).ok()?));
    let key = if root.is_some() { pinned } else { listed() };
    let key = key.ok_or_else(|| match root {
        Some(root) => {
            let why = if root.len() == ROOT_CHARS {
                "this is no key"
            } else {
                "64 hex digits are wanted"
            };
            let message =
                format!("--root {root}: {why}; compare it with trust.root_key in connectord.toml");
            AppError::new(Reason::RequestMalformed, message)
        }
        None => broken(
            path,
            "this is no trust document; policyd keeps its own where trust.keys_file says, which is keys/public.json after init",
        ),
    })?;
    KeySet::parse_document(&text, &key).map_err(|error| broken(path, error))
}

/// Whether a record allows a write, or tells of one that was done.
fn is_written(record: &pb::Record) -> bool {
    let done = matches!(
        record.status.as_str(),
        "DONE" | "UNDONE" | "RECONCILED_APPLIED"
    );
    done || record.verdict == "ALLOW"
}

/// A text among the values of a record.
pub(crate) fn value_of(values: &serde_json::Value, name: &str) -> String {
    values
        .get(name)
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn values_of(record: &pb::Record) -> serde_json::Value {
    serde_json::from_str(&record.values_json).unwrap_or_default()
}

/// Whether it is of a dry run.
pub(crate) fn is_dry_run(record: &pb::Record) -> bool {
    mode_of(record) == "dry_run"
}

fn mode_of(record: &pb::Record) -> String {
    project(&record.leaf).map_or_else(|_| String::new(), |read| read.mode)
}

/// The scope of a halt: the whole one where the record still has it.
fn halt_of(record: &pb::Record) -> Option<String> {
    let cut = project(&record.leaf).ok()?.halt;
    let whole = value_of(&values_of(record), "scope");
    let scope = if whole.is_empty() { cut } else { whole };
    (!scope.is_empty()).then_some(scope)
}

pub(crate) fn describe(record: &pb::Record) -> String {
    let values = values_of(record);
    let halt = halt_of(record).map_or_else(String::new, |scope| {
        let (by, note) = (value_of(&values, "by"), value_of(&values, "note"));
        format!("  {scope}  by {by}  {note}")
    });
    let counted = values.get("counted").map_or_else(String::new, |counted| {
        let of = |name: &str| counted.get(name).and_then(serde_json::Value::as_i64);
        let since = of("since_ms").and_then(chrono::DateTime::from_timestamp_millis);
        let since = since.map_or_else(String::new, |since| since.format("%H:%M:%SZ").to_string());
        format!(
            "  {} more denials since {since}",
            of("denials").unwrap_or_default()
        )
    });
    let mode = match mode_of(record).as_str() {
        "dry_run" => "dry run",
        "execute" if is_written(record) => "live   ",
        // Nothing was done, or nobody knows.
        "execute" => "       ",
        _ => "",
    };
    let mode = mode.to_owned();
    let by = value_of(&values, "by");
    // Who undid it; the agent is whose write it was.
    let who = if record.kind == "undo" && !by.is_empty() {
        &by
    } else {
        &record.agent
    };
    let words = [
        &mode,
        who,
        &target_of(record),
        &record.verdict,
        &record.status,
        &record.reason_codes.join(","),
        &record.rule_ids.join(","),
    ];
    let words: Vec<&str> = words
        .into_iter()
        .map(String::as_str)
        .filter(|word| !word.is_empty())
        .collect();
    format!(
        "#{:<5} {} {:<16} {:<18} {}  {}{halt}{counted}",
        record.seq,
        time_of(record).format("%Y-%m-%d %H:%M:%SZ"),
        record.kind,
        record.action,
        words.join("  "),
        record.record_id,
    )
}

pub(crate) fn time_of(record: &pb::Record) -> chrono::DateTime<chrono::Utc> {
    let time = record.time.as_ref();
    let time = time.and_then(|time| {
        let nanos = u32::try_from(time.nanos).ok()?;
        chrono::DateTime::from_timestamp(time.seconds, nanos)
    });
    time.unwrap_or_default()
}

/// The record that it is about, as `authorize` takes it: `deal/D-104`.
pub(crate) fn target_of(record: &pb::Record) -> String {
    let kind = project(&record.leaf).map(|read| read.target_type);
    let id = value_of(&values_of(record), "target_id");
    match kind {
        Ok(kind) if !kind.is_empty() && !id.is_empty() => format!("{kind}/{id}"),
        _ => String::new(),
    }
}

pub(crate) fn shown(record: &pb::Record) -> serde_json::Value {
    let time = time_of(record).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    json!({"seq": record.seq, "time": time, "target": target_of(record), "record": record.record_id, "version": record.version, "kind": record.kind,
        "agent": record.agent, "action": record.action, "verdict": record.verdict, "status": record.status,
        "reasons": record.reason_codes, "rules": record.rule_ids, "policy": record.policy_version,
        "halt": halt_of(record), "values": values_of(record),
        "leaf_hash": hex::encode(&record.leaf_hash)})
}
