//! What decides and signs is in the log: a key that came, retired or was revoked, and a configuration that
//! changed, since the log last told of them.

use std::collections::BTreeMap;

use writ_proto::ids::TenantId;
use writ_proto::keyset::{KeyEntry, KeyStatus};
use writ_proto::value::{Map, Value};

use crate::app::App;
use crate::app::ask::disclosed::disclosure;
use crate::app::spending::budgets::named_id;
use crate::domain::record::Kind;
use crate::error::AppError;
use crate::ids;
use crate::marks::Told;
use crate::store::Append;

/// The paths whose values are not what is remembered.
fn changed(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let mut paths: Vec<String> = before.keys().chain(now.keys()).cloned().collect();
    paths.sort();
    paths.dedup();
    paths.retain(|path| before.get(path) != now.get(path));
    paths
}

fn kind(status: KeyStatus) -> Kind {
    match status {
        KeyStatus::Active => Kind::KeyAdded,
        KeyStatus::Retiring => Kind::KeyRetired,
        KeyStatus::Revoked => Kind::KeyRevoked,
    }
}

/// What the log of a tenant is to tell of, as it stands now.
fn told(app: &App) -> Told {
    let signer = app.signer.load_full();
    let status = |entry: &KeyEntry| (hex::encode(entry.kid), entry.status.name().to_owned());
    Told {
        keys: signer.keys.entries().iter().map(status).collect(),
        deciding: app.deciding.clone(),
    }
}

impl App {
    /// Writes down in the log of a tenant what has changed since it last told, then remembers it. Where
    /// nothing is remembered, as at the first start, there is nothing to compare with. A crash in between
    /// tells a change of the configuration twice.
    ///
    /// # Errors
    /// When it could not be recorded or remembered.
    pub async fn tell_changes(&self, tenant: &TenantId) -> Result<(), AppError> {
        let (origin, now) = (self.identity.origin(tenant.as_str()), told(self));
        let before = self.marks.told(&origin);
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        if let Some(before) = before {
            for entry in self.signer.load_full().keys.entries() {
                let known = before.keys.get(&hex::encode(entry.kid));
                if known.map(String::as_str) != Some(entry.status.name()) {
                    self.tell_key(tenant, entry).await?;
                }
            }
            let paths = changed(&before.deciding, &now.deciding);
            if !paths.is_empty() {
                let paths = Value::List(paths.into_iter().map(Value::Text).collect());
                let mut draft = self.blank_record(Kind::ConfigChanged, tenant, ids::new_id());
                draft.disclosures.push(disclosure("keys", paths)?);
                self.writer
                    .append(Append::record(tenant.clone(), draft))
                    .await?;
            }
        }
        self.marks.tell(&origin, &now)
    }

    /// A key that came, retired or was revoked; each of it is told once, by whichever process.
    async fn tell_key(&self, tenant: &TenantId, entry: &KeyEntry) -> Result<(), AppError> {
        let (kid, status) = (hex::encode(entry.kid), entry.status.name());
        let id = named_id(&format!("key {kid} {status}"), tenant, uuid::Uuid::nil());
        let mut key = Map::new();
        key.set("kid", Value::Text(kid));
        key.set("use", Value::Text(entry.usage.name().to_owned()));
        let mut draft = self.blank_record(kind(entry.status), tenant, id);
        draft.disclosures.push(disclosure("key", Value::Map(key))?);
        let append = Append {
            outcome_id: Some(id),
            ..Append::record(tenant.clone(), draft)
        };
        self.writer.append(append).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_came_went_or_is_another_one_is_a_change() {
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let before = of(&[("token.ttl", "1"), ("a", "1"), ("same", "1")]);
        let now = of(&[("token.ttl", "2"), ("b", "1"), ("same", "1")]);
        assert_eq!(changed(&before, &now), ["a", "b", "token.ttl"]);
        assert!(changed(&now, &now).is_empty());
    }
}
