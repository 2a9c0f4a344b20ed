//! How results and failures are printed, and the one table of exit codes (docs/cli.md).

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

/// Prints results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    silent: bool,
}

impl Output {
    pub(crate) const fn new(format: Format) -> Self {
        Self {
            format,
            silent: false,
        }
    }

    /// The same, but results are not printed: for a command inside another.
    pub(crate) const fn silenced(self) -> Self {
        Self {
            silent: true,
            ..self
        }
    }

    /// One line of a result, for people or as JSON.
    pub(crate) fn line(self, text: &str, value: &Json) {
        if self.silent {
            return;
        }
        match self.format {
            Format::Table => print(text),
            Format::Json | Format::Jsonl => print(value),
        }
    }

    /// What people are told beside a result; not part of it.
    pub(crate) fn note(self, text: &str) {
        if !self.silent && self.format == Format::Table {
            complain(text);
        }
    }

    /// A failure on stderr; gives the exit code.
    pub(crate) fn failure(self, error: &AppError) -> u8 {
        let (code, fix) = (error.reason.code(), error.reason.fix());
        match self.format {
            Format::Table => complain(format_args!(
                "{code} {}\nFix: {fix}\nMore: policyd explain {code}",
                error.public
            )),
            Format::Json | Format::Jsonl => {
                complain(json!({"reason": code, "message": error.public, "fix": fix}));
            }
        }
        exit_code(error.reason)
    }

    /// The page of a code.
    pub(crate) fn explain(self, code: &str) -> u8 {
        let Some(reason) = Reason::from_code(code) else {
            complain(format_args!(
                "there is no reason code `{code}`; codes are written in capitals, such as NOT_FOUND"
            ));
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

/// A reader that went away (`| head`) is no reason to fail, or to leave a demo's processes behind.
fn print(line: impl core::fmt::Display) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

fn complain(line: impl core::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{line}"));
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
        | Reason::PeerBinaryMissing
        | Reason::ExportInvalid
        | Reason::RequestMalformed => 2,
        Reason::PolicyInvalid | Reason::PolicyEmpty | Reason::CardInvalid => 3,
        Reason::PeerUnreachable | Reason::Unavailable | Reason::StoreUnavailable => 5,
        Reason::Halted | Reason::HaltUnknown => 12,
        Reason::BudgetExceeded | Reason::UsageUnknown => 14,
        Reason::Forbidden | Reason::NotPermitted | Reason::PolicyError => 10,
        Reason::ApprovalRequired => 11,
        reason if reason.code().starts_with("TOKEN_") => 13,
        _ => 1,
    }
}
