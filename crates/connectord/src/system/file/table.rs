//! A table of a database: its name, and the columns that name one row of it.

use std::collections::BTreeSet;

use regex::Regex;

use super::raw::RawObject;
use super::{Driver, FileError};

/// A table of a database and how a row of it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `"schema"."table"`, quoted.
    pub name: String,
    /// Columns of the key, quoted, each with the part of the id that it holds.
    pub key: Vec<(String, String)>,
}

fn identifier(text: &str) -> Result<String, FileError> {
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let plain = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if first && plain && text.len() <= 63 {
        return Ok(format!("\"{text}\""));
    }
    Err(FileError::new(format!(
        "`{text}` is not a plain lower-case name of SQL"
    )))
}

impl Table {
    pub(super) fn compile(
        raw: &RawObject,
        driver: Driver,
        id: &Regex,
    ) -> Result<Option<Self>, FileError> {
        let Some(name) = raw.table.as_ref().filter(|_| driver == Driver::Postgres) else {
            return match (driver, &raw.table) {
                (Driver::Postgres, _) => {
                    Err(FileError::new("table = \"schema.table\"").within("table"))
                }
                (Driver::Http | Driver::Remote, Some(_)) => {
                    Err(FileError::new("a table is for the driver postgres").within("table"))
                }
                (Driver::Http | Driver::Remote, None) => Ok(None),
            };
        };
        let (schema, table) = name
            .split_once('.')
            .ok_or_else(|| FileError::new("table = \"schema.table\"").within("table"))?;
        let name = format!("{}.{}", identifier(schema)?, identifier(table)?);
        let parts: BTreeSet<&str> = id.capture_names().flatten().collect();
        let mut key = Vec::new();
        for (column, part) in &raw.key {
            if part != "id" && !parts.contains(part.as_str()) {
                return Err(FileError::new(format!(
                    "`{part}` is no part of the id; it is a group (?<{part}>..)"
                ))
                .within("key"));
            }
            key.push((identifier(column)?, part.clone()));
        }
        if key.is_empty() {
            return Err(
                FileError::new("key = { column = \"id\" }: the columns that name one row")
                    .within("key"),
            );
        }
        for field in raw.field.values() {
            identifier(field.at.trim_start_matches('/')).map_err(|error| error.within("field"))?;
        }
        Ok(Some(Self { name, key }))
    }
}
