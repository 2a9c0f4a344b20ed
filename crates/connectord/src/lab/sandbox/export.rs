//! Reads an export of a CRM: CSV, a JSON list, or a JSON object a line. Bounded and pure.
//!
//! Whatever is wrong is told by its place and never by its value, which is personal data.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

/// Longest export in bytes.
pub(crate) const FILE_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Most records of an export.
const RECORDS_MAX: usize = 10_000;
/// Most fields of a record.
const FIELDS_MAX: usize = 128;
/// Longest value in bytes.
const VALUE_BYTES_MAX: usize = 64 * 1_024;
/// How many lists and objects may lie in each other below a record.
const NESTING_MAX: u8 = 8;

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A row of names, then a row a record; every value is a text.
    Csv,
    /// One list of objects.
    Json,
    /// An object a line; empty lines count for nothing.
    Lines,
}

impl Format {
    /// The format that the ending of a file names.
    pub(crate) fn of(ending: &str) -> Option<Self> {
        match ending.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::Lines),
            _ => None,
        }
    }
}

/// One record as it was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// `record 3` or `line 3`, counted from one; the header of a CSV is no record.
    pub(crate) place: String,
    /// What it holds.
    pub(crate) fields: Map<String, Json>,
}

/// All records of an export, in their order.
///
/// # Errors
/// The first thing that is wrong and where it is, without any value.
pub(crate) fn parse(bytes: &[u8], format: Format) -> Result<Vec<Record>, String> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes"));
    }
    let text = core::str::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
    // Spreadsheets put a byte order mark first; it is no part of the first name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Records::default();
    match format {
        Format::Csv => read_rows(text, &mut records)?,
        Format::Json => read_list(text, &mut records)?,
        Format::Lines => read_lines(text, &mut records)?,
    }
    if records.0.is_empty() {
        return Err("there is no record".to_owned());
    }
    Ok(records.0)
}

#[derive(Default)]
struct Records(Vec<Record>);

impl Records {
    fn add(&mut self, place: String, fields: Map<String, Json>) -> Result<(), String> {
        if self.0.len() >= RECORDS_MAX {
            return Err(format!("{place}: more than {RECORDS_MAX} records"));
        }
        if fields.len() > FIELDS_MAX {
            return Err(format!("{place}: more than {FIELDS_MAX} fields"));
        }
        let mut values = fields.values();
        values
            .try_for_each(|value| bounded(value, NESTING_MAX))
            .map_err(|why| format!("{place}: {why}"))?;
        self.0.push(Record { place, fields });
        Ok(())
    }
}

/// Whether a value is short enough, and no deeper than some levels.
fn bounded(value: &Json, levels: u8) -> Result<(), String> {
    let below = || {
        let deeper = levels.checked_sub(1);
        deeper.ok_or_else(|| format!("nested deeper than {NESTING_MAX}"))
    };
    let length = match value {
        Json::Null | Json::Bool(_) => 0,
        Json::Number(number) => number.to_string().len(),
        Json::String(text) => text.len(),
        Json::Array(items) => {
            let levels = below()?;
            return items.iter().try_for_each(|item| bounded(item, levels));
        }
        Json::Object(fields) => {
            let levels = below()?;
            return fields.values().try_for_each(|item| bounded(item, levels));
        }
    };
    if length > VALUE_BYTES_MAX {
        return Err(format!("a value of more than {VALUE_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn read_rows(text: &str, records: &mut Records) -> Result<(), String> {
    // The reader would take the rest of the file for one value.
    if !text.matches('"').count().is_multiple_of(2) {
        return Err("a quote is opened and not closed".to_owned());
    }
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader
        .headers()
        .map_err(|_| "the first row holds no names".to_owned())?
        .clone();
    let distinct: BTreeSet<&str> = names.iter().collect();
    if distinct.len() < names.len() {
        return Err("two columns have one name".to_owned());
    }
    // Spreadsheets of many countries write semicolons: then all names are one.
    let hint = if names.len() == 1 {
        "; a comma separates fields"
    } else {
        ""
    };
    for (index, row) in reader.records().enumerate() {
        let place = format!("record {}", index.saturating_add(1));
        let row = row.map_err(|_| format!("{place}: not as many values as names{hint}"))?;
        let fields = names.iter().zip(row.iter());
        let fields = fields.map(|(name, value)| (name.to_owned(), Json::from(value)));
        records.add(place, fields.collect())?;
    }
    Ok(())
}

fn read_list(text: &str, records: &mut Records) -> Result<(), String> {
    // Only the place: the sentence of the parser can hold a value.
    let list: Json = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("line {line} column {column}: not JSON")
    })?;
    let Json::Array(items) = list else {
        return Err("not a list of objects".to_owned());
    };
    for (index, item) in items.into_iter().enumerate() {
        let place = format!("record {}", index.saturating_add(1));
        let Json::Object(fields) = item else {
            return Err(format!("{place}: not an object"));
        };
        records.add(place, fields)?;
    }
    Ok(())
}

fn read_lines(text: &str, records: &mut Records) -> Result<(), String> {
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = format!("line {}", index.saturating_add(1));
        let Ok(Json::Object(fields)) = serde_json::from_str(line) else {
            return Err(format!("{place}: not a JSON object"));
        };
        records.add(place, fields)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
