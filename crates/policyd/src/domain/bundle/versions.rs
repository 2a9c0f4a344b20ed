//! Versions of records: 1, 2, 3, each naming the leaf of the one before.

use std::collections::BTreeMap;

use crate::domain::log::merkle::Hash;
use crate::domain::record::Projection;

/// The newest version of every record so far.
#[derive(Debug, Default)]
pub(crate) struct Versions(BTreeMap<String, (u32, String)>);

impl Versions {
    /// Takes the next record of the log.
    ///
    /// # Errors
    /// A sentence, where it is a gap, a repeat, or names another leaf.
    pub(crate) fn take(&mut self, record: &Projection, hash: Hash) -> Result<(), String> {
        let before = self.0.insert(
            record.record_id.clone(),
            (record.version, hex::encode(hash)),
        );
        let (version, id) = (record.version, &record.record_id);
        match (before, &record.previous) {
            (None, None) if version == 1 => Ok(()),
            (None, _) => Err(format!(
                "version {version} of record {id} is here, and no version before it"
            )),
            (Some((last, _)), _) if last.checked_add(1) != Some(version) => Err(format!(
                "version {version} of record {id} comes after version {last}"
            )),
            (Some((_, known)), Some(previous)) if known == *previous => Ok(()),
            (Some((last, _)), _) => Err(format!(
                "version {version} of record {id} does not name the leaf of version {last}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::{Place, project};

    fn record(seq: u64, version: u32, previous: Option<&Hash>) -> Projection {
        let draft = super::super::tests::draft(1);
        let leaf = draft.leaf(&Place {
            seq,
            prev: None,
            version,
            previous,
        });
        project(&leaf).unwrap()
    }

    #[test]
    fn a_gap_a_repeat_and_a_wrong_link_are_found() {
        let run = |items: &[(u32, Option<Hash>)]| {
            let mut versions = Versions::default();
            let mut place = 0;
            items.iter().try_for_each(|(version, previous)| {
                place += 1;
                let own = [u8::try_from(place).unwrap(); 32];
                versions.take(&record(place, *version, previous.as_ref()), own)
            })
        };
        assert_eq!(
            run(&[(1, None), (2, Some([1; 32])), (3, Some([2; 32]))]),
            Ok(())
        );
        let wrong: [&[(u32, Option<Hash>)]; 6] = [
            &[(2, None)],
            &[(1, Some([1; 32]))],
            &[(1, None), (1, None)],
            &[(1, None), (3, Some([1; 32]))],
            &[(1, None), (2, None)],
            &[(1, None), (2, Some([9; 32]))],
        ];
        for items in wrong {
            assert!(run(items).is_err(), "{items:?}");
        }
    }
}
