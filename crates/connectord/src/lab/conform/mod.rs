//! `connectord conform`: what a system file promises, tried on one record of the real system behind a
//! way that fails in every manner that is known of systems. A case that cannot be tried says why.

mod answer;
mod cases;
mod denials;
mod fields;
mod proxy;
mod stage;
mod tap;
mod translator;
mod way;
mod world;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use writ_proto::Reason;
use writ_proto::value::{Map, args_from_json};

use crate::config::Config;
use crate::error::AppError;
use crate::output::Output;

use world::World;

/// Which record is written, and with what.
#[derive(Debug, Args)]
pub(crate) struct ConformArgs {
    /// The action whose verb is tried. Its card is used with `rollout` live and ceilings that hold nothing up.
    action: String,
    /// A record that may be changed again and again: TYPE/ID. Never one that matters.
    #[arg(long)]
    target: String,
    /// What is written, as JSON.
    #[arg(long)]
    args: String,
    /// What stands before each case, as JSON; for verbs that write fields.
    #[arg(long)]
    from: Option<String>,
    /// What somebody else writes meanwhile, as JSON; for verbs that write fields.
    #[arg(long)]
    edit: Option<String>,
    /// More than the record has left, as JSON; for verbs with a ceiling.
    #[arg(long)]
    over: Option<String>,
    /// An id of the right form that no record has.
    #[arg(long)]
    missing: String,
    /// The tenant whose card it is.
    #[arg(long, default_value = "acme")]
    tenant: String,
    /// Folder for what is thrown away afterwards.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

pub(crate) fn fail(why: impl core::fmt::Display) -> AppError {
    AppError::new(Reason::Internal, why.to_string())
}

/// What became of a case.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It holds; with what there is to say of it.
    Holds(String),
    /// It does not.
    Fails(String),
    /// It cannot be tried here.
    NotHere(&'static str),
}

impl Verdict {
    pub(crate) const fn holds() -> Self {
        Self::Holds(String::new())
    }

    /// Holds, or what was seen instead.
    pub(crate) fn when(good: bool, seen: impl core::fmt::Debug) -> Self {
        if good {
            Self::holds()
        } else {
            Self::Fails(format!("{seen:?}"))
        }
    }
}

impl From<AppError> for Verdict {
    fn from(error: AppError) -> Self {
        Self::Fails(error.to_string())
    }
}

/// How many cases ended in each way.
#[derive(Debug, Default)]
pub(crate) struct Table {
    holds: usize,
    fails: usize,
    not_here: usize,
}

impl Table {
    /// Prints a case.
    pub(crate) fn add(&mut self, output: Output, case: &str, verdict: Result<Verdict, AppError>) {
        let (mark, why) = match verdict.unwrap_or_else(Verdict::from) {
            Verdict::Holds(why) => {
                self.holds += 1;
                ("holds", why)
            }
            Verdict::Fails(why) => {
                self.fails += 1;
                ("FAILS", why)
            }
            Verdict::NotHere(why) => {
                self.not_here += 1;
                ("not here", why.to_owned())
            }
        };
        let text = format!("{mark:<8}  {case:<52}  {why}");
        output.line(
            text.trim_end(),
            &json!({"case": case, "verdict": mark, "why": why}),
        );
    }
}

fn map(json: &str) -> Result<Map, AppError> {
    args_from_json(json)
        .map_err(|error| AppError::new(Reason::InvalidArguments, format!("`{json}`: {error}")))
}

/// Tries every case; 1 if one of them fails.
pub(crate) async fn run(
    config: Config,
    args: &ConformArgs,
    output: Output,
) -> Result<u8, AppError> {
    let world = Box::pin(World::open(config, args)).await?;
    world.ready().await?;
    let mut table = Table::default();
    Box::pin(cases::run(&world, &mut table, output)).await;
    let text = format!(
        "{} hold, {} fail, {} cannot be tried here",
        table.holds, table.fails, table.not_here
    );
    let value = json!({"holds": table.holds, "fails": table.fails, "not_here": table.not_here});
    output.line(&text, &value);
    Ok(u8::from(table.fails > 0))
}
