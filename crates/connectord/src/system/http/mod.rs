//! The driver for systems that answer with JSON over HTTP. Everything else about them is in the
//! file: JSON, form and GraphQL are ways to write a body, not drivers of their own.

mod ceiling;
mod client;
mod plugin;
mod scope;
mod token;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;
use writ_proto::value::Map;

pub use client::{CallError, HttpClient, base_url};
use plugin::Planned;
pub use plugin::Plugin;
pub use token::{lasts, settled};

use super::file::{Answer, Bound, Exchange, Judged, Meaning, Object, Request, ScopesAt};
use super::{NotDone, Standing, SystemError, Wanted};
use crate::domain::identity::MATCHES_MAX;
use crate::domain::image::Image;
use crate::domain::plan::Plan;
use scope::Filled;

/// A connection to one system of record.
#[derive(Debug)]
pub struct Http {
    bound: Arc<Bound>,
    client: HttpClient,
    origin: String,
    /// What translates calls and answers, where the driver is `remote`.
    plugin: Option<Plugin>,
    /// What its credential was seen to have.
    pub(super) standing: Standing,
}

/// What a system said, or what came instead, after the meaning that it has.
fn told(answer: &Answer, said: Option<String>) -> String {
    match said {
        Some(said) => format!("{}: {said}", answer.described()),
        None => answer.described(),
    }
}

impl Http {
    /// A driver for a compiled file and a client, with the plug-in of a file that names one.
    #[must_use]
    pub fn new(bound: Arc<Bound>, client: HttpClient, plugin: Option<Plugin>) -> Self {
        let origin = client.origin();
        Self {
            bound,
            client,
            origin,
            plugin,
            standing: Standing::default(),
        }
    }

    /// Where it goes.
    pub(super) fn place(&self) -> String {
        match &self.plugin {
            // Behind another plug-in it is another system.
            Some(plugin) => format!("{} {}", self.client.base(), plugin.socket().display()),
            None => self.client.base().to_string(),
        }
    }

    /// Which credential is shown.
    pub(super) const fn fingerprint(&self) -> [u8; 32] {
        self.client.fingerprint()
    }

    /// The file it was made from.
    #[must_use]
    pub const fn bound(&self) -> &Arc<Bound> {
        &self.bound
    }

    fn object(&self, name: &str) -> Result<&Object, SystemError> {
        let known = self.bound.objects.get(name);
        known.ok_or_else(|| SystemError::Unknown(format!("the system has no object `{name}`")))
    }

    fn scope<'a>(&'a self, object: &Object, plan: &'a Plan) -> Result<Filled<'a>, SystemError> {
        Filled::of(object, plan, &self.origin).ok_or_else(|| {
            SystemError::Unknown(format!("`{}` is not an id of a {}", plan.id, plan.object))
        })
    }

    /// What goes out for a request of the file.
    async fn planned(&self, request: Request, writes: bool) -> Result<Planned, SystemError> {
        match &self.plugin {
            Some(plugin) => {
                let planned = plugin.plan(&request, writes).await?;
                // What would not be sent is no dry run either.
                self.client
                    .check(&planned.request)
                    .map_err(SystemError::Field)?;
                Ok(planned)
            }
            None => Ok(Planned::as_it_is(request)),
        }
    }

    /// What the file judges for an answer to it.
    async fn judged(&self, planned: &Planned, answer: Answer) -> Result<Answer, String> {
        match &self.plugin {
            Some(plugin) => plugin.judge(planned, answer, &self.bound).await,
            None => Ok(answer),
        }
    }

