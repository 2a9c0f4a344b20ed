//! Forms that change something. Halting is easy: a device is enough. Resuming is not: an operator
//! signs in, says why, and may do nothing else with that sign-in.

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Instant;

use axum::extract::rejection::FormRejection;
use axum::extract::{ConnectInfo, Form, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use writ_proto::Reason;
use zeroize::Zeroizing;

use super::guard::is_secure;
use super::halt::{HALTS, ResumeForm, away, cookie_name, device_of};
use super::notice::{Done, Notice};
use super::page::{problem, refused};
use super::{SharedSite, Site};
use crate::access::seal::SealKey;
use crate::access::{AccessError, Device, NAME_BYTES_MAX, Operator};
use crate::halt::{Act, FLAGS_OF_TENANT_MAX, FULL, Flag, Scope};
use crate::{clock, ids};

/// Longest reason in bytes.
pub(super) const REASON_BYTES_MAX: usize = 2_000;
/// A cookie lives as long as a browser keeps any.
const COOKIE_SECONDS: u32 = 400 * 24 * 3_600;

pub(super) type Fallible<T> = Result<T, Box<Response>>;

pub(super) fn refuse<T>(status: StatusCode, reason: Reason) -> Fallible<T> {
    Err(Box::new(refused(status, reason)))
}

pub(super) fn malformed<T>(text: &str) -> Fallible<T> {
    let answer = problem(
        StatusCode::UNPROCESSABLE_ENTITY,
        Reason::RequestMalformed,
        text,
    );
    Err(Box::new(answer))
}

pub(super) fn unknown(error: &dyn core::fmt::Display) -> Box<Response> {
    Box::new(away(error))
}

pub(super) fn typed<T>(form: Result<Form<T>, FormRejection>) -> Fallible<T> {
    match form {
        Ok(Form(form)) => Ok(form),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, Reason::RequestTooLarge)
        }
        Err(_) => malformed("the form has another shape than ours"),
    }
}

pub(super) async fn device(site: &SharedSite, headers: &HeaderMap) -> Fallible<Device> {
    match device_of(site, headers).await {
        Ok(Some(device)) => Ok(device),
        Ok(None) => refuse(StatusCode::FORBIDDEN, Reason::HaltDeviceRequired),
        Err(error) => Err(unknown(&error)),
    }
}

pub(super) fn answered(result: Fallible<Response>) -> Response {
    result.unwrap_or_else(|refused| *refused)
}

/// What a flag says of who acted.
pub(super) fn by(name: &str) -> String {
    format!("{name} (phone)")
}

/// A form of halting.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetForm {
    seal: String,
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    reason: String,
}

impl SetForm {
    /// The scope that a device means: within its tenant, if it has one.
    fn scope(&self, device: &Device) -> Option<Scope> {
        let (name, typed) = (self.name.trim(), self.tenant.trim());
        let tenant = device.reach.only().map_or(typed, |own| own.as_str());
        let text = match (self.kind.as_str(), tenant) {
            ("all", "") => "global".to_owned(),
            ("all", tenant) => format!("tenant:{tenant}"),
            ("tenant", _) => format!("tenant:{name}"),
            (kind, "") => format!("{kind}:{name}"),
            (kind, tenant) => format!("tenant:{tenant}/{kind}:{name}"),
        };
        text.parse().ok()
    }
}

/// Halts.
pub(super) async fn set(
    State(site): State<SharedSite>,
    headers: HeaderMap,
    form: Result<Form<SetForm>, FormRejection>,
) -> Response {
    answered(try_set(&site, &headers, form).await)
}

async fn try_set(
    site: &SharedSite,
    headers: &HeaderMap,
    form: Result<Form<SetForm>, FormRejection>,
) -> Fallible<Response> {
    let form = typed(form)?;
    let device = device(site, headers).await?;
    let key = site.access.seal_key().await;
    let key = key.map_err(|error| unknown(&error))?;
    if !key.fits(&form.seal, HALTS, &[&device.name]) {
        return refuse(StatusCode::FORBIDDEN, Reason::FormStale);
    }
    let Some(scope) = form.scope(&device) else {
        return malformed("this is not a name of that kind");
    };
    if !device.reach.covers(&scope) {
        return refuse(StatusCode::FORBIDDEN, Reason::OutOfReach);
    }
    if form.reason.len() > REASON_BYTES_MAX {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, Reason::RequestTooLarge);
    }
    let act = Act {
        by: by(&device.name),
        reason: form.reason.trim().to_owned(),
        at: clock::now().timestamp(),
    };
    let flag = Flag::new(scope, &act, ids::new_id().to_string());
    if !site.halts.has_room(&flag, FLAGS_OF_TENANT_MAX) {
        return malformed(FULL);
    }
    site.halts
        .set(&flag)
        .await
        .map_err(|error| unknown(&error))?;
    tracing::warn!(scope = %flag.scope, by = act.by, "halted from the page");
    let strange = !site.names.know(&flag.scope);
    Ok(site.acknowledged(&key, Done::Halted, strange).await)
}

