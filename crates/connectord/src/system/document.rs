//! The driver for documents: locked templates. An agent never edits a document; it only has a
//! template filled that it cannot change, and gets a copy.
//!
//! `templates/NAME.{md,txt,html}` are the masters, which are only read. `documents/KEY/1.md` and
//! `documents/KEY/about.json` are what is made, once for each key and never touched again; a
//! person may add a `2.md` beside. What stands around the values is what the master says, and
//! which master that was is in `about.json`.

mod shelf;
mod template;

pub(in crate::system) use template::escaped;

use std::path::Path;
use std::sync::Arc;

use writ_proto::value::{Map, Value};

use super::{Applied, Happened, NotDone, SystemError, Wanted};
use crate::clock;
use crate::domain::image::Image;
use crate::domain::plan::Plan;
use shelf::{About, Master, Shelf, Standing, hash};
use template::{Template, TemplateError};

/// The one object type.
const OBJECT: &str = "template";
/// The one verb.
const VERB: &str = "fill_template";
/// Longest name of a template in characters.
const NAME_CHARS_MAX: usize = 64;
/// Longest key in characters.
const KEY_CHARS_MAX: usize = 80;
/// Longest time, in milliseconds, from the last check to the move that makes a document. Takeover waits
/// far longer.
const MAKING_MS_MAX: i64 = 10_000;

/// A folder of templates and of the documents that were made from them.
#[derive(Debug, Clone)]
pub struct Document {
    shelf: Arc<Shelf>,
}

/// Why a folder cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DocumentError(pub String);

impl Document {
    /// A driver for a folder that holds `templates`; `documents` is made if it is not there.
    ///
    /// # Errors
    /// When one of them is missing, is not a folder or cannot be made.
    pub fn open(folder: &Path) -> Result<Self, DocumentError> {
        let shelf = Shelf::open(folder)
            .map_err(|why| DocumentError(format!("{}: {why}", folder.display())))?;
        Ok(Self {
            shelf: Arc::new(shelf),
        })
    }

    /// Where it is.
    pub(super) fn place(&self) -> String {
        self.shelf.place()
    }

    /// Reads what is known of a template: `placeholders`, sorted, and `sha256`. Its version is
    /// the hash of its bytes, so a call relies on every letter of the master.
    ///
    /// # Errors
    /// When there is no such template, or it could not be filled whatever the values are: a dry
    /// run finds that too.
    pub async fn read(
        &self,
        object: &str,
        id: &str,
        wanted: &Wanted,
    ) -> Result<Image, SystemError> {
        check_target(object, id).map_err(SystemError::Unknown)?;
        let name = id.to_owned();
        let read = self.blocking(move |shelf| shelf.master(&name)).await;
        let master = read
            .flatten()
            .map_err(SystemError::Unavailable)?
            .ok_or(SystemError::NotFound(String::new()))?;
        let template = parsed(&master)
            .map_err(|error| SystemError::Unavailable(format!("`{id}`: {error}")))?;
        let placeholders: Vec<&str> = template.placeholders().into_iter().collect();
        let mut image = Image {
            fields: Map::new(),
            version: Some(version(&master)),
        };
        for field in wanted.written.iter().chain(&wanted.seen) {
            let text = match field.as_str() {
                "placeholders" => placeholders.join(", "),
                "sha256" => master.sha256.clone(),
                _ => continue,
            };
            image.fields.set(field, Value::Text(text));
        }
        Ok(image)
    }

    /// Finds nothing: whoever wants a template filled knows its name.
    ///
    /// # Errors
    /// Always.
    pub async fn find(
        &self,
        _object: &str,
        _signal: &str,
        _args: &Map,
    ) -> Result<Vec<String>, SystemError> {
        let why = "documents are not searched";
        Err(SystemError::Unknown(why.to_owned()))
    }

    /// Fills the master of a plan and keeps nothing of it.
    ///
    /// # Errors
    /// When it could not be filled with these values.
    pub async fn rehearse(&self, plan: &Plan) -> Result<(), SystemError> {
        check_plan(plan).map_err(SystemError::Unknown)?;
        let plan = plan.clone();
        let filled = self.blocking(move |shelf| {
            let master = shelf.master(&plan.id)?.ok_or("there is no such template")?;
            let text = parsed(&master).and_then(|template| template.fill(&plan.args));
            text.map(drop).map_err(|error| error.to_string())
        });
        filled.await.flatten().map_err(SystemError::Field)
    }