    /// Makes one call that only reads. Whatever is not an answer is an error that says what it was.
    async fn ask(&self, exchange: &Exchange, scope: &Filled<'_>) -> Result<Answer, SystemError> {
        let request = exchange.build(scope).map_err(SystemError::Field)?;
        let planned = self.planned(request.clone(), false).await?;
        let answer = self.client.call(&planned.request).await;
        let answer = answer.map_err(|error| match error {
            CallError::Denied(why) => SystemError::Denied(why),
            other => SystemError::Unavailable(other.to_string()),
        })?;
        let answer = self.judged(&planned, answer).await;
        let answer = answer.map_err(SystemError::Unavailable)?;
        match self.bound.rules.judge(&answer, false) {
            Judged::Answered => Ok(answer),
            Judged::Not(Meaning::Denied, said) => Err(SystemError::Denied(told(&answer, said))),
            Judged::Not(Meaning::Limited, said) => Err(SystemError::Limited {
                wait: answer.wait,
                why: told(&answer, said),
            }),
            Judged::Not(..) if matches!(answer.status, 404 | 410) => {
                let asked = format!("{} {}", request.method, request.path);
                let why = format!("{asked} answered {}", answer.status);
                Err(SystemError::NotFound(why))
            }
            Judged::Not(Meaning::Refused, said) => Err(SystemError::Unknown(told(&answer, said))),
            Judged::Not(_, said) => Err(SystemError::Unavailable(told(&answer, said))),
        }
    }

    /// Reads the wanted and the watched fields of a record, and its version.
    ///
    /// # Errors
    /// When there is no such record, the answer shows another one, or a field cannot be read.
    pub async fn read(&self, name: &str, id: &str, wanted: &Wanted) -> Result<Image, SystemError> {
        let object = self.object(name)?;
        let plan = Plan::nowhere(name.to_owned(), id.to_owned(), Map::new());
        self.record(object, &plan, wanted)
            .await
            .map(|(image, _)| image)
    }

    /// The record of a plan as it stands, and the whole answer that showed it.
    async fn record(
        &self,
        object: &Object,
        plan: &Plan,
        wanted: &Wanted,
    ) -> Result<(Image, Json), SystemError> {
        let scope = self.scope(object, plan)?;
        let read = object.read.as_ref();
        let read =
            read.ok_or_else(|| SystemError::Unknown(format!("a {} is never read", plan.object)))?;
        let answer = self.ask(read, &scope).await?;
        let body = answer.body.clone().unwrap_or(Json::Null);
        check_identity(object, &plan.id, &body)?;
        let version = object.version.as_ref().and_then(|at| at.read(&answer));
        if object.version.is_some() && version.is_none() {
            let why = "the answer holds no version where the system file says it stands";
            return Err(SystemError::Field(why.to_owned()));
        }
        if version.as_deref().is_some_and(is_odd) {
            let why = "the version in the answer is no plain text";
            return Err(SystemError::Field(why.to_owned()));
        }
        let fields = fields(object, &body, wanted).map_err(SystemError::Field)?;
        Ok((Image { fields, version }, body))
    }

    /// The parts of a text of a record that is no field of it, and whether there is more than is shown.
    ///
    /// # Errors
    /// When there is no such record, or the answer does not hold what the file says.
    pub async fn text(
        &self,
        name: &str,
        id: &str,
        text: &str,
    ) -> Result<(Vec<String>, bool), SystemError> {
        let object = self.object(name)?;
        let text = object.texts.get(text);
        let text =
            text.ok_or_else(|| SystemError::Unknown(format!("a {name} has no such text")))?;
        let plan = Plan::nowhere(name.to_owned(), id.to_owned(), Map::new());
        // What stands there must be of the record that is named.
        self.record(object, &plan, &Wanted::default()).await?;
        let scope = self.scope(object, &plan)?;
        let answer = self.ask(&text.exchange, &scope).await?;
        let parts = text.read(answer.body.as_ref().unwrap_or(&Json::Null));
        parts.map_err(SystemError::Field)
    }

