//! What the login of a table may do, in the words of GRANT: `SELECT on public.ticket`, `UPDATE (status) on public.ticket`.

use std::collections::BTreeSet;

use writ_proto::card::Card;

use super::super::SystemError;
use super::super::file::{Object, Once, Table};
use super::{Failed, Postgres};

/// Most rights that are read: who has more has too many.
const RIGHTS_MAX: i64 = 2_000;
/// What the roles are above all tables that the login is, or may become.
const ABOVE: &str = "SELECT DISTINCT a.word FROM pg_roles, LATERAL (VALUES ('SUPERUSER', rolsuper), ('BYPASSRLS', rolbypassrls), \
    ('CREATEROLE', rolcreaterole), ('CREATEDB', rolcreatedb), ('REPLICATION', rolreplication), (rolname::text, rolname LIKE 'pg\\_%')) \
    AS a(word, has) WHERE a.has AND pg_has_role(session_user, oid, 'MEMBER')";
/// What those roles may do to any table that is not PostgreSQL's own or an extension's.
const RIGHTS: &str = "WITH mine AS (SELECT oid FROM pg_roles WHERE pg_has_role(session_user, oid, 'MEMBER')), \
    rel AS (SELECT c.oid, c.relowner, n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
      WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' \
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')) \
    SELECT DISTINCT r FROM ( \
      SELECT w || ' on ' || rel.name AS r FROM rel, mine, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', \
        'TRIGGER', 'SELECT WITH GRANT OPTION', 'INSERT WITH GRANT OPTION', 'UPDATE WITH GRANT OPTION', 'DELETE WITH GRANT OPTION']) AS w \
        WHERE has_table_privilege(mine.oid, rel.oid, w) \
      UNION ALL SELECT w || ' (' || a.attname || ') on ' || rel.name FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 \
        AND NOT a.attisdropped, mine, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS w \
        WHERE has_column_privilege(mine.oid, rel.oid, a.attnum, w) AND NOT has_table_privilege(mine.oid, rel.oid, w) \
      UNION ALL SELECT 'OWNER of ' || rel.name FROM rel JOIN mine ON rel.relowner = mine.oid) AS rights(r) LIMIT $1";

/// As GRANT has it, without quotes.
fn plain(table: &Table) -> String {
    table.name.replace('"', "")
}

/// What one object needs: its table is read, and the columns that a verb writes are written.
fn needs<'a>(
    object: &'a Object,
    writes: impl Fn(&'a str) -> Option<Vec<&'a str>>,
) -> BTreeSet<String> {
    let Some(table) = &object.table else {
        return BTreeSet::new();
    };
    let table = plain(table);
    let mut needed = BTreeSet::from([format!("SELECT on {table}")]);
    for (name, verb) in &object.verbs {
        let Some(fields) = writes(name) else { continue };
        let (word, key) = match &verb.once {
            Once::Column(key) => ("INSERT", Some(key.trim_matches('"'))),
            _ => ("UPDATE", None),
        };
        let fields = fields
            .into_iter()
            .filter_map(|name| object.fields.get(name));
        let columns = fields.map(|field| field.at().trim_start_matches('/'));
        let columns = columns.chain(key);
        needed.extend(columns.map(|column| format!("{word} ({column}) on {table}")));
    }
    needed
}

/// The fields of an object that can be written.
fn writable(object: &Object) -> Vec<&str> {
    let fields = object.fields.iter();
    let written = fields.filter(|(_, field)| field.codec().writes());
    written.map(|(name, _)| name.as_str()).collect()
}

impl Postgres {
    /// What a card needs.
    #[must_use]
    pub fn needs(&self, card: &Card) -> BTreeSet<String> {
        let Some(object) = self.bound.objects.get(&card.target) else {
            return BTreeSet::new();
        };
        let fields = || card.args.values().map(|arg| arg.field.as_str()).collect();
        needs(object, |verb| (verb == card.verb.name()).then(fields))
    }

    /// What anything needs of which the file speaks.
    #[must_use]
    pub fn needs_at_most(&self) -> BTreeSet<String> {
        let objects = self.bound.objects.values();
        let all = objects.flat_map(|object| needs(object, |_| Some(writable(object))));
        all.collect()
    }

    /// What the login may do to tables, itself or as a role that it may become, and above all tables.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn probe(&self) -> Result<BTreeSet<String>, SystemError> {
        let above = sqlx::query_scalar(ABOVE).fetch_all(&self.pool);
        let above: Vec<String> = self.within(above).await?;
        let mut held = BTreeSet::from_iter(above);
        if held.contains("SUPERUSER") {
            // Every right of every table is in this one word.
            held.extend(self.needs_at_most());
            return Ok(held);
        }
        let rights = sqlx::query_scalar(RIGHTS)
            .bind(RIGHTS_MAX)
            .fetch_all(&self.pool);
        let rights: Vec<String> = self.within(rights).await?;
        held.extend(rights);
        // What may be done to a whole table may be done to each of its columns.
        let columns = self.needs_at_most().into_iter().filter(|need| {
            let parts = need.split_once(" (").zip(need.split_once(") on "));
            parts
                .is_some_and(|((word, _), (_, table))| held.contains(&format!("{word} on {table}")))
        });
        let columns: Vec<String> = columns.collect();
        held.extend(columns);
        Ok(held)
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
