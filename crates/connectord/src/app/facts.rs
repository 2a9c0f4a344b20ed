//! What a system of record says of a record, read for the policies of its tenant: without a writ, by policyd alone, and
//! only of objects that a card of the tenant acts on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use writ_proto::Reason;
use writ_proto::ids::TenantId;
use writ_proto::limits::ARGS_BYTES_MAX;
use writ_proto::value::{Map, Value};

use super::{App, AppError};
use crate::system::{SystemError, Wanted};

/// Most fields of one question.
pub const FIELDS_MAX: usize = 32;
/// Bytes of the fields of one answer, in canonical CBOR.
pub const FIELDS_BYTES_MAX: usize = 16 * 1_024;

/// A record, and what is asked of it.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whose.
    pub tenant: TenantId,
    /// Connection id.
    pub connection: String,
    /// Object of the system file.
    pub object: String,
    /// Its id.
    pub id: String,
    /// Fields of the system file.
    pub fields: Vec<String>,
}

/// What a record was when it was read.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The fields that hold something.
    pub fields: Map,
    /// Its version, where the system tells one.
    pub version: Option<String>,
}

/// Reads for policies that are under way: those of a connection leave half of its places to writes, those of a tenant half of
/// that to others. Who finds none waits, as long as its caller does.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<Turns>>);

/// By connection, and by tenant where that is named.
type Turns = BTreeMap<(String, Option<TenantId>), Arc<Semaphore>>;

impl Places {
    fn of(&self, key: (String, Option<TenantId>), most: usize) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Semaphore::new(most.max(1)));
        Arc::clone(turns.entry(key).or_insert_with(fresh))
    }

    /// A place of a tenant at a connection that takes so many calls at once. Both are known: nobody makes up names.
    pub(super) async fn take(
        &self,
        tenant: &TenantId,
        connection: &str,
        places: usize,
    ) -> Result<[OwnedSemaphorePermit; 2], AcquireError> {
        let half = places.div_euclid(2);
        let own = self.of(
            (connection.to_owned(), Some(tenant.clone())),
            half.div_euclid(2),
        );
        let own = own.acquire_owned().await?;
        let all = self.of((connection.to_owned(), None), half);
        Ok([own, all.acquire_owned().await?])
    }
}

impl App {
    /// Reads fields of a record; none where the system says that there is no such record.
    ///
    /// # Errors
    /// What may not be asked, or why it could not be read.
    pub async fn facts(
        &self,
        question: &Question,
        places: &Places,
    ) -> Result<Option<Answer>, AppError> {
        let Question {
            tenant,
            connection,
            object,
            id,
            fields,
        } = question;
        let malformed = |why: String| Err(AppError::new(Reason::RequestMalformed, why));
        if fields.is_empty() || fields.len() > FIELDS_MAX {
            return malformed(format!("fields: 1 to {FIELDS_MAX}"));
        }
        let catalog = self.catalog.load_full();
        let first = (tenant.as_str().to_owned(), String::new());
        let own = catalog.cards.range(first..);
        let mut cards = own.take_while(|((of, _), _)| of == tenant.as_str());
        let acts = |card: &writ_proto::card::Card| {
            card.target == *object && card.connection.as_str() == connection
        };
        if !cards.any(|(_, held)| acts(&held.card)) {
            let why = format!("no card of {tenant} acts on a {object} of {connection}");
            return Err(AppError::new(Reason::OutOfReach, why));
        }
        let system = catalog.system(tenant.as_str(), connection)?;
        let place = places.take(tenant, connection, system.places()).await;
        let _place = place.map_err(|_| AppError::of(Reason::Internal))?;
        self.check_standing(connection, &system).await?;
        let wanted = Wanted {
            written: fields.clone(),
            seen: Vec::new(),
        };
        let image = match system.read(object, id, &wanted).await {
            Ok(image) => image,
            // An id that the system spells otherwise names no record here: a write by it is refused too.
            Err(SystemError::NotFound(_) | SystemError::Alias(_)) => return Ok(None),
            Err(error) => return Err(AppError::new(error.reason(), error.to_string())),
        };
        let mut found = Map::new();
        for name in fields {
            match image.value(name) {
                Some(Value::Text(text)) if text.is_empty() => {}
                Some(value) => found.set(name, value.clone()),
                None => {}
            }
        }
        let bytes = found.encode().len();
        if bytes > FIELDS_BYTES_MAX.min(ARGS_BYTES_MAX) {
            let why =
                format!("{object} {id}: its facts are {bytes} bytes, at most {FIELDS_BYTES_MAX}");
            return Err(AppError::new(Reason::FieldUnreadable, why));
        }
        Ok(Some(Answer {
            fields: found,
            version: image.version,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_for_policies_leave_places_to_writes_and_to_other_tenants() {
        let places = Places::default();
        let tenant = |name: &str| TenantId::parse(name).unwrap();
        let soon = async |own: &TenantId, connection: &str| {
            let place = places.take(own, connection, 8);
            let place = tokio::time::timeout(std::time::Duration::from_millis(20), place).await;
            place.ok().map(Result::unwrap)
        };
        let [acme, globex, other] = ["acme", "globex", "other"].map(tenant);
        let held = [soon(&acme, "crm/main").await, soon(&acme, "crm/main").await];
        assert!(held.iter().all(Option::is_some));
        assert!(soon(&acme, "crm/main").await.is_none(), "half of the half");
        assert!(soon(&acme, "desk/main").await.is_some());
        let theirs = [
            soon(&globex, "crm/main").await,
            soon(&globex, "crm/main").await,
        ];
        assert!(theirs.iter().all(Option::is_some));
        assert!(
            soon(&other, "crm/main").await.is_none(),
            "the other half is for writes"
        );
        drop(held);
        assert!(soon(&other, "crm/main").await.is_some());
    }
}
