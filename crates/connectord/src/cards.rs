//! connectord's own copy of the action cards: `<dir>/<tenant>/actions/*.toml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::ids::TenantId;

use crate::domain::gate::Refusal;

/// Cards by tenant and action.
pub type CardTable = BTreeMap<(String, String), Arc<Card>>;

const CARDS_MAX: usize = 100_000;

fn invalid(path: &Path, why: impl core::fmt::Display) -> Refusal {
    Refusal::new(Reason::CardInvalid, format!("{}: {why}", path.display()))
}

/// Loads every card of a folder.
///
/// # Errors
/// The first card that is refused, or `CARD_MISSING` when there is none at all.
pub fn load(folder: &Path) -> Result<CardTable, Refusal> {
    let mut table = CardTable::new();
    for tenant in std::fs::read_dir(folder).map_err(|error| invalid(folder, error))? {
        let path = tenant.map_err(|error| invalid(folder, error))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if !path.is_dir() || TenantId::parse(name).is_err() {
            continue;
        }
        let Ok(files) = std::fs::read_dir(path.join("actions")) else {
            continue;
        };
        for file in files {
            let file = file.map_err(|error| invalid(&path, error))?.path();
            if file.extension().is_none_or(|found| found != "toml") {
                continue;
            }
            let text = std::fs::read_to_string(&file).map_err(|error| invalid(&file, error))?;
            let card = Card::parse(&text).map_err(|error| invalid(&file, error))?;
            let key = (name.to_owned(), card.name.to_string());
            if table.insert(key, Arc::new(card)).is_some() {
                return Err(invalid(&file, "another file holds a card of this name"));
            }
        }
        if table.len() > CARDS_MAX {
            return Err(invalid(folder, "too many cards"));
        }
    }
    if table.is_empty() {
        return Err(Refusal::new(
            Reason::CardMissing,
            format!("{}: no cards", folder.display()),
        ));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_with_cards_of_one_name_are_refused() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/acme/actions");
        let text = std::fs::read_to_string(shipped.join("set_stage.toml")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let actions = folder.path().join("acme/actions");
        std::fs::create_dir_all(&actions).unwrap();
        std::fs::write(actions.join("one.toml"), &text).unwrap();
        assert_eq!(load(folder.path()).unwrap().len(), 1);
        std::fs::write(actions.join("two.toml"), &text).unwrap();
        let refused = load(folder.path()).unwrap_err();
        assert_eq!(refused.reason, Reason::CardInvalid);
    }
}
