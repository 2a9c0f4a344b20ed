//! Whether what an agent asks for stands where it says: connectord reads the text itself. Without a writ, by policyd alone, and only
//! texts that no card writes.

use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::card::{Arg, ArgKind, Card};
use writ_proto::digest::sha256;
use writ_proto::ids::TenantId;
use writ_proto::value::Value;

use super::catalog::{Catalog, Held};
use super::facts::Places;
use super::{App, AppError};
use crate::domain::ground::{Extractor, MARKS, PLACES_MAX, QUOTE_WORDS_MAX, shows, standing};
use crate::system::{System, SystemError};

/// A text of a record, and what is said to stand there.
#[derive(Debug, Clone)]
pub struct Cited {
    /// Whose.
    pub tenant: TenantId,
    /// Name of the card, one of its arguments, and the value of it.
    pub argument: (String, String, Value),
    /// Connection, object, id and name of the text.
    pub source: [String; 4],
    /// What stands there.
    pub quote: String,
    /// How the value is looked for in it.
    pub extractor: Extractor,
    /// SHA-256 of the text as the agent read it.
    pub sha256: Option<[u8; 32]>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// What is missing, for people; nothing where all is there.
    pub missing: Option<String>,
    /// SHA-256 of the text as it is now: its parts in order, each with a line feed after it.
    pub sha256: Option<[u8; 32]>,
}

impl Ground {
    fn missing(why: impl Into<String>) -> Self {
        Self {
            missing: Some(why.into()),
            sha256: None,
        }
    }
}

/// Whether a card writes a text: what an agent may have put there supports nothing. Another connection to the same system, another
/// object over the same field, and a card that was replaced a moment ago count as well.
fn is_written(catalog: &Catalog, system: &System, [_, object, _, text]: &[String; 4]) -> bool {
    let own_place = system.field_at(object, text);
    let writes = |card: &Card| {
        let reached = catalog.connections.get(card.connection.as_str());
        let Some(Ok(other)) = reached.map(|one| &one.system) else {
            return false;
        };
        if other.place() != system.place() || !card.verb.names_fields() {
            return false;
        }
        card.args.iter().any(|(name, arg)| {
            let same_name = card.target == *object && arg.field == *text;
            let same_place =
                own_place.is_some() && other.field_at(&card.target, &arg.field) == own_place;
            let only_identifies = card.verb.has_record() && card.identify.contains(name);
            !only_identifies && (same_name || same_place)
        })
    };
    catalog.cards.values().any(|held| {
        let earlier = held.earlier.iter().map(|(card, _)| card);
        std::iter::once(&held.card)
            .chain(earlier)
            .any(|card| writes(card))
    })
}

/// Where a text is, if it may support anything; or why not.
fn source(catalog: &Catalog, cited: &Cited, arg: &Arg) -> Result<Arc<System>, String> {
    let tenant = cited.tenant.as_str();
    let [connection, object, _, text] = &cited.source;
    let mut cards = catalog.cards.iter();
    let acts = |((of, _), held): (&(String, String), &Held)| {
        let card = &held.card;
        of == tenant && card.target == *object && card.connection.as_str() == connection
    };
    if !cards.any(acts) {
        return Err(format!("no card acts on a {object} of {connection}"));
    }
    let wanted = format!("{object}.{text}");
    if !arg.evidence_from.is_empty() && !arg.evidence_from.contains(&wanted) {
        let from = arg.evidence_from.join(", ");
        return Err(format!("the card takes evidence from {from} only"));
    }
    let system = catalog.system(tenant, connection);
    let system = system.map_err(|_| "there is no such connection".to_owned())?;
    if is_written(catalog, &system, &cited.source) {
        return Err(format!("a card writes `{text}`, so it supports nothing"));
    }
    Ok(system)
}

/// What is missing of a quote in the parts of a text, if anything.
fn missing(
    cited: &Cited,
    kind: &ArgKind,
    (parts, more): (&[String], bool),
) -> Option<&'static str> {
    let quote = cited.quote.trim_start_matches(MARKS);
    let value = (kind, &cited.argument.2);
    if quote.split_whitespace().count() > QUOTE_WORDS_MAX {
        return Some("the quote is longer than 128 words");
    }
    let places = parts.iter().flat_map(|part| standing(part, quote));
    let mut first = None;
    for around in places.take(PLACES_MAX) {
        match shows(cited.extractor, (quote, &around), value) {
            Ok(()) => return None,
            Err(why) => {
                first.get_or_insert(why);
            }
        }
    }
    let beyond = "the quote does not stand in the part of the text that is looked through";
    let nowhere = "the quote does not stand in a line of the text";
    first.or(Some(if more { beyond } else { nowhere }))
}

impl App {
    /// Looks whether the value of an argument stands in a quote, and the quote in a text of a system of record.
    ///
    /// # Errors
    /// What may not be asked, or that the text could not be read.
    pub async fn ground(&self, cited: &Cited, places: &Places) -> Result<Ground, AppError> {
        let tenant = &cited.tenant;
        let (action, argument, value) = &cited.argument;
        let [connection, object, id, text] = &cited.source;
        let catalog = self.catalog.load_full();
        let own = &catalog.held(tenant.as_str(), action)?.card;
        let Some(arg) = own.args.get(argument) else {
            let why = format!("`{action}` has no argument `{argument}`");
            return Err(AppError::new(Reason::RequestMalformed, why));
        };
        let system = match source(&catalog, cited, arg) {
            Ok(system) => system,
            Err(why) => return Ok(Ground::missing(why)),
        };
        // What cannot be there is not looked for.
        let quote = cited.quote.as_str();
        if let Err(why) = shows(cited.extractor, (quote, quote), (&arg.kind, value)) {
            return Ok(Ground::missing(why));
        }
        let most = system.places().div_euclid(2);
        let place = places.take(tenant, connection, most).await;
        let _place = place.map_err(|_| AppError::of(Reason::Internal))?;
        self.check_standing(connection, &system).await?;
        let (parts, more) = match system.text(object, id, text).await {
            Ok(found) => found,
            // What the system itself said is for operators.
            Err(SystemError::NotFound(_) | SystemError::Alias(_) | SystemError::Unknown(_)) => {
                return Ok(Ground::missing("there is no such record or text"));
            }
            Err(error) => return Err(AppError::new(error.reason(), error.to_string())),
        };
        let whole: String = parts
            .iter()
            .flat_map(|part| [part.as_str(), "\n"])
            .collect();
        let digest = sha256(whole.as_bytes());
        let missing = if cited.sha256.is_some_and(|read| read != digest) {
            Some("the text is another one than the agent read")
        } else {
            missing(cited, &arg.kind, (&parts, more))
        };
        Ok(Ground {
            missing: missing.map(str::to_owned),
            sha256: Some(digest),
        })
    }
}
