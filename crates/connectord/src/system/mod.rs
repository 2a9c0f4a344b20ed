//! Systems of record: drivers that read a record, make exactly one write, and look whether a
//! write has happened. What is specific to a vendor is data in `deploy/systems/*.toml`.
//!
//! Contract: `write` makes each call of its plan at most once; one that was answered with a token that is not
//! taken, hence did nothing, it may make once more. It answers
//! `Not` only when nothing was changed for certain, and `Answered` only when the answers held what
//! the file expects of them; whether the record shows it is for the caller to see.

pub mod document;
mod failure;
pub mod file;
pub mod http;
pub mod postgres;
mod standing;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value as Json;
use writ_proto::digest::sha256;
use writ_proto::value::{Map, Value};

use crate::domain::gate::{Permit, Refusal};
use crate::domain::image::Image;
use crate::domain::plan::Plan;
use crate::domain::undo;
use crate::domain::undo_writ::UndoPermit;

pub use document::Document;
pub use failure::{NotDone, SystemError};
pub use http::Http;
pub use postgres::Postgres;
pub use standing::{HOLDS, STALE, Standing};

/// Leave to write: one of the two permits, and nothing else.
#[derive(Debug, Clone, Copy)]
pub enum Leave<'a> {
    /// An agent's call that passed the gate.
    Permit(&'a Permit),
    /// Putting back what we wrote ourselves.
    Undo(&'a UndoPermit),
}

/// Asked right before each step of a write, by its number from 0: whether it may be made still.
pub type Between<'a> = dyn Fn(usize) -> Result<(), Refusal> + Send + Sync + 'a;

/// Bytes of the fingerprint of a credential that an execution keeps.
const ACCOUNT_BYTES: usize = 8;

/// As much of the fingerprint of a credential as tells it from another one, in hex.
#[must_use]
pub fn account_of(fingerprint: &[u8; 32]) -> String {
    let (start, _) = fingerprint.split_at(ACCOUNT_BYTES);
    hex::encode(start)
}

/// Which fields of a record are read.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Those that are to be written: each must be readable.
    pub written: Vec<String>,
    /// Those that are only looked at: carried as they are.
    pub seen: Vec<String>,
}

/// What an answered write brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Id of a record that was created.
    pub created_id: String,
    /// Version of the record after the write, if the answer told it.
    pub version: Option<String>,
    /// Where the system refuses no old version: from the last look to the end of the write.
    pub unprotected: Option<Duration>,
    /// The system's own sentence, if it had one.
    pub said: Option<String>,
}

/// What became of the one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The answers held what the file expects.
    Answered(Receipt),
    /// Nothing was done, for certain.
    Not(NotDone, String),
    /// Nobody knows.
    Unknown {
        /// What came instead of an answer.
        why: String,
        /// Version that the record has if it happened, where that is known.
        version: Option<String>,
    },
}

impl Applied {
    /// Nobody knows, and nothing tells.
    #[must_use]
    pub const fn unknown(why: String) -> Self {
        Self::Unknown { why, version: None }
    }
}

/// Whether a write of unknown outcome has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// Yes.
    Yes {
        /// Id of a record that was created.
        created_id: String,
    },
    /// Nothing shows it. That proves something only after a while.
    No,
    /// It cannot be told from here.
    CannotTell(String),
    /// The system did not answer.
    Away(String),
}

/// What is known of a write of unknown outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubt {
    /// The answer held what the file expects, and then the record could not be read.
    pub answered: bool,
    /// Version of the record after the write, if the answer told it.
    pub version: Option<String>,
}

impl Doubt {
    /// What the record itself tells. A value that a person may have written is not ours: only an
    /// answer, its version, or a member of the record that names the call (`ours`) says so.
    #[must_use]
    pub fn settled(&self, plan: &Plan, image: &Image, ours: bool) -> Happened {
        if plan.is_untouched_in(image) {
            return Happened::No;
        }
        if !plan.is_applied_in(image) {
            return Happened::CannotTell(
                "the record shows neither what stood there nor what was written".to_owned(),
            );
        }
        let same = self.version.is_some() && self.version == image.version;
        if ours || same || self.answered {
            return Happened::Yes {
                created_id: String::new(),
            };
        }
        Happened::CannotTell(
            "the record shows what was planned, and nothing tells whether this call or somebody else wrote it".to_owned(),
        )
    }
}

/// Answers of the reads before a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared(pub Vec<Json>);

/// A connection to one system of record, by its driver.
#[derive(Debug)]
pub enum System {
    /// JSON over HTTP.
    Http(Box<Http>),
    /// Tables of PostgreSQL.
    Postgres(Box<Postgres>),
    /// Locked templates and what is made from them.
    Document(Document),
}

