//! How results and failures are printed, and the one table of exit codes (docs/cli.md).

#![expect(clippy::print_stderr, reason = "the command line prints")]

use std::io::Write as _;

use clap::ValueEnum;
use serde_json::{Value as Json, json};
use writ_proto::Reason;

use crate::app::AppError;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON value a line.
    Json,
    /// The same.
    Jsonl,
}

/// A reader that has seen enough is no failure of ours.
fn out(line: &dyn core::fmt::Display) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Prints results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether people read it.
    pub(crate) const fn is_table(self) -> bool {
        matches!(self.format, Format::Table)
    }

    /// One line of a result, for people or as JSON.
    pub(crate) fn line(self, text: &str, value: &Json) {
        match self.format {
            Format::Table => out(&text),
            Format::Json | Format::Jsonl => out(value),
        }
    }

    /// A failure on stderr; gives the exit code.
    pub(crate) fn failure(self, error: &AppError) -> u8 {
        let (code, fix) = (error.reason.code(), error.reason.fix());
        match self.format {
            Format::Table => eprintln!(
                "{code} {}\nFix: {fix}.  connectord explain {code}",
                error.public
            ),
            Format::Json | Format::Jsonl => {
                eprintln!(
                    "{}",
                    json!({"reason": code, "message": error.public, "fix": fix})
                );
            }
        }
        exit_code(error.reason)
    }

    /// The page of a code.
    pub(crate) fn explain(self, code: &str) -> u8 {
        let Some(reason) = Reason::from_code(code) else {
            eprintln!("there is no reason code `{code}`");
            return 2;
        };
        let (sentence, fix) = (reason.sentence(), reason.fix());
        let text = format!("{code}: {sentence}.\nFix: {fix}.");
        self.line(
            &text,
            &json!({"reason": code, "message": sentence, "fix": fix}),
        );
        0
    }
}

/// The exit code of a reason.
pub(crate) fn exit_code(reason: Reason) -> u8 {
    match reason {
        Reason::ConfigInvalid
        | Reason::ConfigUnknownKey
        | Reason::KeyFileMode
        | Reason::KeyInvalid
        | Reason::TlsInvalid
        | Reason::TrustInvalid
        | Reason::ClientCertExpired
        | Reason::PortInUse
        | Reason::CardInvalid
        | Reason::CardMissing
        | Reason::SystemFileInvalid
        | Reason::CredentialMissing
        | Reason::CredentialSeal
        | Reason::RequestMalformed => 2,
        Reason::PeerUnreachable | Reason::Unavailable | Reason::StoreUnavailable => 5,
        Reason::Halted | Reason::HaltUnknown => 12,
        Reason::BudgetExceeded => 14,
        reason if reason.code().starts_with("TOKEN_") => 13,
        Reason::CardMismatch | Reason::DryRunOnly | Reason::ArgsSchema => 13,
        _ => 1,
    }
}
