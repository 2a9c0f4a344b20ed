//! The columns of a plan.

use serde_json::{Map as JsonMap, Value as Json};

use super::super::SystemError;
use super::super::file::Object;
use super::column;
use crate::domain::plan::Plan;

/// The columns that a plan writes, quoted, and their values as JSON.
pub(super) fn written(
    object: &Object,
    plan: &Plan,
) -> Result<(JsonMap<String, Json>, Vec<String>), SystemError> {
    let (mut values, mut columns) = (JsonMap::new(), Vec::new());
    for planned in &plan.fields {
        let field = object.fields.get(&planned.field);
        let field = field
            .ok_or_else(|| SystemError::Unknown(format!("there is no field {}", planned.field)))?;
        let column = column(field.at());
        let mut sent = JsonMap::new();
        field
            .write(&planned.new, &mut sent)
            .map_err(SystemError::Field)?;
        let value = sent
            .into_iter()
            .next()
            .map_or(Json::Null, |(_, value)| value);
        values.insert(column.trim_matches('"').to_owned(), value);
        columns.push(column);
    }
    Ok((values, columns))
}
