//! `policyd check` and `policyd test`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use writ_proto::Reason;

use super::output::Output;
use crate::app::AppError;
use crate::app::policies;
use crate::domain::policy_test::{self, CaseResult};

/// What to check.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// One folder a tenant.
    #[arg(default_value = "policies")]
    dir: PathBuf,
    /// Print the Cedar schema that the cards of this tenant give.
    #[arg(long, value_name = "TENANT")]
    schema: Option<String>,
}

/// Which tests to run.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// One folder a tenant; tests are in its `tests` folder.
    #[arg(default_value = "policies")]
    dir: PathBuf,
    /// Only cases whose name holds this text.
    #[arg(long, default_value = "")]
    filter: String,
}

fn load(dir: &Path, output: Output) -> Result<policies::PolicyTable, AppError> {
    policies::load(dir).map_err(|errors| {
        for found in &errors.0 {
            let code = found.reason.code();
            let value = json!({"reason": code, "file": found.file, "message": found.message});
            output.line(&found.to_string(), &value);
        }
        let reason = errors
            .0
            .first()
            .map_or(Reason::PolicyInvalid, |first| first.reason);
        AppError::new(reason, format!("{} findings", errors.0.len()))
    })
}

pub(super) fn check(args: &CheckArgs, output: Output) -> Result<u8, AppError> {
    let table = load(&args.dir, output)?;
    if let Some(wanted) = &args.schema {
        let set = table.values().find(|set| set.tenant.as_str() == wanted);
        let set = set.ok_or_else(|| AppError::of(Reason::UnknownTenant))?;
        let value = json!({"tenant": wanted, "schema": set.schema_text});
        output.line(set.schema_text.trim_end(), &value);
        return Ok(0);
    }
    for (tenant, set) in table {
        let (rules, cards) = (set.rules().count(), set.cards().count());
        let digest = hex::encode(set.digest);
        let text = format!(
            "{tenant}: {} ok, {rules} rules, {cards} cards, sha256:{digest}",
            set.label
        );
        let value = json!({"tenant": tenant.as_str(), "set": set.label, "rules": rules, "cards": cards, "digest": digest});
        output.line(&text, &value);
    }
    Ok(0)
}

pub(super) fn test(args: &TestArgs, output: Output) -> Result<u8, AppError> {
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for (tenant, set) in load(&args.dir, output)? {
        let mut hit = std::collections::BTreeSet::new();
        for (file, text) in test_files(&args.dir.join(tenant.as_str()).join("tests"))? {
            let results = policy_test::run(&Arc::clone(&set), &text).map_err(|error| {
                AppError::new(Reason::PolicyInvalid, format!("{file}: {error}"))
            })?;
            let chosen = |result: &CaseResult| result.name.contains(&args.filter);
            for result in results.into_iter().filter(chosen) {
                hit.extend(result.rules);
                match result.failure {
                    None => passed = passed.saturating_add(1),
                    Some(why) => {
                        failed = failed.saturating_add(1);
                        let text = format!("FAILED {tenant}/{file}: {}: {why}", result.name);
                        output.line(
                            &text,
                            &json!({"failed": result.name, "file": file, "why": why}),
                        );
                    }
                }
            }
        }
        let rules = set.rules().count();
        let text = format!("{tenant}: rules hit {}/{rules}", hit.len());
        output.line(
            &text,
            &json!({"tenant": tenant.as_str(), "rules_hit": hit.len(), "rules": rules}),
        );
    }
    let text = format!("{passed} passed, {failed} failed");
    output.line(&text, &json!({"passed": passed, "failed": failed}));
    Ok(if failed == 0 && passed > 0 { 0 } else { 4 })
}

fn test_files(folder: &Path) -> Result<Vec<(String, String)>, AppError> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let broken = |error: std::io::Error| {
        AppError::new(
            Reason::PolicyInvalid,
            format!("{}: {error}", folder.display()),
        )
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(broken)?.path();
        if path.extension().is_some_and(|found| found == "json") {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            files.push((
                name.to_owned(),
                std::fs::read_to_string(&path).map_err(broken)?,
            ));
        }
    }
    files.sort();
    Ok(files)
}
