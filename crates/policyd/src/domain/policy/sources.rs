//! The texts of one tenant's set, and what stands for all of them.

use serde::{Deserialize, Serialize};
use writ_proto::context;
use writ_proto::digest::sha256;
use writ_proto::ids::TenantId;
use writ_proto::value::Value;

/// The texts of one tenant, as read from its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Name of the folder.
    pub tenant: TenantId,
    /// `set.toml`.
    pub set_toml: String,
    /// File name and text of each `.cedar` file.
    pub policies: Vec<(String, String)>,
    /// File name and text of each card.
    pub cards: Vec<(String, String)>,
    /// `entities.json`, Cedar's entity format.
    pub entities_json: String,
    /// `set.lock`, where there is one.
    pub lock: Option<String>,
}

/// The texts as they are published: everything that the digest is made of.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    tenant: String,
    set_toml: String,
    policies: Vec<(String, String)>,
    cards: Vec<(String, String)>,
    entities_json: String,
}

impl Sources {
    /// SHA-256 over every text that decides anything.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let pair = |(name, text): &(String, String)| {
            Value::List(vec![Value::Text(name.clone()), Value::Text(text.clone())])
        };
        let mut policies: Vec<_> = self.policies.clone();
        let mut cards: Vec<_> = self.cards.clone();
        policies.sort();
        cards.sort();
        let parts = vec![
            Value::Text(context::POLICY_SET.to_owned()),
            Value::Text(self.tenant.as_str().to_owned()),
            Value::Text(self.set_toml.clone()),
            Value::List(policies.iter().map(pair).collect()),
            Value::List(cards.iter().map(pair).collect()),
            Value::Text(self.entities_json.clone()),
        ];
        sha256(&Value::List(parts).encode())
    }

    /// The texts as one JSON document, from which the set can be built again.
    #[must_use]
    pub fn published(&self) -> String {
        let published = Published {
            tenant: self.tenant.as_str().to_owned(),
            set_toml: self.set_toml.clone(),
            policies: self.policies.clone(),
            cards: self.cards.clone(),
            entities_json: self.entities_json.clone(),
        };
        serde_json::to_string(&published).unwrap_or_default()
    }

    /// Reads what `published` writes; none where it is something else.
    #[must_use]
    pub fn read_published(text: &str) -> Option<Self> {
        let published: Published = serde_json::from_str(text).ok()?;
        Some(Self {
            tenant: TenantId::parse(&published.tenant).ok()?,
            set_toml: published.set_toml,
            policies: published.policies,
            cards: published.cards,
            entities_json: published.entities_json,
            lock: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shipped;
    use super::*;

    #[test]
    fn a_set_that_was_published_has_the_same_digest() {
        let set = shipped("acme");
        let again = Sources::read_published(&set.published()).unwrap();
        assert_eq!(again, set);
        assert_eq!(again.digest(), set.digest());
        assert!(Sources::read_published("{}").is_none());
    }
}
