//! `policyd fmt`: rules in the one layout of Cedar's formatter.

use std::path::PathBuf;

use cedar_policy_formatter::{Config, policies_str_to_pretty};
use clap::Args;
use serde_json::json;
use writ_proto::Reason;

use crate::app::policies;
use crate::cli::author::FOUND;
use crate::domain::policy::bounds;
use crate::error::AppError;
use crate::output::Output;

/// Which rules.
#[derive(Debug, Args)]
pub(in crate::cli) struct FmtArgs {
    /// One folder a tenant.
    #[arg(default_value = "policies")]
    dir: PathBuf,
    /// Name the files that are laid out otherwise, and change nothing.
    #[arg(long)]
    check: bool,
}

pub(in crate::cli) fn fmt(args: &FmtArgs, output: Output) -> Result<u8, AppError> {
    let broken = |file: &PathBuf, why: String| {
        AppError::new(Reason::PolicyInvalid, format!("{}: {why}", file.display()))
    };
    let mut changed = 0_usize;
    for file in policies::rule_files(&args.dir)
        .map_err(|errors| AppError::new(Reason::PolicyInvalid, errors.to_string()))?
    {
        let text =
            std::fs::read_to_string(&file).map_err(|error| broken(&file, error.to_string()))?;
        bounds::fits(&text).map_err(|why| broken(&file, why))?;
        let fresh = policies_str_to_pretty(&text, &Config::default())
            .map_err(|error| broken(&file, error.to_string()))?;
        let fresh = format!("{}\n", fresh.trim_end());
        if fresh == text {
            continue;
        }
        changed = changed.saturating_add(1);
        let shown = file.display().to_string();
        output.line(&shown, &json!({"file": shown}));
        if !args.check {
            let staged = file.with_extension("cedar.new");
            std::fs::write(&staged, fresh)
                .and_then(|()| std::fs::rename(&staged, &file))
                .map_err(|error| broken(&file, error.to_string()))?;
        }
    }
    let word = if args.check {
        "would change"
    } else {
        "changed"
    };
    output.note(&format!("{word}: {changed} files"));
    Ok(if args.check && changed > 0 { FOUND } else { 0 })
}
