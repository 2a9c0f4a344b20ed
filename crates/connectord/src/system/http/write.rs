//! Writing over HTTP: prepared, built, guarded, sent once, judged; and what settles a doubt.

use std::time::Instant;

use serde_json::Value as Json;
use writ_proto::value::Value;

use super::ceiling;
use super::client::{Ready, UNAUTHORIZED};
use super::plugin::Planned;
use super::scope::{Filled, http_date};
use super::{CallError, Http, is_odd, not_done, told};
use crate::domain::plan::Plan;
use crate::system::file::slot::Scope as _;
use crate::system::file::slot::Slot;
use crate::system::file::{
    Answer, Guard, Judged, Look, Meaning, Object, Once, Prepare, Request, Sent, Settle, Step, Verb,
    VersionAt, clean,
};
use crate::system::{
    Applied, Between, Doubt, Happened, NotDone, Prepared, Receipt, SystemError, Wanted,
};

/// What a step came to, where the verb ends with it.
enum Ended {
    /// Nothing of this step was done, for certain.
    Not(NotDone, String),
    /// Nobody knows.
    Unknown(String),
}

/// The version as a header wants it: `If-Unmodified-Since` takes a date of HTTP.
fn header_version(name: &str, version: &str) -> String {
    let dated = name.eq_ignore_ascii_case("If-Unmodified-Since");
    let date = dated.then(|| http_date(version)).flatten();
    date.unwrap_or_else(|| version.to_owned())
}

/// Puts a value at a pointer of a JSON body.
fn put(body: &mut Sent, at: &str, value: &str) -> Result<(), String> {
    let wrong = || "the body has no place for the version".to_owned();
    let Sent::Json(text) = body else {
        return Err(wrong());
    };
    let mut json: Json = serde_json::from_str(text).map_err(|_| wrong())?;
    let (parent, name) = at.rsplit_once('/').ok_or_else(wrong)?;
    let object = json
        .pointer_mut(parent)
        .and_then(Json::as_object_mut)
        .ok_or_else(wrong)?;
    object.insert(name.to_owned(), Json::String(value.to_owned()));
    *text = json.to_string();
    Ok(())
}

/// The fields of a plan that stand otherwise than when it was made.
fn moved(plan: &Plan, image: &crate::domain::image::Image) -> Option<String> {
    let old = |field: &&crate::domain::plan::FieldPlan| {
        image.value(&field.field) != field.old.as_ref().filter(|old| **old != Value::Null)
    };
    let field = plan
        .fields
        .iter()
        .find(old)
        .map(|field| field.field.clone());
    field.or_else(|| (image.version != plan.version).then(|| "the version".to_owned()))
}

/// What the reads before a write show otherwise than at the first look, or were never looked at.
fn unlike(prepare: &[Prepare], before: &Prepared, now: &Prepared) -> Option<String> {
    let looks = prepare.iter().enumerate();
    let mut watched = looks.flat_map(|(at, one)| one.unchanged.iter().map(move |name| (at, name)));
    let value = |prepared: &Prepared, at: usize, name: &str| {
        let body = prepared.0.get(at)?;
        Some(body.pointer(name).cloned())
    };
    let other = |(at, name): &(usize, &String)| {
        let old = value(before, *at, name);
        old.is_none() || old != value(now, *at, name)
    };
    watched.find(other).map(|(_, name)| name.clone())
}

/// Whether what the reads before a write said must not move.
fn holds(verb: &Verb) -> bool {
    verb.prepare.iter().any(Prepare::holds)
}

/// Whether something is looked at right before a write, and must not have moved when it is made.
fn is_compared(verb: &Verb) -> bool {
    verb.compares() || holds(verb)
}

