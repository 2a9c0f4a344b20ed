//! The driver `remote`: a plug-in beside connectord translates what the system file asks for into a call of the system, and
//! the answer into one that the file can judge. It sees no credential and opens no connection to the system: what it plans
//! is held to the base URL like everything else, and what it says of an answer is believed only where it says no.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;
use tonic::transport::Channel;
use writ_proto::host::channel::socket::local;
use writ_proto::pb;
use writ_proto::pb::system_plugin_client::SystemPluginClient;

use super::client::asked_to_wait;
use crate::system::SystemError;
use crate::system::file::{Answer, Bound, Request, Sent, clean, is_own_header};

/// Longest wait for a plug-in.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest message of a plug-in, in bytes: an answer of the system, and what is around it.
const MESSAGE_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// Most that a plug-in may have given back, in bytes.
const MEMORY_BYTES_MAX: usize = 64 * 1_024;
const BODY_BYTES_MAX: usize = 256 * 1_024;
const LINE_BYTES_MAX: usize = 8 * 1_024;
const HEADERS_MAX: usize = 16;
/// Statuses from here on say no.
const NO: u16 = 400;

/// A plug-in of one connection.
#[derive(Debug, Clone)]
pub struct Plugin {
    client: SystemPluginClient<Channel>,
    /// Name and version, as the system file says.
    name: String,
    socket: PathBuf,
    /// Headers that connectord sets on each call, in lower case.
    kept: Vec<String>,
}

/// What goes out for a request of the file, and what the plug-in wants to be told again.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) request: Request,
    asked: Option<(pb::PluginCall, Vec<u8>)>,
}

impl Planned {
    /// A request that goes out as the file made it.
    pub(super) const fn as_it_is(request: Request) -> Self {
        Self {
            request,
            asked: None,
        }
    }
}

fn call_of(request: &Request) -> pb::PluginCall {
    let header = |(name, value): &(String, String)| pb::PluginHeader {
        name: name.to_ascii_lowercase(),
        value: value.clone(),
    };
    let body = match &request.body {
        Sent::Nothing => Vec::new(),
        Sent::Json(body) | Sent::Form(body) => body.clone().into_bytes(),
    };
    pb::PluginCall {
        method: request.method.to_owned(),
        path: request.path.clone(),
        query: request.query.clone(),
        headers: request.headers.iter().map(header).collect(),
        body,
    }
}

/// A call that a plug-in planned, where it is one.
fn request_of(call: pb::PluginCall, kept: &[String]) -> Result<Request, String> {
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
    if !path.starts_with('/')
        || !plain(&path)
        || path.contains(['?', '#'])
        || !plain(&query)
        || query.contains('#')
    {
        return Err("a path begins with a slash; path and query are encoded".to_owned());
    }
    if headers.len() > HEADERS_MAX {
        return Err(format!("more than {HEADERS_MAX} headers"));
    }
    let mut own = Vec::new();
    for pb::PluginHeader { name, value } in headers {
        if is_own_header(&name) || kept.contains(&name.to_ascii_lowercase()) {
            return Err(format!(
                "the header `{}` belongs to connectord",
                clean(&name)
            ));
        }
        own.push((name, value));
    }
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
        headers: own,
        body,
    })
}

