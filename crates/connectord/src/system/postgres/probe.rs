//! What the login of a table may do: what its verbs need, and no more.

use super::super::SystemError;
use super::super::file::UndoBy;
use super::{Failed, Postgres};

impl Postgres {
    /// Whether the login can do what the verbs need, and no more: it reads the tables, and updates
    /// the columns of the declared fields.
    ///
    /// # Errors
    /// What it cannot do, or what it can do beyond that.
    pub async fn probe(&self) -> Result<(), SystemError> {
        for (name, object) in &self.bound.objects {
            let Some(table) = &object.table else { continue };
            let writes = object
                .verbs
                .values()
                .any(|verb| verb.undo == UndoBy::Restore || !object.verbs.is_empty());
            let plain = table.name.replace('"', "");
            let sql = "SELECT has_table_privilege($1, 'SELECT'), has_table_privilege($1, 'INSERT, DELETE, TRUNCATE, UPDATE'), \
                       coalesce((SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user), true)";
            let (reads, more, above): (bool, bool, bool) = sqlx::query_as(sql)
                .bind(&plain)
                .fetch_one(&self.pool)
                .await
                .map_err(Failed::from)?;
            if !reads {
                return Err(SystemError::Denied(format!(
                    "{name}: the login may not SELECT from {plain}"
                )));
            }
            if more || above {
                let why = format!(
                    "{name}: the login may do more than update declared columns of {plain}: REVOKE the rest"
                );
                return Err(SystemError::Denied(why));
            }
            for field in object
                .fields
                .values()
                .filter(|field| writes && field.codec().writes())
            {
                let column = field.at().trim_start_matches('/').to_owned();
                let sql = "SELECT has_column_privilege($1, $2, 'UPDATE')";
                let may: bool = sqlx::query_scalar(sql)
                    .bind(&plain)
                    .bind(&column)
                    .fetch_one(&self.pool)
                    .await
                    .map_err(Failed::from)?;
                if !may && !object.watch.contains(&field.name().to_owned()) {
                    return Err(SystemError::Denied(format!(
                        "{name}: the login may not UPDATE ({column}) of {plain}"
                    )));
                }
            }
        }
        Ok(())
    }
}