impl Http {
    fn verb<'a>(&self, object: &'a Object, plan: &Plan) -> Result<&'a Verb, SystemError> {
        object.verbs.get(&plan.verb).ok_or_else(|| {
            SystemError::Unknown(format!(
                "the system file has no `{}` for a {}",
                plan.verb, plan.object
            ))
        })
    }

    /// Makes the reads before the write, which dry runs make too, and holds the call to what they
    /// show.
    ///
    /// # Errors
    /// When one cannot be made, or the call asks for more than the record has left.
    pub async fn prepare(&self, plan: &Plan) -> Result<Prepared, SystemError> {
        let object = self.object(&plan.object)?;
        let verb = self.verb(object, plan)?;
        let mut answers: Vec<Json> = Vec::new();
        for prepare in &verb.prepare {
            let mut scope = self.scope(object, plan)?;
            scope.prepared = &answers;
            let body = self
                .ask(&prepare.exchange, &scope)
                .await?
                .body
                .unwrap_or(Json::Null);
            if let Some(ceiling) = &prepare.ceiling {
                ceiling::left(ceiling, plan, &body)?;
            }
            if let Some(among) = &prepare.among {
                ceiling::known(among, (object, plan), &body)?;
            }
            answers.push(body);
        }
        Ok(Prepared(answers))
    }

    /// Builds every request that the live run would send, byte for byte, but for what only the
    /// answers of its own earlier steps can tell.
    ///
    /// # Errors
    /// Which request cannot be built.
    pub fn build(&self, plan: &Plan, prepared: &Prepared) -> Result<Vec<Request>, SystemError> {
        let object = self.object(&plan.object)?;
        let verb = self.verb(object, plan)?;
        let mut scope = self
            .scope(object, plan)?
            .with_fields(object)
            .map_err(SystemError::Field)?;
        scope.prepared = &prepared.0;
        scope.dry = true;
        let build = |(at, step): (usize, &Step)| {
            let built = request(verb, step, &scope, at);
            built.map_err(|why| SystemError::Field(format!("step {}: {why}", at.saturating_add(1))))
        };
        verb.steps.iter().enumerate().map(build).collect()
    }

    /// The same as they go out.
    ///
    /// # Errors
    /// What could never be sent.
    pub async fn rehearse(
        &self,
        plan: &Plan,
        prepared: &Prepared,
    ) -> Result<Vec<String>, SystemError> {
        let mut lines = Vec::new();
        for request in self.build(plan, prepared)? {
            lines.push(self.planned(request, true).await?.request.line());
        }
        Ok(lines)
    }

    /// Makes the steps of a plan, each once. `between` is asked right before each of them.
    pub(in crate::system) async fn write(
        &self,
        plan: &Plan,
        prepared: &Prepared,
        between: &Between<'_>,
    ) -> Applied {
        let found = self
            .object(&plan.object)
            .and_then(|object| Ok((object, self.verb(object, plan)?)));
        let (object, verb) = match found {
            Ok(found) => found,
            Err(error) => return Applied::Not(NotDone::Refused, error.to_string()),
        };
        let scope = self
            .scope(object, plan)
            .and_then(|scope| scope.with_fields(object).map_err(SystemError::Field));
        let mut scope = match scope {
            Ok(scope) => scope,
            Err(error) => return Applied::Not(NotDone::Refused, error.to_string()),
        };
        scope.prepared = &prepared.0;
        let (mut answers, mut last) = (Vec::new(), None);
        let mut looked = Instant::now();
        for (at, step) in verb.steps.iter().enumerate() {
            let scope = Filled {
                answers: &answers,
                ..scope.clone()
            };
            // What a plug-in makes of it comes first: nothing lies between the look and the call but the call.
            let planned = self.planned_step(verb, step, &scope, at).await;
            if at == 0 && planned.is_ok() {
                looked = Instant::now();
                if let Err(error) = self.stands(object, verb, (plan, prepared)).await {
                    return Applied::Not(NotDone::of(&error), error.to_string());
                }
            }
            let ended = match planned {
                Ok(planned) => self.step(verb, step, &scope, (planned, at, between)).await,
                Err(ended) => Err(ended),
            };
            match ended {
                Ok(answer) => {
                    answers.push(answer.body.clone().unwrap_or(Json::Null));
                    last = Some(answer);
                }
                Err(Ended::Not(not, why)) if at == 0 => return Applied::Not(not, why),
                // After the first step something is there, so "nothing happened" would be a lie.
                Err(Ended::Not(_, why) | Ended::Unknown(why)) => {
                    return Applied::unknown(format!("step {}: {why}", at.saturating_add(1)));
                }
            }
        }
        let scope = Filled {
            answers: &answers,
            ..scope.clone()
        };
        let (Some(step), Some(answer)) = (verb.steps.last(), last) else {
            return Applied::Not(NotDone::Refused, "the verb has no step".to_owned());
        };
        let mut told = verb.steps.iter().zip(&answers).rev();
        let created = told.find_map(|(step, body)| step.exchange.created_id(body, &scope));
        Applied::Answered(Receipt {
            created_id: created.map_or_else(String::new, |id| clean(&id)),
            version: written_version(object, step, &answer).filter(|version| !is_odd(version)),
            unprotected: verb.compares().then(|| looked.elapsed()),
            said: self.bound.rules.sentence(&answer),
        })
    }

    /// Where the system refuses no old version, the record is looked at right before the write; and
    /// so is what the reads before it said must not move.
    async fn stands(
        &self,
        object: &Object,
        verb: &Verb,
        (plan, prepared): (&Plan, &Prepared),
    ) -> Result<(), SystemError> {
        if holds(verb) {
            let again = self.prepare(plan).await?;
            if let Some(what) = unlike(&verb.prepare, prepared, &again) {
                let why = format!("{what} changed since it was looked at");
                return Err(SystemError::Moved(why));
            }
        }
        if !verb.compares() || object.read.is_none() {
            return Ok(());
        }
        let written = plan
            .fields
            .iter()
            .map(|field| field.field.clone())
            .collect();
        let (image, _) = self
            .record(
                object,
                plan,
                &Wanted {
                    written,
                    seen: Vec::new(),
                },
            )
            .await?;
        match moved(plan, &image) {
            Some(what) => Err(SystemError::Moved(format!(
                "{what} changed since it was looked at"
            ))),
            None => Ok(()),
        }
    }

    /// Sends a request once, and once more where the system did not take the token, which the file's
    /// rules must say too: then it did nothing with the first. What is compared right before is not sent
    /// again so much later.
    async fn sent(
        &self,
        verb: &Verb,
        request: &Request,
        (at, between): (usize, &Between<'_>),
    ) -> Result<Answer, Ended> {
        let mut worn = None;
        loop {
            let ready = self.client.ready(worn).await;
            // After everything that may take time.
            between(at)
                .map_err(|refusal| Ended::Not(NotDone::Stopped(refusal.reason), refusal.detail))?;
            let shown = ready.as_ref().ok().and_then(Ready::token);
            let answer = match ready {
                Ok(ready) => self.client.call_at(ready, request).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) if answer.status == UNAUTHORIZED && worn.is_none() => {
                    let judged = self.bound.rules.judge(&answer, false);
                    let denied = matches!(judged, Judged::Not(Meaning::Denied, _));
                    if !denied || shown.is_none() || is_compared(verb) {
                        return Ok(answer);
                    }
                    worn = shown;
                }
                Ok(answer) => return Ok(answer),
                Err(CallError::NotSent(why)) => return Err(Ended::Not(NotDone::Unreached, why)),
                Err(CallError::Denied(why)) => return Err(Ended::Not(NotDone::Denied, why)),
                Err(CallError::Lost(why)) => return Err(Ended::Unknown(why)),
            }
        }
    }

    async fn planned_step(
        &self,
        verb: &Verb,
        step: &Step,
        scope: &Filled<'_>,
        at: usize,
    ) -> Result<Planned, Ended> {
        let request =
            request(verb, step, scope, at).map_err(|why| Ended::Not(NotDone::Refused, why))?;
        let planned = self.planned(request, true).await;
        planned.map_err(|error| Ended::Not(NotDone::of(&error), error.to_string()))
    }

    async fn step(
        &self,
        verb: &Verb,
        step: &Step,
        scope: &Filled<'_>,
        (planned, at, between): (Planned, usize, &Between<'_>),
    ) -> Result<Answer, Ended> {
        let answer = self.sent(verb, &planned.request, (at, between)).await?;
        let answer = self
            .judged(&planned, answer)
            .await
            .map_err(Ended::Unknown)?;
        let guarded = step.guarded && verb.guard.is_native();
        match self.bound.rules.judge(&answer, guarded) {
            Judged::Answered => {}
            Judged::Not(meaning, said) => {
                let why = told(&answer, said);
                return Err(match not_done(meaning, answer.wait) {
                    Some(not) => Ended::Not(not, why),
                    None => Ended::Unknown(why),
                });
            }
        }
        let body = answer.body.clone().unwrap_or(Json::Null);
        let own = [body.clone()];
        let answers = [scope.answers, own.as_slice()].concat();
        let scope = Filled {
            answers: &answers,
            ..scope.clone()
        };
        match step.exchange.proof(&body, &scope) {
            Ok(()) => Ok(answer),
            Err(why) => {
                let said = self.bound.rules.sentence(&answer);
                Err(Ended::Unknown(format!("{}; {why}", told(&answer, said))))
            }
        }
    }

    /// Looks whether a write of unknown outcome has happened.
    pub async fn settle(&self, plan: &Plan, doubt: &Doubt) -> Happened {
        let settled = async {
            let object = self.object(&plan.object)?;
            let verb = self.verb(object, plan)?;
            match &verb.settle {
                Settle::None | Settle::Key => Ok(Happened::CannotTell(
                    "the system file cannot tell".to_owned(),
                )),
                Settle::Find(looks) => self.search(object, looks, plan).await,
                Settle::AfterImage(matches) => {
                    let written = plan
                        .fields
                        .iter()
                        .map(|field| field.field.clone())
                        .collect();
                    let wanted = Wanted {
                        written,
                        seen: Vec::new(),
                    };
                    let (image, body) = self.record(object, plan, &wanted).await?;
                    let scope = self.scope(object, plan)?;
                    let ours = !matches.is_empty() && matches.hold(&body, &scope);
                    Ok(doubt.settled(plan, &image, ours))
                }
            }
        };
        settled.await.unwrap_or_else(|error| match error {
            SystemError::NotFound(_)
            | SystemError::Unknown(_)
            | SystemError::Alias(_)
            | SystemError::Field(_) => Happened::CannotTell(error.to_string()),
            _ => Happened::Away(error.to_string()),
        })
    }

    /// Every search must find something that carries the key of this call; what the first one finds
    /// is what was created.
    async fn search(
        &self,
        object: &Object,
        looks: &[Look],
        plan: &Plan,
    ) -> Result<Happened, SystemError> {
        let (mut answers, mut created_id) = (Vec::new(), None);
        let mut is_part = false;
        for look in looks {
            let mut scope = self.scope(object, plan)?;
            scope.answers = &answers;
            look.check_answered(&scope).map_err(SystemError::Field)?;
            scope.query = look.query(&scope);
            let body = self
                .ask(&look.exchange, &scope)
                .await?
                .body
                .unwrap_or(Json::Null);
            let found = look.read(&body, &scope).map_err(SystemError::Unavailable)?;
            // A later look-up may have gone by what an earlier one showed beside ours.
            is_part |= found.more;
            match found.ids.into_iter().next() {
                Some(id) => {
                    created_id.get_or_insert(id);
                }
                None if found.unsure => {
                    let why = "a hit is there that does not say whether it counts";
                    return Ok(Happened::CannotTell(why.to_owned()));
                }
                None if is_part => {
                    let why = "the search has more pages than can be looked through";
                    return Ok(Happened::CannotTell(why.to_owned()));
                }
                None => return Ok(Happened::No),
            }
            answers.push(body);
        }
        Ok(Happened::Yes {
            created_id: created_id.unwrap_or_default(),
        })
    }
}

