//! `connectord vectors FILE`: one line a case; exit 0 only if all agree.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use writ_proto::Reason;

use crate::error::AppError;
use crate::lab::vectors;
use crate::output::Output;

/// Which file.
#[derive(Debug, Args)]
pub(super) struct VectorsArgs {
    /// `token.json`, `args.json` or a Wycheproof `eddsa_verify_schema` file.
    file: PathBuf,
}

pub(super) fn run(args: &VectorsArgs, output: &Output) -> Result<u8, AppError> {
    let wrong = |why: String| {
        AppError::new(
            Reason::RequestMalformed,
            format!("{}: {why}", args.file.display()),
        )
    };
    let text = std::fs::read_to_string(&args.file).map_err(|error| wrong(error.to_string()))?;
    let results = vectors::run(&text).map_err(wrong)?;
    let mut agree = 0_usize;
    for result in &results {
        let same = result.expected == result.got;
        agree = agree.saturating_add(usize::from(same));
        let word = if same { "ok  " } else { "DIFF" };
        let text = format!(
            "{word} {}  expected {}  got {}",
            result.name, result.expected, result.got
        );
        let value = json!({"name": result.name, "expected": result.expected, "got": result.got, "agrees": same});
        output.line(&text, &value);
    }
    let text = format!("{agree} of {} agree", results.len());
    output.line(&text, &json!({"agree": agree, "of": results.len()}));
    Ok(u8::from(agree != results.len()) * 4)
}