impl System {
    /// The compiled file of it; none where no file says anything.
    fn bound(&self) -> Option<&file::Bound> {
        match self {
            Self::Http(system) => Some(system.bound()),
            Self::Postgres(system) => Some(system.bound()),
            Self::Document(_) => None,
        }
    }

    fn verb(&self, object: &str, verb: &str) -> Option<&file::Verb> {
        self.bound()?.objects.get(object)?.verbs.get(verb)
    }

    /// Whether a card can be performed here, from argument to byte.
    ///
    /// # Errors
    /// What does not fit.
    pub fn fits(&self, card: &writ_proto::card::Card) -> Result<(), String> {
        let fits = self.bound().map_or(Ok(()), |bound| bound.fits(card));
        fits.map_err(|error| error.to_string())
    }

    /// Hash of what a verb sends, proves and guards, and of where it goes: another address is another
    /// system.
    #[must_use]
    pub fn digest(&self, object: &str, verb: &str) -> [u8; 32] {
        let verb = self.verb(object, verb).map_or([0; 32], |verb| verb.digest);
        sha256(&[verb, self.place()].concat())
    }

    /// Hash of where it goes.
    #[must_use]
    pub fn place(&self) -> [u8; 32] {
        let place = match self {
            Self::Http(system) => system.place(),
            Self::Postgres(system) => system.place(),
            Self::Document(system) => system.place(),
        };
        sha256(place.as_bytes())
    }

    /// Which credential is shown there, in hex; nothing where none is.
    #[must_use]
    pub fn account(&self) -> String {
        let fingerprint = match self {
            Self::Http(system) => system.fingerprint(),
            Self::Postgres(system) => system.fingerprint(),
            Self::Document(_) => return String::new(),
        };
        account_of(&fingerprint)
    }

    /// Whether nothing can be asked of it that shows whether it takes the credential.
    #[must_use]
    pub fn has_no_probe(&self) -> bool {
        matches!(self, Self::Http(system) if system.bound().probe.is_none())
    }

    /// What the file leaves to chance: verbs that cannot be undone, guarded or told of after a lost
    /// answer.
    #[must_use]
    pub fn choices_of_none(&self) -> Vec<String> {
        self.bound()
            .map_or_else(Vec::new, |bound| bound.choices_of_none())
    }

    /// Whether the verb is undone by putting back the earlier values.
    #[must_use]
    pub fn restores(&self, object: &str, verb: &str) -> bool {
        let verb = self.verb(object, verb);
        verb.is_some_and(|verb| verb.undo == file::UndoBy::Restore)
    }

    /// Whether a doubt of the verb is settled by a search for what was added.
    #[must_use]
    pub fn searches(&self, object: &str, verb: &str) -> bool {
        let verb = self.verb(object, verb);
        verb.is_some_and(|verb| matches!(verb.settle, file::Settle::Find(_) | file::Settle::Key))
    }

    /// How many calls to it may be open at once.
    #[must_use]
    pub fn places(&self) -> usize {
        self.bound().map_or(1, |bound| bound.concurrent)
    }

    /// Before so long after a call was sent, "not there" proves nothing.
    #[must_use]
    pub fn settle_after(&self) -> Duration {
        self.bound()
            .map_or(Duration::ZERO, |bound| bound.settle_after)
    }

    /// Reads the wanted and the watched fields of a record, and its version.
    ///
    /// # Errors
    /// When there is no such record or it cannot be read.
    pub async fn read(
        &self,
        object: &str,
        id: &str,
        wanted: &Wanted,
    ) -> Result<Image, SystemError> {
        match self {
            Self::Http(system) => system.read(object, id, wanted).await,
            Self::Postgres(system) => Box::pin(system.read(object, id, wanted)).await,
            Self::Document(system) => system.read(object, id, wanted).await,
        }
    }

    /// Where a field stands in answers, or a text that is one value.
    #[must_use]
    pub fn field_at(&self, object: &str, field: &str) -> Option<&str> {
        let object = self.bound()?.objects.get(object)?;
        let own = object.fields.get(field).map(file::Field::at);
        own.or_else(|| object.texts.get(field)?.at())
    }