impl Plugin {
    /// The plug-in that a system file names, on its socket. Nothing is connected yet.
    #[must_use]
    pub fn new(bound: &Bound, socket: &Path) -> Option<Self> {
        let name = bound.plugin.clone()?;
        let client = SystemPluginClient::new(local(socket, TIMEOUT));
        let headers = bound
            .headers
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase());
        Some(Self {
            client: client.max_decoding_message_size(MESSAGE_BYTES_MAX),
            name,
            socket: socket.to_owned(),
            kept: headers
                .chain(bound.auth.header().map(str::to_ascii_lowercase))
                .collect(),
        })
    }

    fn away(&self, status: &tonic::Status) -> String {
        let mut why = status.message().to_owned();
        let mut source = std::error::Error::source(status);
        while let Some(inner) = source {
            why = inner.to_string();
            source = inner.source();
        }
        format!(
            "the plug-in at {} does not answer: {}",
            self.socket.display(),
            clean(&why)
        )
    }

    fn check_name(&self, said: &str) -> Result<(), String> {
        if said == self.name {
            return Ok(());
        }
        Err(format!(
            "the plug-in says it is `{}`, and the system file names `{}`",
            clean(said),
            self.name
        ))
    }

    /// What is sent for a request of the file.
    ///
    /// # Errors
    /// That the plug-in is away, will not plan it, or planned what is never sent. Nothing was sent.
    pub(super) async fn plan(
        &self,
        request: &Request,
        writes: bool,
    ) -> Result<Planned, SystemError> {
        let asked = call_of(request);
        let message = pb::PlanRequest {
            call: Some(asked.clone()),
            writes,
        };
        let answer = self.client.clone().plan(message).await;
        let answer = answer.map_err(|status| SystemError::Unavailable(self.away(&status)))?;
        let pb::PlanResponse {
            plugin,
            call,
            memory,
            refused,
        } = answer.into_inner();
        let odd = |why: String| SystemError::Field(format!("the plug-in `{}`: {why}", self.name));
        self.check_name(&plugin).map_err(odd)?;
        if !refused.is_empty() {
            return Err(SystemError::Refused(clean(&refused)));
        }
        if memory.len() > MEMORY_BYTES_MAX {
            return Err(odd(format!(
                "a memory of more than {MEMORY_BYTES_MAX} bytes"
            )));
        }
        let call = call.ok_or_else(|| odd("it planned no call".to_owned()))?;
        let request = request_of(call, &self.kept).map_err(odd)?;
        Ok(Planned {
            request,
            asked: Some((asked, memory)),
        })
    }

    /// Makes a call of the file's own kind at a system, and gives the answer as the file judges it: status, headers and
    /// body. For `conform`, which stands between the two.
    ///
    /// # Errors
    /// What was planned and is never sent, or could not be judged.
    pub async fn translate<F: Future<Output = Result<Answer, String>>>(
        &self,
        (request, writes): (&Request, bool),
        bound: &Bound,
        send: impl FnOnce(Request) -> F,
    ) -> Result<Answer, String> {
        let planned = self
            .plan(request, writes)
            .await
            .map_err(|error| error.to_string())?;
        let answer = send(planned.request.clone()).await?;
        self.judge(&planned, answer, bound).await
    }

    /// What the file judges for an answer of the system.
    ///
    /// # Errors
    /// That nobody knows what the answer means.
    pub(super) async fn judge(
        &self,
        planned: &Planned,
        answer: Answer,
        bound: &Bound,
    ) -> Result<Answer, String> {
        let Some(((asked, memory), body)) = planned.asked.clone().zip(answer.body.clone()) else {
            return Ok(answer);
        };
        let header = |(name, value): &(String, String)| pb::PluginHeader {
            name: name.clone(),
            value: value.clone(),
        };
        let message = pb::JudgeRequest {
            asked: Some(asked),
            memory,
            answer: Some(pb::PluginAnswer {
                status: answer.status.into(),
                headers: answer.headers.iter().map(header).collect(),
                body: body.to_string().into_bytes(),
            }),
        };
        let judged = self.client.clone().judge(message).await;
        let pb::JudgeResponse {
            plugin,
            answer: said,
        } = judged.map_err(|status| self.away(&status))?.into_inner();
        let odd = |why: &str| format!("the plug-in `{}`: {why}", self.name);
        self.check_name(&plugin)?;
        let said = said.ok_or_else(|| odd("it judged nothing"))?;
        let status = u16::try_from(said.status)
            .ok()
            .filter(|status| (200..600).contains(status));
        let status = status.ok_or_else(|| odd("it answers with no status of HTTP"))?;
        if answer.status >= NO && status < NO {
            return Err(odd(&format!("it takes HTTP {} for a yes", answer.status)));
        }
        let headers = said.headers.into_iter().take(HEADERS_MAX);
        let headers = headers
            .map(|header| (header.name.to_ascii_lowercase(), header.value))
            .collect();
        let mut judged = Answer {
            status,
            headers,
            wait: None,
            body: serde_json::from_slice(&said.body).ok(),
            media: String::new(),
        };
        judged.wait = asked_to_wait(&judged, &bound.retry_after).or(answer.wait);
        Ok(judged)
    }
}

#[cfg(test)]
mod tests;