impl Site {
    /// Asks every connectord whether it knows, and goes to the page that tells.
    async fn acknowledged(&self, key: &SealKey, done: Done, strange: bool) -> Response {
        let last = match self.ask_all(Instant::now()).await {
            Ok(last) => Some(last.drill),
            Err(error) => {
                tracing::warn!(%error, "the connectors could not be asked");
                None
            }
        };
        let at_ms = clock::now().timestamp_millis();
        let notice = Notice {
            strange,
            ..Notice::of(done, last.as_ref(), at_ms)
        };
        let notice = notice.sealed(key);
        let page = if done == Done::Halted {
            "/halt/live"
        } else {
            "/halt"
        };
        Redirect::to(&format!("{page}?done={notice}")).into_response()
    }
}

/// A form of resuming.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndForm {
    scope: String,
    until: i64,
    seal: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    operator: String,
    #[serde(default)]
    password: Zeroizing<String>,
}

/// Resumes.
pub(super) async fn resume(
    State(site): State<SharedSite>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    form: Result<Form<EndForm>, FormRejection>,
) -> Response {
    answered(try_resume(&site, peer, &headers, form).await)
}

async fn try_resume(
    site: &SharedSite,
    peer: SocketAddr,
    headers: &HeaderMap,
    form: Result<Form<EndForm>, FormRejection>,
) -> Fallible<Response> {
    let form = typed(form)?;
    let device = device(site, headers).await?;
    let now_ms = clock::now().timestamp_millis();
    let state = site
        .halts
        .read(now_ms / 1_000)
        .map_err(|error| unknown(&error))?;
    let key = site.access.seal_key().await;
    let key = key.map_err(|error| unknown(&error))?;
    let scope: Option<Scope> = form.scope.parse().ok();
    let flag = scope.and_then(|scope| state.standing(&scope));
    let Some(flag) = flag.filter(|flag| device.reach.sees(&flag.scope)) else {
        return refuse(StatusCode::CONFLICT, Reason::FormStale);
    };
    let page = ResumeForm {
        device: &device,
        flag: &flag,
        key: &key,
        now_ms,
    };
    if !page.fits(&form.seal, form.until) {
        return refuse(StatusCode::FORBIDDEN, Reason::FormStale);
    }
    let again = |status, reason: Reason| {
        let text = format!("Not resumed: {}.", reason.sentence());
        Ok(page.page(status, Some(&text), (&form.reason, &form.operator)))
    };
    if form.reason.trim().is_empty() || form.reason.len() > REASON_BYTES_MAX {
        return again(StatusCode::UNPROCESSABLE_ENTITY, Reason::ReasonRequired);
    }
    if !site.may_try((&device.name, &form.operator), peer, now_ms) {
        return again(StatusCode::TOO_MANY_REQUESTS, Reason::SignInLimited);
    }
    let Some(operator) = site
        .sign_in((&device.name, &form.operator), form.password)
        .await?
    else {
        tracing::warn!(operator = ?form.operator, device = device.name, "a sign-in to resume failed");
        return again(StatusCode::FORBIDDEN, Reason::SignInFailed);
    };
    if !operator.reach.covers(&flag.scope) {
        return again(StatusCode::FORBIDDEN, Reason::OutOfReach);
    }
    let act = Act {
        by: by(&operator.name),
        reason: form.reason.trim().to_owned(),
        at: clock::now().timestamp(),
    };
    end(site, &flag, &act).await?;
    tracing::warn!(scope = %flag.scope, by = act.by, "resumed from the page");
    Ok(site.acknowledged(&key, Done::Resumed, false).await)
}

