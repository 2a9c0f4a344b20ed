//! What a system of record says of a record, read for the policies of its tenant: without a writ, by policyd alone, and
//! only of objects that a card of the tenant acts on.

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

impl App {
    /// Reads fields of a record; none where the system says that there is no such record.
    ///
    /// # Errors
    /// What may not be asked, or why it could not be read.
    pub async fn facts(&self, question: &Question) -> Result<Option<Answer>, AppError> {
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
        let wanted = Wanted {
            written: fields.clone(),
            seen: Vec::new(),
        };
        let image = match system.read(object, id, &wanted).await {
            Ok(image) => image,
            Err(SystemError::NotFound(_)) => return Ok(None),
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
