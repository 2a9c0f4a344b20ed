//! Pages to look at. Nothing here changes a halt or who may set one: previews of links fetch them.

use std::time::Instant;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use writ_proto::Reason;

use super::notice::Notice;
use super::page::{DevicePage, HaltPage, ResumePage, document, problem, refused};
use super::view::{Seen, View, about, label};
use super::{LastDrill, SharedSite};
use crate::access::seal::SealKey;
use crate::access::{AccessError, Device};
use crate::halt::{Flag, HaltError, Scope};
use crate::{clock, ids};

/// Purpose of the seal of the forms that halt. They do not end: a page that lay open for a night
/// must still halt.
pub(super) const HALTS: &str = "halt";
/// Purpose of the seal of the form that resumes.
pub(super) const RESUMES: &str = "resume";
/// How long a form of resuming can be sent, in seconds.
pub(super) const RESUME_SECONDS: i64 = 10 * 60;
/// After so long a check of every connectord is made again, and the last one is old.
const CHECK_EVERY_MS: i64 = 1_000;
const CHECK_OLD_MS: i64 = 10_000;
/// Most cookies of our name that are looked at.
const COOKIES_MAX: usize = 4;
/// Longest wait for the answers of every connectord.
pub(super) const PATIENCE: core::time::Duration = core::time::Duration::from_secs(3);

/// Name of the cookie. The prefix binds it to this very host over TLS; without TLS a browser
/// refuses the prefix.
#[must_use]
pub const fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-halt" } else { "halt" }
}

fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let all = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let pairs = all
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(move |(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// The device behind a request; none if there is none or it was revoked.
pub(super) async fn device_of(
    site: &SharedSite,
    headers: &HeaderMap,
) -> Result<Option<Device>, AccessError> {
    let plain = cookies(headers, cookie_name(false)).filter(|_| site.rules.plaintext);
    let secrets = cookies(headers, cookie_name(true)).chain(plain);
    let secrets: Vec<&str> = secrets.take(COOKIES_MAX).collect();
    for secret in secrets {
        if let Some(device) = site.access.device_of(secret).await? {
            tokio::spawn(remember(SharedSite::clone(site), device.name.clone()));
            return Ok(Some(device));
        }
    }
    Ok(None)
}

async fn remember(site: SharedSite, name: String) {
    let now = clock::now().timestamp();
    if let Err(error) = site.access.device_was_used(&name, now).await {
        tracing::warn!(%error, "when a device was used could not be kept");
    }
}

/// What says that a store is away, for people.
pub(super) fn away(error: &dyn core::fmt::Display) -> Response {
    tracing::error!(%error, "the halt store is away");
    refused(StatusCode::SERVICE_UNAVAILABLE, Reason::HaltUnknown)
}

#[derive(Debug, Deserialize)]
pub(super) struct ShowQuery {
    #[serde(default)]
    from: String,
    #[serde(default)]
    done: String,
}

/// The page with everything to press and to type into.
pub(super) async fn show(
    State(site): State<SharedSite>,
    Query(query): Query<ShowQuery>,
    headers: HeaderMap,
) -> Response {
    render(&site, &headers, &query, false).await
}

/// The same without anything to type into, which can refresh itself.
pub(super) async fn live(
    State(site): State<SharedSite>,
    Query(query): Query<ShowQuery>,
    headers: HeaderMap,
) -> Response {
    render(&site, &headers, &query, true).await
}

/// Asks every connectord in the background, if the last time was a while ago.
fn check(site: &SharedSite, now_ms: i64) {
    let last = site.last_drill().map_or(0, |last| last.at_ms);
    if now_ms.saturating_sub(last) < CHECK_EVERY_MS {
        return;
    }
    let site = SharedSite::clone(site);
    tokio::spawn(async move {
        let Ok(_alone) = site.drilling.try_acquire() else {
            return;
        };
        if let Err(error) = site.ask_now().await {
            tracing::warn!(%error, "the connectors could not be asked");
        }
    });
}

impl super::Site {
    pub(super) fn last_drill(&self) -> Option<LastDrill> {
        let last = self
            .drill
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        last.clone()
    }

    /// What every connectord knew after a moment. One question is asked at a time; who waited for its end takes the
    /// answers to one that began after he came, whoever asked it.
    pub(super) async fn ask_all(&self, came: Instant) -> Result<LastDrill, HaltError> {
        let alone = self.drilling.acquire().await;
        let _alone = alone.map_err(|error| HaltError(error.to_string()))?;
        if let Some(last) = self.last_drill().filter(|last| last.began >= came) {
            return Ok(last);
        }
        self.ask_now().await
    }

    /// Asks, and remembers the answers.
    async fn ask_now(&self) -> Result<LastDrill, HaltError> {
        let began = Instant::now();
        let nonce = ids::new_id().simple().to_string();
        let now_ms = || clock::now().timestamp_millis();
        let drill = self.halts.drill(&nonce, now_ms, PATIENCE).await?;
        let at_ms = now_ms();
        let last = LastDrill {
            drill,
            began,
            at_ms,
        };
        let mut kept = self
            .drill
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *kept = Some(last.clone());
        Ok(last)
    }

    fn checked_ms(&self, members: usize, now_ms: i64) -> Option<i64> {
        let last = self.last_drill()?;
        let young = now_ms.saturating_sub(last.at_ms) < CHECK_OLD_MS;
        (young && last.drill.complete() && last.drill.members.len() == members)
            .then_some(last.at_ms)
    }
}

async fn render(site: &SharedSite, headers: &HeaderMap, query: &ShowQuery, live: bool) -> Response {
    let now_ms = clock::now().timestamp_millis();
    let state = site.halts.read(now_ms / 1_000);
    if let Err(error) = &state {
        tracing::error!(%error, "the halt state is not known");
    }
    // Where nobody can tell who looks, the word is told all the same.
    let device = device_of(site, headers).await.unwrap_or_default();
    let key = site.access.seal_key().await.ok();
    let device = device.filter(|_| key.is_some());
    let mut members = None;
    if device.is_some() {
        members = site.halts.roster(now_ms).await.ok();
        check(site, now_ms);
    }
    let seen = Seen {
        state: state.as_deref().ok(),
        members: members.as_deref(),
        checked_ms: site.checked_ms(members.as_ref().map_or(0, Vec::len), now_ms),
        now_ms,
    };
    let sealed = device.as_ref().zip(key.as_ref());
    let told = sealed.and_then(|(_, key)| Notice::open(&query.done, key, now_ms));
    let device = sealed.map(|(device, key)| (device, key.seal(HALTS, &[&device.name])));
    let mut view = View::of(&seen, device, &site.names, query.from.parse().unwrap_or(0));
    view.undo = site.undoes.is_some();
    let page = HaltPage {
        view: &view,
        told: told.map(Notice::told),
        live,
    };
    document(StatusCode::OK, &page)
}

#[derive(Debug, Deserialize)]
pub(super) struct ResumeQuery {
    scope: String,
}

/// A form of resuming: for one device, one act of halting, and a short while.
#[derive(Debug)]
pub(super) struct ResumeForm<'a> {
    pub(super) device: &'a Device,
    pub(super) flag: &'a Flag,
    pub(super) key: &'a SealKey,
    pub(super) now_ms: i64,
}

impl ResumeForm<'_> {
    pub(super) fn seal(&self, until: i64) -> String {
        self.key.seal(
            RESUMES,
            &self
                .parts(&until.to_string())
                .each_ref()
                .map(String::as_str),
        )
    }

    pub(super) fn fits(&self, seal: &str, until: i64) -> bool {
        let parts = self.parts(&until.to_string());
        let young = (0..=RESUME_SECONDS).contains(&until.saturating_sub(self.now_ms / 1_000));
        young
            && self
                .key
                .fits(seal, RESUMES, &parts.each_ref().map(String::as_str))
    }

    /// The act is told by its id, or by what is in the file where it was made by hand: a form sent
    /// twice does not end the halt that was set in between.
    fn parts(&self, until: &str) -> [String; 5] {
        let Flag {
            scope,
            id,
            by,
            since,
            ..
        } = self.flag;
        [
            self.device.name.clone(),
            scope.to_string(),
            id.clone(),
            format!("{since} {by}"),
            until.to_owned(),
        ]
    }

    /// The form, with what was typed before.
    pub(super) fn page(
        &self,
        status: StatusCode,
        problem: Option<&str>,
        typed: (&str, &str),
    ) -> Response {
        let until = (self.now_ms / 1_000).saturating_add(RESUME_SECONDS);
        let page = ResumePage {
            label: &label(&self.flag.scope),
            about: &format!("Halted {}.", about(self.flag, self.now_ms)),
            problem,
            scope: &self.flag.scope.to_string(),
            until,
            seal: &self.seal(until),
            reason: typed.0,
            operator: typed.1,
        };
        document(status, &page)
    }
}

