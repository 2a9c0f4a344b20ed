//! The form that undoes what the last minutes wrote. A device is not enough: an operator who was
//! given that signs in, says why, and may do nothing else with that sign-in.

use std::net::SocketAddr;

use axum::extract::rejection::FormRejection;
use axum::extract::{ConnectInfo, Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use writ_proto::Reason;
use zeroize::Zeroizing;

use super::halt::RESUME_SECONDS;
use super::notice::{Done, Notice};
use super::page::{UndoPage, document, problem, refused};
use super::post::{
    Fallible, REASON_BYTES_MAX, answered, by, device, malformed, refuse, typed, unknown,
};
use super::{PutBack, SharedSite, Site, Undoes};
use crate::access::seal::SealKey;
use crate::access::{Device, Operator};
use crate::app::undo::Totals;
use crate::clock;
use crate::halt::Scope;

/// Purpose of the seal of this form.
const UNDOES: &str = "undo";
/// How many minutes back may be chosen.
const MINUTES: [u32; 4] = [5, 15, 60, 240];
/// What is chosen before anybody chooses.
const MINUTES_DEFAULT: u32 = 15;

/// The form as it comes back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UndoForm {
    at: i64,
    seal: String,
    #[serde(default)]
    tenant: String,
    minutes: u32,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    operator: String,
    #[serde(default)]
    password: Zeroizing<String>,
}

impl UndoForm {
    fn may(&self, operator: &Operator) -> bool {
        let scope: Option<Scope> = format!("tenant:{}", self.tenant).parse().ok();
        operator.undo && scope.is_some_and(|scope| operator.reach.covers(&scope))
    }

    fn wanted(&self, operator: &Operator) -> PutBack {
        let back_ms = i64::from(self.minutes).saturating_mul(60_000);
        PutBack {
            tenant: self.tenant.clone(),
            by: by(&operator.name),
            reason: self.reason.trim().to_owned(),
            since_ms: self.at.saturating_mul(1_000).saturating_sub(back_ms),
        }
    }
}

/// What a form is made from, and made again after a mistake.
struct Paper<'a> {
    tenants: Vec<String>,
    device: &'a Device,
    key: &'a SealKey,
}

impl<'a> Paper<'a> {
    /// The tenants of this connectord that the device may halt.
    fn new(site: &Site, device: &'a Device, key: &'a SealKey) -> Self {
        let own = |name: &&String| device.reach.only().is_none_or(|own| own.as_str() == *name);
        Self {
            tenants: site.names.tenants.iter().filter(own).cloned().collect(),
            device,
            key,
        }
    }

    fn seal(&self, at: i64) -> String {
        self.key.seal(UNDOES, &[&self.device.name, &at.to_string()])
    }

    fn fits(&self, form: &UndoForm, now: i64) -> bool {
        let parts = [self.device.name.as_str(), &form.at.to_string()];
        let young = (0..=RESUME_SECONDS).contains(&now.saturating_sub(form.at));
        young && self.key.fits(&form.seal, UNDOES, &parts)
    }

    /// What no honest browser sends.
    fn check(&self, form: &UndoForm, now_ms: i64) -> Fallible<()> {
        if !self.fits(form, now_ms / 1_000) {
            return refuse(StatusCode::FORBIDDEN, Reason::FormStale);
        }
        if !self.tenants.contains(&form.tenant) {
            return refuse(StatusCode::FORBIDDEN, Reason::OutOfReach);
        }
        if !MINUTES.contains(&form.minutes) {
            return malformed("choose one of the offered numbers of minutes");
        }
        Ok(())
    }

    fn page(
        &self,
        status: StatusCode,
        problem: Option<&str>,
        typed: Option<&UndoForm>,
    ) -> Response {
        // After a mistake the minutes still count back from where they did.
        let at = typed.map_or_else(|| clock::now().timestamp(), |form| form.at);
        let page = UndoPage {
            tenants: &self.tenants,
            minutes: &MINUTES,
            problem,
            at,
            seal: &self.seal(at),
            tenant: typed.map_or("", |form| &form.tenant),
            chosen: typed.map_or(MINUTES_DEFAULT, |form| form.minutes),
            reason: typed.map_or("", |form| &form.reason),
            operator: typed.map_or("", |form| &form.operator),
        };
        document(status, &page)
    }
}

