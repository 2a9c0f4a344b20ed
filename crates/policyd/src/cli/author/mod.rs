//! `policyd check`, `test`, `seal`, `fmt` and `actions`.

pub(super) mod actions;
mod fmt;
mod junit;
mod test;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::toml_flaw::{flaw, near, place_of};

use crate::app::policies::{self, Loaded};
use crate::cli::remote::config;
use crate::config::Config;
use crate::domain::policy::review;
use crate::domain::policy::{Finding, LOCK, Place};
use crate::error::AppError;
use crate::output::{Output, plural};

pub(super) use fmt::{FmtArgs, fmt};
pub(super) use test::{TestArgs, test};

/// Exit code where what was checked has findings.
const FOUND: u8 = 3;
/// Most folders that are looked at for the one that was meant.
const BESIDE_MAX: usize = 1_000;

/// What to check.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// One folder a tenant.
    #[arg(default_value = "policies")]
    dir: PathBuf,
    /// Print the Cedar schema that the cards of this tenant give.
    #[arg(long, value_name = "TENANT")]
    schema: Option<String>,
    /// Refuse what looks like a mistake, too: unknown names, values that nothing can be, gaps.
    #[arg(long)]
    deny_warnings: bool,
}

/// Which sets to seal.
#[derive(Debug, Args)]
pub(super) struct SealArgs {
    /// The folder of one tenant, such as policies/acme.
    dir: PathBuf,
    /// Compare with the set.lock that is there, and write nothing.
    #[arg(long)]
    check: bool,
}

fn say(found: &Finding, level: &str, output: Output) {
    let code = found.reason.code();
    let at = found.at.as_ref();
    let value = json!({"level": level, "reason": code, "file": found.file, "message": found.message,
        "line": at.map(|at| at.line), "column": at.map(|at| at.column)});
    let text = if level == "warning" {
        format!("warning: {found}")
    } else {
        found.to_string()
    };
    output.line(&text, &value);
}