    /// The parts of a text of a record, in their order, and whether there is more than is shown: a field that is a text, or what the file names beside the fields.
    ///
    /// # Errors
    /// When there is no such record or text, or it cannot be read.
    pub async fn text(
        &self,
        object: &str,
        id: &str,
        name: &str,
    ) -> Result<(Vec<String>, bool), SystemError> {
        let known = self.bound().and_then(|bound| bound.objects.get(object));
        let known = known.ok_or_else(|| SystemError::Unknown(format!("there is no {object}")))?;
        if let (Self::Http(system), true) = (self, known.texts.contains_key(name)) {
            return system.text(object, id, name).await;
        }
        let is_text = |field: &file::Field| matches!(field.codec(), file::Codec::Text { .. });
        if !known.fields.get(name).is_some_and(is_text) {
            let why = format!("the system file has no text `{name}` of a {object}");
            return Err(SystemError::Unknown(why));
        }
        let wanted = Wanted {
            written: vec![name.to_owned()],
            seen: Vec::new(),
        };
        let image = self.read(object, id, &wanted).await?;
        let text = image.value(name).and_then(Value::as_text);
        Ok((text.map(str::to_owned).into_iter().collect(), false))
    }

    /// Ids of the records that carry a signal, at most one more than may match.
    ///
    /// # Errors
    /// When the system knows no such search, or it gives no list.
    pub async fn find(
        &self,
        object: &str,
        signal: &str,
        args: &Map,
    ) -> Result<Vec<String>, SystemError> {
        match self {
            Self::Http(system) => system.find(object, signal, args).await,
            Self::Postgres(_) => postgres::find(args),
            Self::Document(system) => system.find(object, signal, args).await,
        }
    }

    /// The spelling of a value that a later read will show.
    ///
    /// # Errors
    /// `FIELD_UNREADABLE` when the field cannot hold it.
    pub fn spelled(&self, object: &str, field: &str, value: &Value) -> Result<Value, SystemError> {
        let Some(bound) = self.bound() else {
            return Ok(value.clone());
        };
        let object = bound.objects.get(object);
        let field = object.and_then(|object| object.fields.get(field));
        let field = field
            .ok_or_else(|| SystemError::Unknown("the system file has no such field".to_owned()))?;
        field.canonical(value).map_err(SystemError::Field)
    }

    /// Makes the reads before the write and holds the call to what they show.
    ///
    /// # Errors
    /// When one cannot be made, or the record has less left than the call asks for.
    pub async fn prepare(&self, plan: &Plan) -> Result<Prepared, SystemError> {
        match self {
            Self::Http(system) => system.prepare(plan).await,
            Self::Postgres(_) | Self::Document(_) => Ok(Prepared::default()),
        }
    }

    /// Everything that the live run would do but the last call: the requests as they would go out,
    /// without the credential.
    ///
    /// # Errors
    /// What could never be sent.
    pub async fn rehearse(
        &self,
        plan: &Plan,
        prepared: &Prepared,
    ) -> Result<Vec<String>, SystemError> {
        match self {
            Self::Http(system) => system.rehearse(plan, prepared).await,
            Self::Postgres(system) => Box::pin(system.rehearse(plan)).await,
            Self::Document(system) => system.rehearse(plan).await.map(|()| Vec::new()),
        }
    }

    /// Makes the one write of a plan. The leave is not looked into, but that an undo is the one that
    /// it is for: it is the proof that somebody with the right to let this happen did.
    pub async fn write(
        &self,
        leave: Leave<'_>,
        (plan, prepared): (&Plan, &Prepared),
        between: &Between<'_>,
    ) -> Applied {
        if let Leave::Undo(permit) = leave
            && !undo::is_key_of(&plan.key, permit.execution())
        {
            return Applied::Not(
                NotDone::Refused,
                "this leave is for the undo of another execution".to_owned(),
            );
        }
        if let Self::Http(system) = self {
            return system.write(plan, prepared, between).await;
        }
        if let Err(refusal) = between(0) {
            return Applied::Not(NotDone::Stopped(refusal.reason), refusal.detail);
        }
        match self {
            Self::Http(system) => system.write(plan, prepared, between).await,
            Self::Postgres(system) => Box::pin(system.write(plan, between)).await,
            Self::Document(system) => system.write(plan).await,
        }
    }

    /// Looks whether a write of unknown outcome has happened.
    pub async fn settle(&self, plan: &Plan, doubt: &Doubt) -> Happened {
        match self {
            Self::Http(system) => system.settle(plan, doubt).await,
            Self::Postgres(system) => Box::pin(system.settle(plan, doubt)).await,
            Self::Document(system) => system.reconcile(plan).await,
        }
    }

    /// Shows that the credential works, and what it may do where that can be told.
    ///
    /// # Errors
    /// What the system said instead.
    pub async fn probe(&self) -> Result<Option<BTreeSet<String>>, SystemError> {
        match self {
            Self::Http(system) => system.probe().await,
            Self::Postgres(system) => Box::pin(system.probe()).await.map(Some),
            Self::Document(_) => Ok(None),
        }
    }
}