/// Ends a halt. A password takes a while: the halt that was looked at must still be the one that stands.
async fn end(site: &Site, flag: &Flag, act: &Act) -> Fallible<()> {
    let state = site.halts.read(act.at).map_err(|error| unknown(&error))?;
    if state.standing(&flag.scope).as_ref() != Some(flag) {
        return refuse(StatusCode::CONFLICT, Reason::FormStale);
    }
    let ended = site.halts.clear_if(&flag.scope, act, Some(flag)).await;
    let (_, ended) = ended.map_err(|error| unknown(&error))?;
    match ended {
        Some(_) => Ok(()),
        None => refuse(StatusCode::CONFLICT, Reason::FormStale),
    }
}

impl Site {
    /// Counts an attempt to sign in, or refuses it. A name that is none is not remembered.
    pub(super) fn may_try(
        &self,
        (device, operator): (&str, &str),
        peer: SocketAddr,
        now_ms: i64,
    ) -> bool {
        let name = operator.get(..NAME_BYTES_MAX).unwrap_or(operator);
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.admit(
            (device, name),
            writ_proto::host::serve::http::network(peer.ip()),
            now_ms,
        )
    }

    pub(super) async fn sign_in(
        &self,
        (device, operator): (&str, &str),
        password: Zeroizing<String>,
    ) -> Fallible<Option<Operator>> {
        let busy = || Box::new(refused(StatusCode::TOO_MANY_REQUESTS, Reason::RateLimited));
        let _slot = self.sign_ins.acquire().await.map_err(|_| busy())?;
        let signed = self.access.sign_in(operator, password);
        let signed = signed.await.map_err(|error| unknown(&error))?;
        if let Some(operator) = &signed {
            let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            attempts.succeeded(device, &operator.name);
        }
        Ok(signed)
    }
}

/// The button behind a device link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceForm {
    secret: Zeroizing<String>,
}

/// Sets up the device that pressed the button.
async fn try_device(
    site: &SharedSite,
    headers: &HeaderMap,
    form: Result<Form<DeviceForm>, FormRejection>,
) -> Fallible<Response> {
    let form = typed(form)?;
    let now = clock::now();
    let used = site.access.use_link(&form.secret, now.timestamp()).await;
    let (device, secret) = match used {
        Ok((device, secret)) => (device, Zeroizing::new(secret)),
        Err(AccessError::Unavailable(error)) => return Err(unknown(&error)),
        Err(_) => return refuse(StatusCode::NOT_FOUND, Reason::HaltLinkInvalid),
    };
    tracing::info!(device = device.name, "a device was set up");
    let key = site.access.seal_key().await;
    let key = key.map_err(|error| unknown(&error))?;
    let notice = Notice::of(Done::Device, None, now.timestamp_millis()).sealed(&key);
    let secure = is_secure(&site.rules, headers);
    let (name, flag) = (cookie_name(secure), if secure { "; Secure" } else { "" });
    let cookie = format!(
        "{name}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={COOKIE_SECONDS}{flag}",
        *secret
    );
    let mut answer = Redirect::to(&format!("/halt?done={notice}")).into_response();
    let cookie = HeaderValue::from_str(&cookie).map_err(|error| unknown(&error))?;
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(answer)
}

/// Sets up the device that pressed the button.
pub(super) async fn device_link(
    State(site): State<SharedSite>,
    headers: HeaderMap,
    form: Result<Form<DeviceForm>, FormRejection>,
) -> Response {
    answered(try_device(&site, &headers, form).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::halt::{HaltStore, Place};
    use crate::http::Rules;

    #[tokio::test]
    async fn resuming_ends_the_halt_that_was_looked_at_and_none_that_was_set_since() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().to_owned());
        let halts = HaltStore::open(&place).await.unwrap();
        let site = Site::new(halts, Access::in_folder(folder.path()), Rules::default());
        let act = Act {
            at: 1_800_000_000,
            ..Act::default()
        };
        let [seen, anew] = ["seen", "anew"].map(|id| Flag::new(Scope::global(), &act, id));
        for flag in [&seen, &anew] {
            site.halts.set(flag).await.unwrap();
        }
        let refused = end(&site, &seen, &act).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::CONFLICT);
        let flags = || site.halts.look(act.at).unwrap().flags;
        assert_eq!(flags(), std::slice::from_ref(&anew));
        end(&site, &anew, &act).await.unwrap();
        assert!(flags().is_empty());
    }
}