/// The form of resuming one halt.
pub(super) async fn resume_form(
    State(site): State<SharedSite>,
    Query(query): Query<ResumeQuery>,
    headers: HeaderMap,
) -> Response {
    let device = match device_of(&site, &headers).await {
        Ok(Some(device)) => device,
        Ok(None) => return refused(StatusCode::FORBIDDEN, Reason::HaltDeviceRequired),
        Err(error) => return away(&error),
    };
    let now_ms = clock::now().timestamp_millis();
    let key = site.access.seal_key().await;
    let (state, key) = match (site.halts.read(now_ms / 1_000), key) {
        (Ok(state), Ok(key)) => (state, key),
        (Err(error), _) => return away(&error),
        (_, Err(error)) => return away(&error),
    };
    let scope: Option<Scope> = query.scope.parse().ok();
    let flag = scope.and_then(|scope| state.standing(&scope));
    let Some(flag) = flag.filter(|flag| device.reach.sees(&flag.scope)) else {
        return problem(
            StatusCode::NOT_FOUND,
            Reason::NotFound,
            "this is not halted any more",
        );
    };
    let form = ResumeForm {
        device: &device,
        flag: &flag,
        key: &key,
        now_ms,
    };
    form.page(StatusCode::OK, None, ("", ""))
}

/// The page behind a device link: only a button.
pub(super) async fn device_form(
    State(site): State<SharedSite>,
    Path(secret): Path<String>,
) -> Response {
    let works = site.access.link_works(&secret, clock::now().timestamp());
    match works.await {
        Ok(true) => document(StatusCode::OK, &DevicePage { secret: &secret }),
        Ok(false) => refused(StatusCode::NOT_FOUND, Reason::HaltLinkInvalid),
        Err(error) => away(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Access, Reach};
    use crate::halt::{HaltStore, Place};
    use crate::http::{Rules, Site};

    #[tokio::test]
    async fn over_tls_a_cookie_that_another_host_can_plant_is_no_device() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_owned());
        let access = Access::in_folder(folder.path());
        let link = access.add_device("ada", Reach::GLOBAL, 0).await.unwrap();
        let (_, secret) = access.use_link(&link, 0).await.unwrap();
        for (plaintext, name, is_device) in [
            (false, "__Host-halt", true),
            (false, "halt", false),
            (true, "halt", true),
        ] {
            let rules = Rules {
                plaintext,
                ..Rules::default()
            };
            let halts = HaltStore::open(&place).await.unwrap();
            let site = SharedSite::new(Site::new(halts, access.clone(), rules));
            let mut headers = HeaderMap::new();
            let cookie = format!("{name}={secret}").parse().unwrap();
            headers.insert(header::COOKIE, cookie);
            let device = device_of(&site, &headers).await.unwrap();
            assert_eq!(device.is_some(), is_device, "{name} plaintext {plaintext}");
        }
    }

    #[tokio::test]
    async fn many_thumbs_ask_one_question_and_each_hears_an_answer_from_after_he_pressed() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_owned());
        let halts = HaltStore::open(&place).await.unwrap();
        let access = Access::in_folder(folder.path());
        let site = Site::new(halts, access, Rules::default());
        let site = SharedSite::new(site);
        let held = site.drilling.acquire().await.unwrap();
        let ask = |_| {
            let (site, came) = (SharedSite::clone(&site), Instant::now());
            tokio::spawn(async move { (came, site.ask_all(came).await.unwrap()) })
        };
        let asked: Vec<_> = (0..20).map(ask).collect();
        drop(held);
        let mut nonces = std::collections::BTreeSet::new();
        for one in asked {
            let (came, last) = one.await.unwrap();
            assert!(last.began >= came);
            nonces.insert(last.drill.probe.nonce);
        }
        assert_eq!(nonces.len(), 1, "one question");
        let later = site.ask_all(Instant::now()).await.unwrap();
        assert!(
            !nonces.contains(&later.drill.probe.nonce),
            "and one for who came after"
        );
    }
}
