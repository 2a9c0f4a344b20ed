//! Which slots a place may name: what has no value there is refused when the file is compiled.

use std::collections::BTreeSet;

use regex::Regex;

use super::slot::Slot;
use super::{Exchange, FileError, Object};

/// Which slots a place may name.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowed {
    parts: BTreeSet<String>,
    place: BTreeSet<Place>,
    record: Option<BTreeSet<String>>,
    prepare: usize,
    steps: usize,
}

/// What a place knows of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Id,
    Args,
    Query,
    Fields,
    Key,
}

impl Allowed {
    /// The same, after so many prepare steps and steps.
    pub(super) const fn after(mut self, prepare: usize, steps: usize) -> Self {
        self.prepare = prepare;
        self.steps = steps;
        self
    }

    pub(super) fn and(mut self, place: Place, holds: bool) -> Self {
        self.place.extend(holds.then_some(place));
        self
    }

    pub(super) fn of_read(id: &Regex) -> Self {
        let parts = id.capture_names().flatten().map(str::to_owned).collect();
        Self {
            parts,
            ..Self::default()
        }
        .and(Place::Id, true)
    }

    pub(super) fn of_write(object: &Object) -> Self {
        let record = object.fields.keys().cloned().collect();
        Self {
            record: Some(record),
            ..Self::of_read(&object.id)
        }
        .and(Place::Args, true)
        .and(Place::Key, true)
    }

    fn has(&self, slot: &Slot) -> bool {
        match slot {
            Slot::Now | Slot::BaseUrl => true,
            Slot::Id => self.place.contains(&Place::Id),
            Slot::Part(name) => self.parts.contains(name),
            Slot::Arg(..) => self.place.contains(&Place::Args),
            Slot::Query => self.place.contains(&Place::Query),
            Slot::Fields => self.place.contains(&Place::Fields),
            Slot::Key => self.place.contains(&Place::Key),
            Slot::Version | Slot::VersionDate => self.record.is_some(),
            Slot::Before(name) => self
                .record
                .as_ref()
                .is_some_and(|fields| fields.contains(name)),
            Slot::Prepare(number, _) => *number <= self.prepare,
            Slot::Step(number, _) => *number <= self.steps,
        }
    }
}

/// Refuses an exchange that names what is not there.
pub(super) fn check_slots(exchange: &Exchange, allowed: &Allowed) -> Result<(), FileError> {
    check(exchange.slots().iter().map(|(slot, _)| slot), allowed)
}

/// Refuses slots that have no value in a place.
pub(super) fn check<'a>(
    mut slots: impl Iterator<Item = &'a Slot>,
    allowed: &Allowed,
) -> Result<(), FileError> {
    match slots.find(|slot| !allowed.has(slot)) {
        Some(slot) => Err(FileError::new(format!("{slot:?} has no value here"))),
        None => Ok(()),
    }
}
