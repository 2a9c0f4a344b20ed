//! `policyd check` and `policyd test`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use writ_proto::Reason;

use super::output::Output;
use crate::app::AppError;
use crate::app::policies;
use crate::domain::policy_test;

/// Which folder.
#[derive(Debug, Args)]
pub(super) struct FolderArgs {
    /// One folder a tenant.
    #[arg(default_value = "policies")]
    dir: PathBuf,
}

fn load(args: &FolderArgs, output: Output) -> Result<policies::PolicyTable, AppError> {
    policies::load(&args.dir).map_err(|errors| {
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

pub(super) fn check(args: &FolderArgs, output: Output) -> Result<u8, AppError> {
    for (tenant, set) in load(args, output)? {
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

pub(super) fn test(args: &FolderArgs, output: Output) -> Result<u8, AppError> {
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for (tenant, set) in load(args, output)? {
        let mut hit = std::collections::BTreeSet::new();
        for (file, text) in test_files(&args.dir.join(tenant.as_str()).join("tests"))? {
            let results = policy_test::run(&Arc::clone(&set), &text).map_err(|error| {
                AppError::new(Reason::PolicyInvalid, format!("{file}: {error}"))
            })?;
            for result in results {
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

fn test_files(folder: &std::path::Path) -> Result<Vec<(String, String)>, AppError> {
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