/// What undoes; a page server has nothing that could.
fn undoes(site: &Site) -> Fallible<&Undoes> {
    match &site.undoes {
        Some(undoes) => Ok(undoes),
        None => refuse(StatusCode::NOT_FOUND, Reason::NotFound),
    }
}

/// The form.
pub(super) async fn form(State(site): State<SharedSite>, headers: HeaderMap) -> Response {
    answered(try_form(&site, &headers).await)
}

async fn try_form(site: &SharedSite, headers: &HeaderMap) -> Fallible<Response> {
    undoes(site)?;
    let device = device(site, headers).await?;
    let key = site.access.seal_key().await;
    let key = key.map_err(|error| unknown(&error))?;
    Ok(Paper::new(site, &device, &key).page(StatusCode::OK, None, None))
}

/// Undoes.
pub(super) async fn undo(
    State(site): State<SharedSite>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    form: Result<Form<UndoForm>, FormRejection>,
) -> Response {
    answered(try_undo(&site, peer, &headers, form).await)
}

async fn try_undo(
    site: &SharedSite,
    peer: SocketAddr,
    headers: &HeaderMap,
    form: Result<Form<UndoForm>, FormRejection>,
) -> Fallible<Response> {
    let undoes = undoes(site)?;
    let mut form = typed(form)?;
    let device = device(site, headers).await?;
    let key = site.access.seal_key().await;
    let key = key.map_err(|error| unknown(&error))?;
    let now_ms = clock::now().timestamp_millis();
    let paper = Paper::new(site, &device, &key);
    paper.check(&form, now_ms)?;
    let password = core::mem::take(&mut form.password);
    let again = |status, reason: Reason| {
        let text = format!("Not undone: {}.", reason.sentence());
        Ok(paper.page(status, Some(&text), Some(&form)))
    };
    if form.reason.trim().is_empty() || form.reason.len() > REASON_BYTES_MAX {
        return again(StatusCode::UNPROCESSABLE_ENTITY, Reason::ReasonRequired);
    }
    if !site.may_try((&device.name, &form.operator), peer, now_ms) {
        return again(StatusCode::TOO_MANY_REQUESTS, Reason::SignInLimited);
    }
    let Some(operator) = site
        .sign_in((&device.name, &form.operator), password)
        .await?
    else {
        tracing::warn!(operator = ?form.operator, device = device.name, "a sign-in to undo failed");
        return again(StatusCode::FORBIDDEN, Reason::SignInFailed);
    };
    if !operator.undo {
        let text = "Not undone: this operator may resume and not undo; add him with --undo.";
        return Ok(paper.page(StatusCode::FORBIDDEN, Some(text), Some(&form)));
    }
    if !form.may(&operator) {
        return again(StatusCode::FORBIDDEN, Reason::OutOfReach);
    }
    match undoes(form.wanted(&operator)).await {
        Ok(done) => {
            let notice = told(done, now_ms).sealed(&key);
            Ok(Redirect::to(&format!("/halt?done={notice}")).into_response())
        }
        Err(reason) => Err(Box::new(not_told(reason))),
    }
}

/// What is said where nobody can tell how it went.
fn not_told(reason: Reason) -> Response {
    let (status, text) = match reason {
        Reason::RateLimited => (
            StatusCode::CONFLICT,
            "an undo of this tenant is under way; look at what it came to, and undo again then",
        ),
        Reason::StoreUnavailable => {
            return refused(StatusCode::SERVICE_UNAVAILABLE, reason);
        }
        Reason::Internal => {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, reason);
        }
        _ => (
            StatusCode::GATEWAY_TIMEOUT,
            "the undo takes longer than this page can wait; what it has done is kept, and it may go on; undo again in a minute \
             to see what is left",
        ),
    };
    problem(status, reason, text)
}

fn told(done: Totals, from_ms: i64) -> Notice {
    let at_ms = clock::now().timestamp_millis();
    Notice {
        answered: done.undone,
        members: done.undone.saturating_add(done.refused),
        took_ms: u128::try_from(at_ms.saturating_sub(from_ms)).unwrap_or_default(),
        strange: done.left,
        doubtful: done.doubtful,
        ..Notice::of(Done::Undone, None, at_ms)
    }
}

#[cfg(test)]
mod tests;
