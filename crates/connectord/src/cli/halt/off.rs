//! `connectord halt off`: what is resumed by it, and what is not.

use serde_json::json;
use writ_proto::Reason;

use super::{Ended, Halts, ScopeArgs, malformed};
use crate::error::AppError;
use crate::output::{Output, plural};

/// Most halts that are named to somebody who asked for another.
const SHOWN_MAX: usize = 5;
const LOOK: &str = "`connectord halt status` says what stands";

pub(super) async fn run(
    halts: &mut Halts,
    args: &ScopeArgs,
    output: &Output,
) -> Result<u8, AppError> {
    if args.reason.trim().is_empty() {
        return Err(malformed("--reason is required to resume"));
    }
    let mut missing = 0_u8;
    let (mut all, mut failed) = (Vec::new(), None);
    let scopes = args.named()?;
    for (at, scope) in scopes.iter().enumerate() {
        let ended = match halts {
            Halts::Direct(direct) => direct.clear(scope, &args.reason).await,
            Halts::Remote(remote) => remote.clear(scope, &args.reason).await,
        };
        match ended {
            Ok(ended) => all.push(ended),
            Err(error) => {
                failed = Some(so_far("NOT RESUMED", (scopes.len() - at, scope), error));
                break;
            }
        }
    }
    let all_standing = standing_of(halts).await;
    let standing = all_standing.as_deref().map(shown);
    for ended in all {
        let is_covered = ended.still.as_ref().is_some_and(|still| !still.is_empty());
        let anew = !ended.cleared && all_standing.iter().flatten().any(|one| *one == ended.scope);
        let word = match (ended.cleared, is_covered) {
            (true, false) => "RUNNING",
            (true, true) => "STILL_HALTED",
            (false, _) if anew => "STILL_HALTED",
            (false, _) => "NOT_SET",
        };
        missing |= u8::from(!ended.cleared);
        let still = still_of(&ended, matches!(halts, Halts::Direct(_)));
        let instead = match anew {
            true => ": it was set meanwhile, or could not be read when this was asked for; look at it, and ask again".to_owned(),
            false => instead_of(&ended, standing.as_deref()),
        };
        let text = format!("{word} {}{still}{instead}", ended.scope);
        output.line(
            &text,
            &json!({"scope": ended.scope, "state": word, "epoch": ended.epoch,
                "still_halted_by": ended.still}),
        );
    }
    failed.map_or(Ok(missing), Err)
}

/// What else covers a scope: "RUNNING" alone would be taken for the end of a halt that goes on.
fn still_of(ended: &Ended, is_direct: bool) -> String {
    match ended.still.as_deref() {
        // Whoever asks at once is denied once more, and wonders.
        Some([]) if ended.cleared && is_direct => {
            "  policyd learns it from connectord within a second, if connectord runs".to_owned()
        }
        Some([]) if ended.cleared => "  policyd allows it again within a second".to_owned(),
        Some([]) => "  nothing was resumed".to_owned(),
        Some(scopes) if ended.cleared => {
            format!("  this halt is over, but {} covers it too", scopes.join(", "))
        }
        Some(scopes) => format!("  still halted by {}", scopes.join(", ")),
        None if !ended.cleared => "  nothing was resumed".to_owned(),
        None => {
            "  this halt is over; whether another one covers it is shown only to an operator of that tenant"
                .to_owned()
        }
    }
}

/// Why it ended at a scope, of so many that were left with it: what was not done, as far as that is known.
pub(super) fn so_far(what: &str, (left, scope): (usize, &str), mut error: AppError) -> AppError {
    let is_refused = matches!(
        error.reason,
        Reason::RequestMalformed
            | Reason::UnknownTenant
            | Reason::OperatorRequired
            | Reason::GlobalOperatorRequired
            | Reason::RateLimited
            | Reason::RequestTooLarge
            | Reason::NotFound
    );
    let (behind, why) = (left.saturating_sub(1), &error.public);
    let rest = plural(behind, "scope");
    // What is behind it was never asked for.
    error.public = match (is_refused, behind) {
        (true, 0) => format!("{what}: {scope}: {why}"),
        (true, _) => format!("{what}: {scope} and the {rest} after it: {why}"),
        (false, 0) => format!("NOT CONFIRMED: {scope}; {LOOK}: {why}"),
        (false, _) => {
            format!("NOT CONFIRMED: {scope}; {what}: the {rest} after it; {LOOK}: {why}")
        }
    };
    error
}

/// What is halted beside it, or instead of it.
fn instead_of(ended: &Ended, standing: Option<&str>) -> String {
    match (ended.cleared, standing) {
        (true, Some("")) | (true | false, None) => String::new(),
        (true, Some(others)) => format!("; other halts stay set: {others}"),
        (false, Some("")) => ": nothing is halted".to_owned(),
        (false, Some(others)) => {
            let own = ended.scope.split_once('/').map_or("", |(_, part)| part);
            let hint = if names(Some(others)).any(|other| other == own) {
                // Without a certificate a scope is of every tenant.
                format!(
                    "that of every tenant was set without --cert: leave --cert out, with --scope {own}"
                )
            } else {
                "name what to resume with --scope".to_owned()
            };
            format!("; halted: {others} ({hint})")
        }
    }
}

/// The scopes of a list as it is shown.
fn names(standing: Option<&str>) -> impl Iterator<Item = &str> {
    standing.unwrap_or_default().split(", ")
}

/// Which halts are set, for somebody who named none or only one of them; nothing where it cannot be told.
async fn standing_of(halts: &mut Halts) -> Option<Vec<String>> {
    let listed = match halts {
        Halts::Direct(direct) => direct.list().await,
        Halts::Remote(remote) => remote.list().await,
    };
    let (all, _) = listed.ok()?;
    Some(all.into_iter().map(|one| one.scope).collect())
}

/// The first of them, and how many there are beside.
fn shown(names: &[String]) -> String {
    let (first, more) = names.split_at(names.len().min(SHOWN_MAX));
    let more = match more.len() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests;
