//! Evidence of a request: what is quoted, and where the value of an argument is to be found.

use std::collections::BTreeSet;

use writ_proto::limits::{EVIDENCE_ITEMS_MAX, EVIDENCE_QUOTE_BYTES_MAX, IDENT_BYTES_MAX};
use writ_proto::value::Map;
use writ_proto::{Reason, pb};

use super::{digest, malformed, within};
use crate::domain::request::{Cites, Evidence, Extractor};
use crate::error::AppError;

/// Most items of one request that connectord looks up.
const CITED_MAX: usize = 4;

/// What supports the arguments, within its limits.
pub(super) fn read(
    items: Vec<pb::Evidence>,
    (connection, args): (&str, &Map),
) -> Result<Vec<Evidence>, AppError> {
    if items.len() > EVIDENCE_ITEMS_MAX {
        let message = format!("evidence: at most {EVIDENCE_ITEMS_MAX} items");
        return Err(AppError::new(Reason::RequestTooLarge, message));
    }
    let convert = |item: pb::Evidence| {
        let pb::Evidence {
            r#type,
            id,
            quote,
            sha256,
            uncertain_fields,
            argument,
            source,
            extractor,
        } = item;
        within("evidence.type", &r#type, IDENT_BYTES_MAX)?;
        within("evidence.id", &id, IDENT_BYTES_MAX)?;
        within("evidence.quote", &quote, EVIDENCE_QUOTE_BYTES_MAX)?;
        if quote.contains('\0') || id.contains('\0') || r#type.contains('\0') {
            return Err(malformed("evidence: U+0000"));
        }
        // A name that no argument has would raise a doubt that no rule sees.
        if let Some(odd) = uncertain_fields
            .iter()
            .find(|name| args.get(name).is_none())
        {
            let odd: String = odd.chars().take(IDENT_BYTES_MAX).collect();
            let message = format!("evidence.uncertain_fields: the request has no argument {odd:?}");
            return Err(malformed(message));
        }
        let uncertain: BTreeSet<String> = uncertain_fields.into_iter().collect();
        Ok(Evidence {
            kind: r#type,
            id,
            quote,
            sha256: digest("evidence.sha256", sha256)?,
            uncertain: uncertain.into_iter().collect(),
            cites: cites((argument, source, extractor), connection, args)?,
        })
    };
    let items: Vec<Evidence> = items.into_iter().map(convert).collect::<Result<_, _>>()?;
    let mut arguments = BTreeSet::new();
    for cites in items.iter().filter_map(|item| item.cites.as_ref()) {
        // Several tries at once would make looking cheap.
        if !arguments.insert(cites.argument.as_str()) {
            return Err(malformed(
                "evidence: one item with a source for an argument",
            ));
        }
    }
    if arguments.len() > CITED_MAX {
        let message = format!("evidence: at most {CITED_MAX} items with a source");
        return Err(AppError::new(Reason::RequestTooLarge, message));
    }
    Ok(items)
}

/// Where a value stands: all that is needed to look, or nothing of it.
fn cites(
    (argument, source, extractor): (String, Option<pb::TextSource>, i32),
    connection: &str,
    args: &Map,
) -> Result<Option<Cites>, AppError> {
    let extractor = match pb::Extractor::try_from(extractor) {
        Ok(pb::Extractor::Unspecified) => None,
        Ok(pb::Extractor::Literal) => Some(Extractor::Literal),
        Ok(pb::Extractor::Enum) => Some(Extractor::Enum),
        Ok(pb::Extractor::Date) => Some(Extractor::Date),
        Ok(pb::Extractor::Money) => Some(Extractor::Money),
        Err(_) => {
            return Err(malformed(
                "evidence.extractor: literal, enum, date or money",
            ));
        }
    };
    let (Some(source), Some(extractor), false) = (&source, extractor, argument.is_empty()) else {
        return if source.is_none() && extractor.is_none() && argument.is_empty() {
            Ok(None)
        } else {
            Err(malformed(
                "evidence: argument, source and extractor go together",
            ))
        };
    };
    if args.get(&argument).is_none() {
        return Err(malformed(
            "evidence.argument: the request has no such argument",
        ));
    }
    let pb::TextSource {
        connection: of,
        object_type,
        object_id,
        text,
    } = source.clone();
    let of = if of.is_empty() {
        connection.to_owned()
    } else {
        of
    };
    let source = [of, object_type, object_id, text];
    for part in &source {
        within("evidence.source", part, IDENT_BYTES_MAX)?;
        if part.is_empty() || part.chars().any(char::is_control) {
            return Err(malformed(
                "evidence.source: object_type, object_id and text name a text",
            ));
        }
    }
    Ok(Some(Cites {
        argument,
        source,
        extractor,
    }))
}
