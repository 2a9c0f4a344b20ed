//! What a system of record says of a record, read for the policies of its tenant: without a writ, by policyd alone, and
//! only of objects that a card of the tenant acts on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Reads for policies that are under way, by connection: they leave half of its places to writes.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<BTreeMap<String, usize>>>);

/// A place, until it is dropped.
#[derive(Debug)]
struct Place<'a>(&'a Places, &'a str);

impl Places {
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<'a>(&'a self, connection: &'a str, most: usize) -> Option<Place<'a>> {
        let mut held = self.held();
        let count = held.entry(connection.to_owned()).or_default();
        if *count >= most {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Place(self, connection))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut held = self.0.held();
        let left = held.get(self.1).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            held.remove(self.1);
        } else {
            held.insert(self.1.to_owned(), left);
        }
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
        let Some(_place) = places.take(connection, system.places().div_euclid(2).max(1)) else {
            let why =
                "half of the calls that may be open to this system are reads for policies already";
            return Err(AppError::new(Reason::SystemUnavailable, why));
        };
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

    #[test]
    fn reads_for_policies_leave_places_to_writes_and_to_other_connections() {
        let places = Places::default();
        let held = [places.take("crm/main", 2), places.take("crm/main", 2)];
        assert!(held.iter().all(Option::is_some));
        assert!(places.take("crm/main", 2).is_none());
        assert!(places.take("desk/main", 2).is_some());
        drop(held);
        assert!(places.take("crm/main", 2).is_some());
        assert!(places.held().is_empty(), "nobody is inside");
    }
}
