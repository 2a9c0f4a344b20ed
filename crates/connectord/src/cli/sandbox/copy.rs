//! `connectord sandbox copy`: reads the export and the key, and tells what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use writ_proto::Reason;
use zeroize::Zeroizing;

use super::{broken, open};
use crate::error::AppError;
use crate::ids;
use crate::lab::sandbox::copy::{Choice, Copied, copied};
use crate::lab::sandbox::export::{FILE_BYTES_MAX, Format, parse};
use crate::lab::sandbox::scrub::{KEY_BYTES, Kind, Scrubber};
use crate::output::Output;
use crate::private_file::{read_private, write_private};

/// How many copies a dry run shows.
const SAMPLES_MAX: usize = 3;

/// Arguments of `sandbox copy`.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// SQLite file.
    #[arg(long, default_value = "sandbox.db")]
    db: PathBuf,
    /// contacts, deals, orders or tickets.
    #[arg(long)]
    kind: Kind,
    /// Export of records of that kind: .csv with a row of names, .json, .jsonl or .ndjson.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Field that holds the id.
    #[arg(long, value_name = "FIELD", default_value = "id")]
    id: String,
    /// Field that stays as it is; every other one is scrubbed.
    #[arg(long, value_name = "FIELD")]
    keep: Vec<String>,
    /// Field that holds the id of a record of another kind.
    #[arg(long = "ref", value_name = "FIELD=KIND", value_parser = reference)]
    refs: Vec<(String, Kind)>,
    /// Key that all kinds share, mode 0600; made if absent. Without it the key is thrown away.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Add nothing; show some of the copies.
    #[arg(long)]
    dry_run: bool,
}

/// A key, and the file that it still has to be written to.
struct Key<'a> {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    unwritten: Option<&'a Path>,
}

fn reference(text: &str) -> Result<(String, Kind), String> {
    let (name, kind) = text.rsplit_once('=').ok_or("FIELD=KIND")?;
    Ok((name.to_owned(), kind.parse::<Kind>()?))
}

fn malformed(path: &Path, why: impl core::fmt::Display) -> AppError {
    let message = format!("{}: {why}", path.display());
    AppError::new(Reason::RequestMalformed, message)
}

pub(super) async fn run(args: &CopyArgs, output: Output) -> Result<(), AppError> {
    let choice = args.choice()?;
    let key = args.key()?;
    let copied = args.copied(&choice, &key)?;
    let added = args.add(&copied, &key).await?;
    args.tell(&copied, added, output);
    Ok(())
}

impl CopyArgs {
    fn choice(&self) -> Result<Choice, AppError> {
        let refs: BTreeMap<String, Kind> = self.refs.iter().cloned().collect();
        if refs.len() < self.refs.len() {
            return Err(malformed(&self.from, "--ref names one field twice"));
        }
        Ok(Choice {
            kind: self.kind,
            id: self.id.clone(),
            keep: self.keep.iter().cloned().collect::<BTreeSet<_>>(),
            refs,
        })
    }

    fn key(&self) -> Result<Key<'_>, AppError> {
        let file = self.key_file.as_deref();
        if let Some(file) = file.filter(|file| file.exists()) {
            let text = read_private(file)?;
            let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
            hex::decode_to_slice(text.trim(), bytes.as_mut_slice()).map_err(|_| {
                let message = format!("{}: not a key of a copy", file.display());
                AppError::new(Reason::KeyInvalid, message)
            })?;
            return Ok(Key {
                bytes,
                unwritten: None,
            });
        }
        let fresh = ids::random::<KEY_BYTES>();
        Ok(Key {
            bytes: Zeroizing::new(fresh.ok_or_else(|| AppError::of(Reason::Internal))?),
            unwritten: file,
        })
    }

    fn copied(&self, choice: &Choice, key: &Key<'_>) -> Result<Copied, AppError> {
        let path = &self.from;
        let ending = path.extension().and_then(OsStr::to_str);
        let format = ending.and_then(Format::of);
        let format = format
            .ok_or_else(|| malformed(path, "the name ends in .csv, .json, .jsonl or .ndjson"))?;
        let bytes = read_export(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                malformed(path, "there is no such file: name the export with --from")
            }
            _ => malformed(path, error),
        })?;
        let records = parse(&bytes, format).map_err(|why| malformed(path, why))?;
        let scrubber = Scrubber::new(&key.bytes).ok_or_else(|| AppError::of(Reason::Internal))?;
        // Spreadsheets of many countries write semicolons: then all names are one.
        let single = records.iter().all(|record| record.fields.len() == 1);
        copied(&records, choice, &scrubber).map_err(|why| match format {
            Format::Csv if single => malformed(path, format!("{why}; a comma separates fields")),
            _ => malformed(path, why),
        })
    }

    /// Adds the copies; gives how many were not there.
    async fn add(&self, copied: &Copied, key: &Key<'_>) -> Result<u64, AppError> {
        if self.dry_run && !self.db.exists() {
            return Ok(u64::try_from(copied.records.len()).unwrap_or(u64::MAX));
        }
        let store = open(&self.db).await?;
        // The key first: copies whose key is lost could never be referred to.
        if let Some(file) = key.unwritten.filter(|_| !self.dry_run) {
            write_private(file, hex::encode(key.bytes.as_slice()).as_bytes())?;
        }
        let added = store.add(self.kind.name(), &copied.records, self.dry_run);
        added.await.map_err(broken)
    }

    fn tell(&self, copied: &Copied, added: u64, output: Output) {
        let kind = self.kind.name();
        let total = u64::try_from(copied.records.len()).unwrap_or(u64::MAX);
        let there = total.saturating_sub(added);
        let (add, were) = if self.dry_run {
            ("would add", "are")
        } else {
            ("added", "were")
        };
        let text = format!(
            "{add} {added} {kind}, {there} {were} there; kept {}; scrubbed {}",
            listed(&copied.kept),
            listed(&copied.scrubbed)
        );
        output.line(
            &text,
            &json!({"kind": kind, "added": added, "there": there, "kept": copied.kept,
                "scrubbed": copied.scrubbed, "dry_run": self.dry_run}),
        );
        if self.dry_run {
            for (id, fields) in copied.records.iter().take(SAMPLES_MAX) {
                let text = format!("{kind}/{id} {fields}");
                output.line(&text, &json!({"id": id, "fields": fields}));
            }
        } else if let Some(file) = self.key_file.as_ref().filter(|_| output.is_table()) {
            let text = format!(
                "{}: delete it when all kinds are copied; who has it can test guesses",
                file.display()
            );
            output.line(&text, &json!({}));
        }
    }
}

fn read_export(path: &Path) -> std::io::Result<Vec<u8>> {
    // One byte more than may be, so that too long is told from just long enough.
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}
