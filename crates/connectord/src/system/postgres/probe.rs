//! What the login of a table may do, in the words of GRANT: `SELECT on public.ticket`, `UPDATE (status) on public.ticket`.

use std::collections::BTreeSet;

use super::super::SystemError;
use super::super::file::{Object, Table};
use super::{Failed, Postgres};

/// Rights on a whole table.
const ON_TABLES: [&str; 7] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
    "REFERENCES",
    "TRIGGER",
];
/// Rights that name columns.
const ON_COLUMNS: [&str; 2] = ["INSERT", "UPDATE"];
/// Columns whose rights are looked at.
const COLUMNS_MAX: i64 = 1_000;

/// As GRANT has it, without quotes.
fn plain(table: &Table) -> String {
    table.name.replace('"', "")
}

/// What one object of the file needs: its table is read, and the columns of its fields are written where a verb writes.
pub(super) fn needs(object: &Object, verb: Option<&str>) -> BTreeSet<String> {
    let Some(table) = &object.table else {
        return BTreeSet::new();
    };
    let table = plain(table);
    let mut needed = BTreeSet::from([format!("SELECT on {table}")]);
    if verb.is_none_or(|verb| object.verbs.contains_key(verb)) && !object.verbs.is_empty() {
        let fields = object.fields.values();
        let written = fields.filter(|field| {
            field.codec().writes() && !object.watch.contains(&field.name().to_owned())
        });
        needed.extend(written.map(|field| {
            let column = field.at().trim_start_matches('/');
            format!("UPDATE ({column}) on {table}")
        }));
    }
    needed
}

impl Postgres {
    /// What an object needs, for one verb or for all of them.
    #[must_use]
    pub fn needs(&self, object: &str, verb: Option<&str>) -> BTreeSet<String> {
        let object = self.bound.objects.get(object);
        object.map_or_else(BTreeSet::new, |object| needs(object, verb))
    }

    /// What the login may do to the tables of the file, and above all tables.
    ///
    /// # Errors
    /// When it cannot be asked, or there is no such table.
    pub async fn probe(&self) -> Result<BTreeSet<String>, SystemError> {
        let above = "SELECT r.word FROM pg_roles, LATERAL (VALUES ('SUPERUSER', rolsuper), ('BYPASSRLS', rolbypassrls), \
                     ('CREATEROLE', rolcreaterole), ('REPLICATION', rolreplication)) AS r(word, has) WHERE rolname = current_user AND r.has";
        let above = sqlx::query_scalar(above).fetch_all(&self.pool);
        let mut held: BTreeSet<String> = self.within(above).await?.into_iter().collect();
        if held.contains("SUPERUSER") {
            // Every right of every table is in this one word.
            held.extend(self.bound.objects.values().flat_map(|one| needs(one, None)));
            return Ok(held);
        }
        for object in self.bound.objects.values() {
            let Some(table) = object.table.as_ref().map(plain) else {
                continue;
            };
            held.extend(self.rights(&table).await?);
        }
        Ok(held)
    }

    async fn rights(&self, table: &str) -> Result<Vec<String>, SystemError> {
        let whole =
            "SELECT word FROM unnest($2::text[]) AS word WHERE has_table_privilege($1, word)";
        let whole = sqlx::query_scalar(whole)
            .bind(table)
            .bind(ON_TABLES.map(str::to_owned).to_vec())
            .fetch_all(&self.pool);
        let whole: Vec<String> = self.within(whole).await?;
        let columns = "SELECT word, attname::text FROM pg_attribute, unnest($2::text[]) AS word WHERE attrelid = $1::regclass \
                       AND attnum > 0 AND NOT attisdropped AND has_column_privilege(attrelid, attnum, word) LIMIT $3";
        let columns = sqlx::query_as(columns)
            .bind(table)
            .bind(ON_COLUMNS.map(str::to_owned).to_vec())
            .bind(COLUMNS_MAX)
            .fetch_all(&self.pool);
        let columns: Vec<(String, String)> = self.within(columns).await?;
        let mut rights: Vec<String> = Vec::new();
        for (word, column) in &columns {
            if !whole.contains(word) {
                rights.push(format!("{word} ({column}) on {table}"));
            }
        }
        rights.extend(whole.iter().map(|word| format!("{word} on {table}")));
        Ok(rights)
    }

    /// The answer to a question, in time.
    async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, SystemError> {
        let answer = tokio::time::timeout(self.bound.timeout, asked).await;
        let answer =
            answer.map_err(|_| SystemError::Unavailable("no answer in time".to_owned()))?;
        Ok(answer.map_err(Failed::from)?)
    }
}