    /// Makes the one document of a plan; its id is the key of the plan. A second call with the
    /// same key and the same text finds the document of the first.
    pub async fn write(&self, plan: &Plan) -> Applied {
        if let Err(why) = check_plan(plan) {
            return Applied::Not(NotDone::Refused, why);
        }
        let plan = plan.clone();
        let until = clock::now()
            .timestamp_millis()
            .saturating_add(MAKING_MS_MAX);
        let written = self.blocking(move |shelf| make(shelf, &plan, until)).await;
        written.unwrap_or_else(Applied::unknown)
    }

    /// Looks whether a write of unknown outcome has happened.
    pub async fn reconcile(&self, plan: &Plan) -> Happened {
        if let Err(why) = check_plan(plan) {
            return Happened::CannotTell(why);
        }
        let plan = plan.clone();
        let looked = self.blocking(move |shelf| look(shelf, &plan)).await;
        looked.flatten().unwrap_or_else(Happened::CannotTell)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> T + Send + 'static,
    ) -> Result<T, String> {
        let shelf = Arc::clone(&self.shelf);
        let done = tokio::task::spawn_blocking(move || work(&shelf)).await;
        done.map_err(|error| error.to_string())
    }
}

fn version(master: &Master) -> String {
    format!("sha256:{}", master.sha256)
}

fn parsed(master: &Master) -> Result<Template<'_>, TemplateError> {
    Template::parse(master.format, &master.text)
}

/// Fills the master that the plan relies on, from the very bytes whose hash was compared.
fn make(shelf: &Shelf, plan: &Plan, until_ms: i64) -> Applied {
    let master = match shelf.master(&plan.id) {
        Ok(Some(master)) => master,
        Ok(None) => {
            return Applied::Not(
                NotDone::Refused,
                format!("there is no template `{}`", plan.id),
            );
        }
        Err(why) => return Applied::Not(NotDone::Refused, why),
    };
    let Some(relied) = &plan.version else {
        return Applied::Not(NotDone::Refused, "no version to write against".to_owned());
    };
    let current = version(&master);
    if *relied != current {
        return Applied::Not(
            NotDone::Stale,
            format!("template `{}`: relied on {relied}, is {current}", plan.id),
        );
    }
    let text = match parsed(&master).and_then(|template| template.fill(&plan.args)) {
        Ok(text) => text,
        Err(error) => return Applied::Not(NotDone::Refused, error.to_string()),
    };
    let about = About {
        template: plan.id.clone(),
        template_sha256: master.sha256,
        key: plan.key.clone(),
        text_sha256: hash(text.as_bytes()),
    };
    shelf.put(&about, master.format, &text, until_ms)
}

fn look(shelf: &Shelf, plan: &Plan) -> Result<Happened, String> {
    let about = match shelf.standing(&plan.key)? {
        Standing::Absent => return Ok(Happened::No),
        Standing::Made(about) => about,
        Standing::Other(why) => return Err(why),
    };
    let made_from = format!("sha256:{}", about.template_sha256);
    let same_master = plan.version.as_ref().is_none_or(|it| *it == made_from);
    if about.template != plan.id || !same_master {
        return Err(format!("`{}` was made from another template", plan.key));
    }
    // The process may have stopped between the move and the moment from which it lasts.
    shelf.sync()?;
    Ok(Happened::Yes {
        created_id: about.key,
    })
}

fn check_target(object: &str, id: &str) -> Result<(), String> {
    if object != OBJECT {
        return Err(format!("documents have no object `{object}`"));
    }
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    if !(1..=NAME_CHARS_MAX).contains(&id.len()) || !id.bytes().all(allowed) {
        let shape = "1 to 64 of a-z 0-9 _ -";
        return Err(format!(
            "`{}` is not the name of a template: {shape}",
            id.escape_debug()
        ));
    }
    Ok(())
}

fn check_plan(plan: &Plan) -> Result<(), String> {
    check_target(&plan.object, &plan.id)?;
    if plan.verb != VERB || !plan.fields.is_empty() {
        return Err(format!(
            "a template can only be filled, not `{}`",
            plan.verb
        ));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let key = plan.key.as_str();
    if !(1..=KEY_CHARS_MAX).contains(&key.len()) || !key.bytes().all(allowed) {
        return Err("the key is not 1 to 80 of A-Z a-z 0-9 -".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
