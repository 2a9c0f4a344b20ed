//! Where the values of a request stand: what connectord found when it looked. An agent's word for it counts nothing.

use std::collections::BTreeSet;

use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::value::Value;

use crate::domain::decide::facts::Facts;
use crate::domain::request::Request;

/// What was found of one item of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// The argument.
    pub argument: String,
    /// The value that was looked for.
    pub value: Value,
    /// Whether it stands there.
    pub grounded: bool,
    /// SHA-256 of the text as connectord read it, if it did.
    pub sha256: Option<[u8; 32]>,
    /// What is missing, in words; not recorded.
    pub why: String,
}

/// What is known of the evidence of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Grounds {
    /// Nobody looked.
    #[default]
    NotLooked,
    /// One for each item that says where a value stands, in their order.
    Looked(Vec<Ground>),
    /// It could not be looked at.
    Unread {
        /// The code of why.
        reason: Reason,
        /// In words, for operators.
        why: String,
    },
}

impl Facts {
    /// What was found for a request, if it was looked for it and not for another one.
    ///
    /// # Errors
    /// The code and the words of why that is not known.
    pub fn grounds_of(&self, request: &Request) -> Result<&[Ground], (Reason, String)> {
        let cited = request.cited().map(|(_, cites)| cites.argument.as_str());
        match &self.grounds {
            Grounds::Unread { reason, why } if request.cited().next().is_some() => {
                Err((*reason, why.clone()))
            }
            Grounds::Looked(found) => {
                let found_of = found.iter().map(|ground| ground.argument.as_str());
                if found_of.eq(cited) {
                    Ok(found)
                } else {
                    let why = "something else was looked for than is named now".to_owned();
                    Err((Reason::Unavailable, why))
                }
            }
            Grounds::NotLooked if request.cited().next().is_some() => {
                let why = "what stands where was not looked at".to_owned();
                Err((Reason::Unavailable, why))
            }
            Grounds::NotLooked | Grounds::Unread { .. } => Ok(&[]),
        }
    }

    /// Arguments whose very value was found.
    #[must_use]
    pub fn grounded<'a>(&'a self, request: &Request) -> BTreeSet<&'a str> {
        let found = self.grounds_of(request).unwrap_or_default().iter();
        let own = found.filter(|ground| {
            ground.grounded && request.args.get(&ground.argument) == Some(&ground.value)
        });
        own.map(|ground| ground.argument.as_str()).collect()
    }

    /// The first argument that the card wants evidence for and has none, and why, as far as it was looked for.
    #[must_use]
    pub fn ungrounded<'a>(&self, request: &Request, card: &'a Card) -> Option<(&'a str, String)> {
        let grounded = self.grounded(request);
        let wanted = card.args.iter().filter(|(_, arg)| arg.evidence_required);
        let mut given = wanted.filter(|(name, _)| request.args.get(name).is_some());
        let (name, _) = given.find(|(name, _)| !grounded.contains(name.as_str()))?;
        let mut found = self.grounds_of(request).unwrap_or_default().iter();
        let why = found.find(|ground| ground.argument == **name && !ground.grounded);
        let why = why.map_or("the request names none", |ground| ground.why.as_str());
        Some((name, why.to_owned()))
    }
}

#[cfg(test)]
mod tests;