/// The request of a step, with the guard and the key of the verb on it.
fn request(verb: &Verb, step: &Step, scope: &Filled<'_>, at: usize) -> Result<Request, String> {
    let mut request = step.exchange.build(scope)?;
    let version = scope
        .get(&Slot::Version)
        .and_then(|version| version.as_str().map(str::to_owned));
    let needed = || {
        version
            .clone()
            .ok_or_else(|| "there is no version to write against".to_owned())
    };
    match &verb.guard {
        Guard::Header(name) if step.guarded => {
            request
                .headers
                .push((name.clone(), header_version(name, &needed()?)));
        }
        Guard::Body(pointer) if step.guarded => put(&mut request.body, pointer, &needed()?)?,
        Guard::Directive => {
            needed()?;
        }
        _ => {}
    }
    if let Once::Header(name) = &verb.once {
        let key = scope.plan.map(|plan| plan.key.as_str()).unwrap_or_default();
        // Another body under a key that was seen is refused by systems that remember keys.
        let key = if at == 0 {
            key.to_owned()
        } else {
            format!("{key}-{}", at.saturating_add(1))
        };
        request.headers.push((name.clone(), key));
    }
    Ok(request)
}

/// The version that the answer of the last step tells: where the step says, or where a read has it
/// if that is a header.
fn written_version(object: &Object, step: &Step, answer: &Answer) -> Option<String> {
    let own = step.exchange.version().and_then(|at| at.read(answer));
    let as_read = || match &object.version {
        Some(at @ VersionAt::Header(_)) if step.guarded => at.read(answer),
        _ => None,
    };
    own.or_else(as_read)
}

#[cfg(test)]
mod tests;
