//! `policyd test`: the policy tests of every tenant.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use writ_proto::Reason;

use crate::cli::author::junit::{Suite, junit};
use crate::cli::author::{load, say};
use crate::domain::policy::case;
use crate::domain::policy::case::CaseResult;
use crate::domain::policy::review;
use crate::error::AppError;
use crate::output::Output;

/// Exit code where a test fails.
const FAILED: u8 = 4;

/// Which tests to run.
#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    /// One folder a tenant; tests are in its `tests` folder.
    #[arg(default_value = "policies")]
    dir: PathBuf,
    /// Only cases whose name holds this text.
    #[arg(long, default_value = "")]
    filter: String,
    /// Write the results as JUnit XML, for CI.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(in crate::cli) fn test(args: &TestArgs, output: Output) -> Result<u8, AppError> {
    let mut suites = Vec::new();
    for (tenant, set) in load(&args.dir, output)?.table {
        let files = files(&args.dir.join(tenant.as_str()).join("tests"))?;
        let mut hit = BTreeSet::new();
        for (file, text) in &files {
            let results = case::run(&set, text).map_err(|error| {
                AppError::new(
                    Reason::PolicyInvalid,
                    format!("{tenant}/tests/{file}: {error}"),
                )
            })?;
            let chosen = |result: &CaseResult| result.name.contains(&args.filter);
            let results: Vec<CaseResult> = results.into_iter().filter(chosen).collect();
            for result in &results {
                hit.extend(result.rules.iter().cloned());
                if let Some(why) = &result.failure {
                    let text = format!("FAILED {tenant}/tests/{file}: {}: {why}", result.name);
                    let value = json!({"failed": result.name, "tenant": tenant.as_str(), "file": file, "why": why});
                    output.line(&text, &value);
                }
            }
            let name = format!("{tenant}/tests/{file}");
            suites.push(Suite { name, results });
        }
        for found in review::review(&set, &files) {
            say(&found, "warning", output);
        }
        let missed: Vec<&str> = set
            .rules()
            .map(|(id, _)| id)
            .filter(|id| !hit.contains(*id))
            .collect();
        let rules = set.rules().count();
        let tail = if missed.is_empty() || !args.filter.is_empty() {
            String::new()
        } else {
            format!(", never: {}", missed.join(", "))
        };
        let text = format!("{tenant}: rules hit {}/{rules}{tail}", hit.len());
        let value = json!({"tenant": tenant.as_str(), "rules_hit": hit.len(), "rules": rules, "never_hit": missed});
        output.line(&text, &value);
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit(&suites)).map_err(|error| {
            AppError::new(Reason::Internal, format!("{}: {error}", path.display()))
        })?;
    }
    let all = || suites.iter().flat_map(|suite| &suite.results);
    let failed = all().filter(|result| result.failure.is_some()).count();
    let passed = all().count().saturating_sub(failed);
    let text = format!("{passed} passed, {failed} failed");
    output.line(&text, &json!({"passed": passed, "failed": failed}));
    Ok(if failed == 0 && passed > 0 { 0 } else { FAILED })
}

/// Name and text of each test file of a tenant, sorted.
pub(crate) fn files(folder: &Path) -> Result<Vec<(String, String)>, AppError> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let broken = |error: std::io::Error| {
        let message = format!("{}: {error}", folder.display());
        AppError::new(Reason::PolicyInvalid, message)
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(broken)?.path();
        if path.extension().is_some_and(|found| found == "json") {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let text = std::fs::read_to_string(&path).map_err(broken)?;
            files.push((name.to_owned(), text));
        }
    }
    files.sort();
    Ok(files)
}
