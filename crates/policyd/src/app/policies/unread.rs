//! Files of a tenant that look like a part of its set and are not read: a rule in them would hold for nobody.

use std::path::Path;

use writ_proto::Reason;

use crate::domain::policy::Finding;

/// Most that are told of one tenant.
const TOLD_MAX: usize = 20;
/// Folders in folders that are looked into.
const DEPTH_MAX: usize = 3;
/// So many letters apart is a slip, and no other name: fewer of a short one.
const fn letters(meant: &str) -> usize {
    if meant.len() < 5 { 1 } else { 2 }
}

/// Whether a name is a slip of another; what an editor leaves beside a file is none.
fn is_slip(name: &str, meant: &str) -> bool {
    let near = strsim::damerau_levenshtein(&name.to_lowercase(), meant) <= letters(meant);
    name != meant && near && !name.ends_with('~')
}

/// Why a file beside the rules, or beside the cards, is not read; none where it looks like nothing of ours.
fn why_not(inner: &str, name: &str) -> Option<String> {
    let (_, ending) = name.rsplit_once('.')?;
    let own = if inner.is_empty() { "cedar" } else { "toml" };
    match (inner, ending) {
        ("", "cedar") | ("actions", "toml") => None,
        ("", "toml") if name == "set.toml" => None,
        ("", "toml") if !is_slip(name, "set.toml") => {
            Some("it is not read: cards lie in actions/".to_owned())
        }
        ("actions", "cedar") => Some("it is not read: rules lie beside set.toml".to_owned()),
        ("", _) if is_slip(name, "set.toml") => {
            Some("it is not read; did you mean set.toml?".to_owned())
        }
        _ if is_slip(ending, own) => Some(format!("it is not read; did you mean .{own}?")),
        _ => None,
    }
}

fn names(folder: &Path) -> Vec<(String, bool)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let visible = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_folder = entry.path().is_dir();
        (!name.starts_with('.')).then_some((name, is_folder))
    });
    let mut all: Vec<(String, bool)> = visible.take(10_000).collect();
    all.sort();
    all
}

/// Why a folder of a tenant is not read; none where nothing in it looks like a part of the set.
fn folder_why_not(folder: &Path, inner: &str, name: &str) -> Option<String> {
    if inner.is_empty() && is_slip(name, "actions") {
        return Some("cards in it are not read; did you mean actions?".to_owned());
    }
    let path = folder.join(inner).join(name);
    let is_tests = inner.is_empty() && name == "tests";
    if holds(&path, "cedar", DEPTH_MAX) {
        return Some("rules in it are not read: they lie beside set.toml".to_owned());
    }
    let cards = !is_tests && holds(&path, "toml", DEPTH_MAX);
    cards.then(|| "cards in it are not read: they lie in actions/ itself".to_owned())
}

/// Whether a file of an ending lies in a folder, or in one of its own.
fn holds(folder: &Path, ending: &str, depth: usize) -> bool {
    let is_one = |name: &str| {
        Path::new(name)
            .extension()
            .is_some_and(|found| found == ending)
    };
    names(folder)
        .iter()
        .any(|(name, is_folder)| match is_folder {
            true => depth > 0 && holds(&folder.join(name), ending, depth.saturating_sub(1)),
            false => is_one(name),
        })
}

/// What of a tenant's folder is left out although it looks like a part of the set.
#[must_use]
pub fn unread(folder: &Path, tenant: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for inner in ["", "actions"] {
        for (name, is_folder) in names(&folder.join(inner)) {
            let why = match (is_folder, inner) {
                (false, _) => why_not(inner, &name),
                (true, "") if name == "actions" => None,
                (true, _) => folder_why_not(folder, inner, &name),
            };
            found.extend(why.map(|message| {
                Finding {
                    reason: Reason::PolicyInvalid,
                    file: Path::new(tenant)
                        .join(inner)
                        .join(&name)
                        .display()
                        .to_string(),
                    message,
                    at: None,
                }
            }));
        }
    }
    found.truncate(TOLD_MAX);
    found
}

#[cfg(test)]
mod tests;
