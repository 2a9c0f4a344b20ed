//! How results and failures are printed, and the one table of exit codes (docs/cli.md).

use serde_json::{Value as Json, json};
use writ_proto::Reason;
use writ_proto::host::cli::printed::complain;
pub(crate) use writ_proto::host::cli::printed::{Format, plural};

use crate::error::AppError;

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
        if !value.is_null() || self.is_table() {
            self.format.put(text, value);
        }
    }

    /// Prints the document of a command that is over.
    pub(crate) fn finish(self, list: bool, succeeded: bool) {
        self.format.finish(list, succeeded);
    }

    /// What people are told beside a result; not part of it.
    pub(crate) fn note(self, text: &str) {
        if self.is_table() {
            complain(text);
        }
    }

    /// A failure on stderr; gives the exit code.
    pub(crate) fn failure(self, error: &AppError) -> u8 {
        let code = error.reason.code();
        match self.format {
            Format::Table => {
                complain(format_args!("{code} {}", error.public));
                if let Some(fix) = error.shown_fix() {
                    complain(format_args!("Fix: {fix}"));
                }
                if error
                    .reason
                    .page_says_more(&error.public, error.own_fix.is_some())
                {
                    complain(format_args!("More: connectord explain {code}"));
                }
            }
            Format::Json | Format::Jsonl => {
                complain(json!({"reason": code, "message": error.public, "fix": error.fix()}));
            }
        }
        exit_code(error.reason)
    }

    /// The page of a code.
    pub(crate) fn explain(self, code: &str) -> u8 {
        let Some(reason) = Reason::from_code(&code.to_uppercase()) else {
            let near = Reason::near(code).map_or_else(String::new, |near| {
                format!("; did you mean {}?", near.code())
            });
            let message = format!("there is no reason code `{code}`{near}");
            return self.failure(&AppError::new(Reason::RequestMalformed, message));
        };
        let code = reason.code();
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
        Reason::PeerUnreachable
        | Reason::Unavailable
        | Reason::StoreUnavailable
        | Reason::DiskReserve => 5,
        Reason::Halted | Reason::HaltUnknown => 12,
        Reason::BudgetExceeded => 14,
        reason if reason.code().starts_with("TOKEN_") => 13,
        Reason::CardMismatch | Reason::DryRunOnly | Reason::ArgsSchema => 13,
        _ => 1,
    }
}