fn no_folder(dir: &Path) -> AppError {
    let above = dir
        .parent()
        .filter(|above| !above.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let beside = std::fs::read_dir(above).into_iter().flatten().flatten();
    let folders = beside.filter(|entry| entry.path().is_dir());
    let names: Vec<String> = folders
        .filter_map(|entry| entry.file_name().into_string().ok())
        .take(BESIDE_MAX)
        .collect();
    let typed = dir.file_name().unwrap_or_default().to_string_lossy();
    let meant = near(&typed, names.iter().map(String::as_str));
    let hint = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
    let message = format!("there is no folder {}{hint}", dir.display());
    AppError::new(Reason::RequestMalformed, message)
}

/// Every set of a folder.
///
/// # Errors
/// When one of them is refused; each finding was printed.
fn load(dir: &Path, output: Output) -> Result<Loaded, AppError> {
    if dir.join("set.toml").is_file() {
        let (shown, parent) = (dir.display(), dir.join(".."));
        let parent = parent.canonicalize().unwrap_or(parent);
        let message = format!(
            "{shown} is the folder of one tenant; name the one above it, with a folder a tenant: {}",
            parent.display()
        );
        return Err(AppError::new(Reason::RequestMalformed, message));
    }
    if !dir.is_dir() {
        return Err(no_folder(dir));
    }
    let loaded = policies::load(dir);
    let errors = match &loaded {
        Ok(loaded) => loaded.errors(),
        Err(errors) => errors.clone(),
    };
    // A file that is not read is often why others are wrong: it goes first.
    let unread = policies::unread_of_all(dir).into_iter();
    for found in unread.filter(|_| !errors.0.is_empty()) {
        say(&found, "warning", output);
    }
    for found in &errors.0 {
        say(found, "error", output);
    }
    match (loaded, errors.0.first()) {
        (Ok(loaded), None) => Ok(loaded),
        (_, first) => {
            let reason = first.map_or(Reason::PolicyInvalid, |first| first.reason);
            let count = errors.0.len();
            Err(AppError::new(
                reason,
                format!("{} in {}", plural(count, "error"), dir.display()),
            ))
        }
    }
}

/// What looks like a mistake in the sets and in their tests.
fn warnings(dir: &Path, loaded: &Loaded) -> Result<Vec<Finding>, AppError> {
    let mut found = policies::unread_of_all(dir);
    found.extend(policies::warnings(&loaded.table));
    for (tenant, set) in &loaded.table {
        let files = test::files(&dir.join(tenant.as_str()).join("tests"))?;
        found.extend(review::review(set, &files).into_iter().map(|mut one| {
            one.file = format!("{tenant}/{}", one.file);
            one
        }));
    }
    Ok(found)
}

/// What the configuration beside it has wrong as a text; a value that is absent may come from elsewhere.
fn of_config(path: &Path) -> Option<Finding> {
    let text = std::fs::read_to_string(path).ok()?;
    let flaw = flaw(&toml::from_str::<Config>(&text).err()?);
    let at = flaw.at.or_else(|| place_of(&text, &flaw.message));
    (!flaw.message.ends_with("is missing")).then(|| Finding {
        reason: Reason::ConfigInvalid,
        file: path.display().to_string(),
        message: flaw.message,
        at: at.map(|at| Place::at(&text, at)),
    })
}

pub(super) fn check(args: &CheckArgs, output: Output) -> Result<u8, AppError> {
    if let Some(found) = of_config(config()) {
        say(&found, "error", output);
        let message = format!("1 error in {}", found.file);
        return Err(AppError::new(found.reason, message));
    }
    let loaded = load(&args.dir, output)?;
    if let Some(wanted) = &args.schema {
        let set = loaded
            .table
            .values()
            .find(|set| set.tenant.as_str() == wanted);
        let set = set.ok_or_else(|| AppError::of(Reason::UnknownTenant))?;
        let value = json!({"tenant": wanted, "schema": set.schema_text});
        output.line(set.schema_text.trim_end(), &value);
        return Ok(0);
    }
    let warnings = warnings(&args.dir, &loaded)?;
    for found in &warnings {
        say(found, "warning", output);
    }
    for (tenant, set) in &loaded.table {
        let (rules, cards) = (set.rules().count(), set.cards().count());
        let digest = hex::encode(set.digest);
        let text = format!(
            "{tenant}: {} ok, {}, {}, sha256:{digest}",
            set.label,
            plural(rules, "rule"),
            plural(cards, "card")
        );
        let value = json!({"tenant": tenant.as_str(), "set": set.label, "rules": rules, "cards": cards, "digest": digest});
        output.line(&text, &value);
    }
    if args.deny_warnings && !warnings.is_empty() {
        let text = format!(
            "{}, and --deny-warnings refuses them",
            plural(warnings.len(), "warning")
        );
        output.line(&text, &json!({"warnings": warnings.len()}));
        return Ok(FOUND);
    }
    Ok(0)
}

/// Writes which files a set has, so that policyd takes it only when it is whole.
pub(super) fn seal(args: &SealArgs, output: Output) -> Result<u8, AppError> {
    let path = args.dir.join(LOCK);
    let broken = |reason, why: String| AppError::new(reason, format!("{}: {why}", path.display()));
    let mut sources = policies::read_tenant(&args.dir)
        .map_err(|errors| AppError::new(Reason::PolicyInvalid, errors.to_string()))?;
    let text = sources.lock_text();
    let written = sources.lock.take();
    if args.check {
        let same = written.as_deref() == Some(text.as_str());
        let word = if same {
            "matches the files of the set"
        } else {
            "does not match the files of the set; after looking at the change, write it again with policyd seal"
        };
        let value = json!({"file": path, "same": same});
        output.line(&format!("{} {word}", path.display()), &value);
        return Ok(if same { 0 } else { FOUND });
    }
    // What is refused must not be sealed: policyd would refuse it all the same, and later.
    policies::load_tenant_as(&args.dir, &sources)
        .map_err(|errors| AppError::new(Reason::PolicyInvalid, errors.to_string()))?;
    let fresh = path.with_extension("lock.new");
    std::fs::write(&fresh, &text)
        .and_then(|()| std::fs::rename(&fresh, &path))
        .map_err(|error| broken(Reason::PolicyInvalid, error.to_string()))?;
    let files = text.lines().count();
    let value = json!({"file": path, "files": files});
    output.line(&format!("{}: {files} files", path.display()), &value);
    Ok(0)
}
