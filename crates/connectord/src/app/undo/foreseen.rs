//! What a dry run of many undos assumes: that the undos listed before an item are made. Of several writes to one record each
//! stands on the one before it.

use std::collections::{BTreeMap, BTreeSet};

use super::Undone;
use crate::domain::execution::Execution;
use crate::domain::image::Image;
use writ_proto::value::{Map, Value};

/// Connection, object and id of a record.
type Record = (String, String, String);

fn record_of(execution: &Execution) -> Record {
    (
        execution.connection.clone(),
        execution.object.clone(),
        execution.target.clone(),
    )
}

/// Undos that were found possible earlier in the same preview, and what their records show after them. Empty where an undo is
/// really made: then the record itself is read.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    executions: BTreeSet<String>,
    records: BTreeMap<Record, Map>,
}

impl Foreseen {
    /// Takes an item for done that nothing refuses.
    pub(super) fn assume_undone(&mut self, item: &Undone) {
        if item.refusal.is_some() {
            return;
        }
        self.executions.insert(item.execution.id.clone());
        let shown = self.records.entry(record_of(&item.execution)).or_default();
        for change in &item.changes {
            let value = change.after_value().unwrap_or(Value::Null);
            shown.set(&change.field, value);
        }
    }

    /// Whether an execution is undone by then.
    pub(super) fn is_undone(&self, execution: &str) -> bool {
        self.executions.contains(execution)
    }

    /// Whether the record of an execution is another one by then.
    pub(super) fn changes_record_of(&self, execution: &Execution) -> bool {
        self.records.contains_key(&record_of(execution))
    }

    /// A record as it will be.
    pub(super) fn applied_to(&self, execution: &Execution, mut image: Image) -> Image {
        if let Some(shown) = self.records.get(&record_of(execution)) {
            for (field, value) in shown.iter() {
                image.fields.set(field, value.clone());
            }
        }
        image
    }
}