    /// Ids of the records that carry a signal, at most one more than may match.
    ///
    /// # Errors
    /// When the system file has no such search, or it gives no list, or only a part of it.
    pub async fn find(
        &self,
        name: &str,
        signal: &str,
        args: &Map,
    ) -> Result<Vec<String>, SystemError> {
        let object = self.object(name)?;
        let look = object.find.get(signal).ok_or_else(|| {
            SystemError::Unknown(format!("the system cannot find a {name} by `{signal}`"))
        })?;
        let plan = Plan::nowhere(name.to_owned(), String::new(), args.clone());
        let mut scope = self.scope(object, &plan)?;
        scope.query = look.query(&scope);
        let answer = self.ask(&look.exchange, &scope).await?;
        let body = answer.body.unwrap_or(Json::Null);
        let mut found = look.read(&body, &scope).map_err(SystemError::Unavailable)?;
        if found.more && found.ids.len() <= MATCHES_MAX {
            let why = format!("the search by `{signal}` has more pages than can be looked through");
            return Err(SystemError::Unavailable(why));
        }
        found.ids.truncate(MATCHES_MAX.saturating_add(1));
        Ok(found.ids)
    }

    /// Shows that the credential works, by the file's probe, and what it may do, where the file says how that is told.
    ///
    /// # Errors
    /// What the system said instead.
    pub async fn probe(&self) -> Result<Option<BTreeSet<String>>, SystemError> {
        let Some(probe) = &self.bound.probe else {
            return Ok(None);
        };
        let scope = Filled {
            base: &self.origin,
            ..Filled::default()
        };
        let answer = self.ask(probe, &scope).await?;
        let body = answer.body.as_ref().unwrap_or(&Json::Null);
        let proven = probe.proof(body, &scope);
        proven.map_err(SystemError::Unavailable)?;
        let read = |at: &ScopesAt| at.read(&answer);
        let scopes = self.bound.scopes.as_ref().map(read).transpose();
        scopes.map_err(SystemError::Field)
    }
}

/// Whether a text that is kept as it is holds what no id and no version holds.
pub(super) fn is_odd(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Whether the record itself is null in the answer: so GraphQL says that there is none.
fn is_null(body: &Json, at: &str) -> bool {
    let above = at.rsplit_once('/').map_or("", |(above, _)| above);
    !above.is_empty() && body.pointer(above) == Some(&Json::Null)
}

/// The record that an answer shows must be the one that was asked for, in its one spelling.
fn check_identity(object: &Object, id: &str, body: &Json) -> Result<(), SystemError> {
    let Some(at) = &object.id_at else {
        return Ok(());
    };
    let shown = match body.pointer(at) {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Number(number)) => number.to_string(),
        _ if is_null(body, at) => {
            return Err(SystemError::NotFound(format!("null at {at}")));
        }
        _ => {
            return Err(SystemError::Field(format!(
                "the answer shows no id at {at}"
            )));
        }
    };
    let (before, after) = &object.id_as;
    if shown == format!("{before}{id}{after}") {
        return Ok(());
    }
    Err(SystemError::Alias(shown))
}

/// The fields of an answer. One that an argument writes must be readable; one that is only looked
/// at is carried as it is.
pub(super) fn fields(object: &Object, body: &Json, wanted: &Wanted) -> Result<Map, String> {
    let mut map = Map::new();
    let looked = wanted.seen.iter().chain(&object.watch);
    for (name, written) in wanted
        .written
        .iter()
        .map(|name| (name, true))
        .chain(looked.map(|name| (name, false)))
    {
        if map.get(name).is_some() {
            continue;
        }
        let field = object.fields.get(name);
        let field = field.ok_or_else(|| format!("the system file has no field `{name}`"))?;
        let value = match field.read(body) {
            Ok(value) => value,
            Err(why) => field.as_it_is(body).filter(|_| !written).ok_or(why)?,
        };
        map.set(name, value);
    }
    Ok(map)
}

/// What an answer that refuses makes of a write.
pub(super) fn not_done(meaning: Meaning, wait: Option<u64>) -> Option<NotDone> {
    match meaning {
        Meaning::Refused => Some(NotDone::Refused),
        Meaning::Stale => Some(NotDone::Stale),
        Meaning::Denied => Some(NotDone::Denied),
        Meaning::Limited => Some(NotDone::Limited(wait)),
        Meaning::Unknown => None,
    }
}
