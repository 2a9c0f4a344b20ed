//! What decides and signs is in the log: a key that came, retired or was revoked, and a configuration that
//! changed, since this policyd last started.

use std::collections::BTreeMap;

use writ_proto::ids::TenantId;
use writ_proto::keyset::{KeyEntry, KeyStatus};
use writ_proto::value::{Map, Value};

use super::budgets::named_id;
use super::disclosed::disclosure;
use super::{App, AppError};
use crate::domain::record::{Draft, Kind};
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

impl App {
    /// Writes down in each log what has changed, then remembers it. Where nothing is remembered, as at the
    /// first start, there is nothing to compare with.
    ///
    /// # Errors
    /// When it could not be recorded or remembered.
    pub async fn tell_changes(&self, deciding: &BTreeMap<String, String>) -> Result<(), AppError> {
        let (keys, values, count) = self.marks.changes();
        let signer = self.signer.load_full();
        let tenants: Vec<TenantId> = self.policies.load().keys().cloned().collect();
        for tenant in &tenants {
            for entry in signer.keys.entries() {
                let known = keys.get(&hex::encode(entry.kid)).map(String::as_str);
                if !keys.is_empty() && known != Some(entry.status.name()) {
                    self.tell_key(tenant, entry).await?;
                }
            }
            let paths = changed(&values, deciding);
            if !values.is_empty() && !paths.is_empty() {
                let what = format!("config {count} {}", paths.join(" "));
                let paths = Value::List(paths.into_iter().map(Value::Text).collect());
                let draft = self.change(tenant, Kind::ConfigChanged, (&what, "keys", paths))?;
                self.tell_change(tenant, draft).await?;
            }
        }
        self.marks.trust(&signer.keys)?;
        self.marks.told(&signer.keys)?;
        self.marks.deciding(deciding)
    }

    async fn tell_key(&self, tenant: &TenantId, entry: &KeyEntry) -> Result<(), AppError> {
        let (kid, status) = (hex::encode(entry.kid), entry.status.name());
        let mut key = Map::new();
        key.set("kid", Value::Text(kid.clone()));
        key.set("use", Value::Text(entry.usage.name().to_owned()));
        let what = format!("key {kid} {status}");
        let draft = self.change(tenant, kind(entry.status), (&what, "key", Value::Map(key)))?;
        self.tell_change(tenant, draft).await
    }

    /// A record of one change; under the same name it is made once.
    fn change(
        &self,
        tenant: &TenantId,
        kind: Kind,
        (what, name, value): (&str, &'static str, Value),
    ) -> Result<Draft, AppError> {
        let id = named_id(what, tenant, uuid::Uuid::nil());
        let mut draft = self.blank_record(kind, tenant, id);
        draft.disclosures.push(disclosure(name, value)?);
        Ok(draft)
    }

    async fn tell_change(&self, tenant: &TenantId, draft: Draft) -> Result<(), AppError> {
        let append = Append {
            outcome_id: Some(draft.record_id),
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
