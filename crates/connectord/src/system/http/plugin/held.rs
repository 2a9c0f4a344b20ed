//! What a plug-in is held to: which calls are sent for it, which headers it is shown, and what of its judgement is believed.

use percent_encoding::percent_decode_str;
use reqwest::header::HeaderValue;
use serde_json::Value as Json;
use writ_proto::pb;

use crate::system::file::{Request, Sent, clean, is_own_header};

const BODY_BYTES_MAX: usize = 256 * 1_024;
const LINE_BYTES_MAX: usize = 8 * 1_024;
/// Longest value of a header, in bytes.
const HEADER_BYTES_MAX: usize = 1_024;
pub(super) const HEADERS_MAX: usize = 16;

/// Headers that say what a call is, or whom an answer goes to: connectord's to set, beside those of every file.
const HEADERS_KEPT: [&str; 21] = [
    "accept",
    "accept-encoding",
    "expect",
    "forwarded",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "x-host",
];
/// Headers of an answer that are, or lead to, a credential: no plug-in sees them.
const SECRET: [&str; 7] = [
    "set-cookie",
    "set-cookie2",
    "authorization",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
    "proxy-authorization",
];

/// Whether a plug-in may see a header of an answer.
pub(super) fn is_shown(name: &str, kept: &[String]) -> bool {
    !SECRET.contains(&name) && !kept.iter().any(|own| own == name)
}

/// Whether a path stays where it is, however often it is decoded on the way.
fn stays(path: &str) -> bool {
    let mut segments = path.split('/');
    segments.all(|segment| {
        let decoded = percent_decode_str(segment).decode_utf8_lossy().into_owned();
        // Some servers cut off what follows a semicolon.
        let name = decoded.split(';').next().unwrap_or_default();
        !matches!(name, "." | "..") && !decoded.contains(['/', '\\', '%'])
    })
}

fn headers_of(
    headers: Vec<pb::PluginHeader>,
    kept: &[String],
) -> Result<Vec<(String, String)>, String> {
    if headers.len() > HEADERS_MAX {
        return Err(format!("more than {HEADERS_MAX} headers"));
    }
    let mut own: Vec<(String, String)> = Vec::new();
    for pb::PluginHeader { name, value } in headers {
        let lower = name.to_ascii_lowercase();
        if is_own_header(&name)
            || HEADERS_KEPT.contains(&lower.as_str())
            || lower.starts_with("x-forwarded-")
            || lower.starts_with("x-http-")
            || kept.contains(&lower)
        {
            return Err(format!(
                "the header `{}` belongs to connectord",
                clean(&name)
            ));
        }
        if own.iter().any(|(other, _)| *other == lower) {
            return Err(format!("the header `{}` is there twice", clean(&name)));
        }
        if value.len() > HEADER_BYTES_MAX || HeaderValue::from_str(&value).is_err() {
            return Err(format!(
                "the header `{}` holds what no header may",
                clean(&name)
            ));
        }
        own.push((lower, value));
    }
    Ok(own)
}

/// A call that a plug-in planned, where it is one that is sent.
pub(super) fn request_of(call: pb::PluginCall, kept: &[String]) -> Result<Request, String> {
    let methods = ["GET", "POST", "PUT", "PATCH"];
    let method = methods.into_iter().find(|method| *method == call.method);
    let method =
        method.ok_or_else(|| format!("`{}` is no method that is sent", clean(&call.method)))?;
    let pb::PluginCall {
        path,
        query,
        headers,
        body,
        ..
    } = call;
    let plain = |text: &str| {
        text.len() <= LINE_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let is_line = path.starts_with('/') && plain(&path) && plain(&query) && !query.contains('#');
    if !is_line || path.contains(['?', '#']) {
        return Err("a path begins with a slash; path and query are encoded".to_owned());
    }
    if !stays(&path) {
        return Err("a segment of the path leads elsewhere".to_owned());
    }
    let headers = headers_of(headers, kept)?;
    let body = match body.is_empty() {
        true => Sent::Nothing,
        false if body.len() > BODY_BYTES_MAX => {
            return Err(format!("a body of more than {BODY_BYTES_MAX} bytes"));
        }
        false => {
            serde_json::from_slice::<Json>(&body)
                .map_err(|_| "a body that is no JSON".to_owned())?;
            Sent::Json(String::from_utf8(body).map_err(|_| "a body that is no text".to_owned())?)
        }
    };
    Ok(Request {
        method,
        path,
        query,
        headers,
        body,
    })
}

/// Whether an answer of the system may mean what a plug-in makes of it. A yes wants a yes; and of what nobody knows, such as
/// the 502 of a proxy or a 202, a plug-in knows no more: neither a yes nor "nothing happened".
pub(super) fn may_mean(status: u16, judged: u16) -> bool {
    match status {
        202 | 300..=399 | 408 | 409 | 500..=599 => {
            matches!(judged, 202 | 300..=399 | 408 | 409 | 500..=599)
        }
        400..=499 => judged >= 400,
        200..=299 => true,
        // No status of HTTP.
        _ => matches!(judged, 500..=599),
    }
}

/// The headers of an answer as a plug-in gives them back.
pub(super) fn judged_headers(
    headers: Vec<pb::PluginHeader>,
) -> Result<Vec<(String, String)>, String> {
    if headers.len() > HEADERS_MAX {
        return Err(format!("it answers with more than {HEADERS_MAX} headers"));
    }
    if headers
        .iter()
        .any(|header| header.value.len() > HEADER_BYTES_MAX)
    {
        return Err(format!(
            "it answers with a header of more than {HEADER_BYTES_MAX} bytes"
        ));
    }
    let named = |header: pb::PluginHeader| (header.name.to_ascii_lowercase(), header.value);
    Ok(headers.into_iter().map(named).collect())
}
