//! A table of a database: its name, the columns that name one row of it, and what a verb does to it.

use std::collections::BTreeSet;

use regex::Regex;
use writ_proto::card::Verb as Kind;

use super::raw::{RawObject, RawSystem};
use super::{Driver, Field, FileError, Guard, Object, Once, Settle, UndoBy, Verb};

/// A table of a database and how a row of it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `"schema"."table"`, quoted.
    pub name: String,
    /// Columns of the key, quoted, each with the part of the id that it holds.
    pub key: Vec<(String, String)>,
}

pub(super) fn identifier(text: &str) -> Result<String, FileError> {
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

/// The column of the key is no field: a card would write it.
pub(super) fn check_key(verb: &Verb, object: &Object) -> Result<(), FileError> {
    let Once::Column(key) = &verb.once else {
        return Ok(());
    };
    let key = key.trim_matches('"');
    let is_field = |field: &Field| field.at().trim_start_matches('/') == key;
    if object.fields.values().any(is_field) {
        let why = format!("`{key}` is a field, and the column of the key is none");
        return Err(FileError::new(why).within("once"));
    }
    Ok(())
}

/// The role that rows are read as.
pub(super) fn reader(raw: &RawSystem, driver: Driver) -> Result<Option<String>, FileError> {
    let within = |error: FileError| error.within("read_as");
    match (&raw.read_as, driver) {
        (None, _) => Ok(None),
        (Some(role), Driver::Postgres) => identifier(role).map(Some).map_err(within),
        (Some(_), Driver::Http | Driver::Remote) => Err(within(FileError::new(
            "it is a role of the driver postgres",
        ))),
    }
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

impl Verb {
    /// What a verb of a table says: it changes columns of a row, or adds one row under a key of its own.
    pub(super) fn check_table(&self, of: Kind, table: &Table) -> Result<(), FileError> {
        let plain = self.steps.is_empty() && self.prepare.is_empty();
        if of == Kind::InsertStaging {
            let by_key = matches!(self.settle, Settle::Key | Settle::None)
                && matches!(self.once, Once::Column(_));
            let one = table.key.len() == 1 && table.key.iter().all(|(_, part)| part == "id");
            if plain
                && by_key
                && one
                && self.guard == Guard::Commutative
                && self.undo == UndoBy::None
            {
                return Ok(());
            }
            let why = "a row is inserted with guard = \"commutative\", once = { column = \"writ_key\" }, undo = \"none\", settle = \"key\" or \"none\", no steps, \
                       and a key of one column that is the whole id";
            return Err(FileError::new(why).within("once"));
        }
        let settled = matches!(&self.settle, Settle::AfterImage(matches) if matches.is_empty());
        if of.sets_fields()
            && plain
            && settled
            && self.guard == Guard::Xmin
            && self.once == Once::None
        {
            return Ok(());
        }
        let why = "in a table a verb sets fields: guard = \"xmin\", once = \"none\", settle = \"after_image\", and no steps; \
                   or it is insert_staging";
        Err(FileError::new(why).within("step"))
    }
}
