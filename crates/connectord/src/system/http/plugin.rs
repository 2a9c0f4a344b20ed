//! The driver `remote`: a plug-in beside connectord translates what the system file asks for into a call of the system, and
//! the answer into one that the file can judge. It sees no credential and opens no connection to the system: what it plans
//! is held to the base URL like everything else, and what it says of an answer is believed only where it says no.

mod held;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::Channel;
use writ_proto::host::channel::cause_of;
use writ_proto::host::channel::socket::local;
use writ_proto::pb;
use writ_proto::pb::system_plugin_client::SystemPluginClient;

use super::client::asked_to_wait;
use crate::system::SystemError;
use crate::system::file::{Answer, Bound, Request, Sent, clean};
use held::{is_shown, judged_headers, may_mean, request_of};

/// Longest wait for a plug-in.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest message of a plug-in, in bytes: an answer of the system, and what is around it.
const MESSAGE_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// Most that a plug-in may have given back, in bytes.
const MEMORY_BYTES_MAX: usize = 64 * 1_024;
/// Answers without JSON that say all there is to say: the credential, and the pace.
const PLAIN: [u16; 3] = [401, 403, 429];

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

    /// Asks the plug-in, within the time it has: also one that has begun to answer.
    async fn asked<T>(
        &self,
        answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, String> {
        use tonic::Code;
        let socket = self.socket.display();
        let late = || {
            let seconds = TIMEOUT.as_secs();
            Err(format!(
                "the plug-in at {socket} did not answer within {seconds} s"
            ))
        };
        let Ok(answer) = tokio::time::timeout(TIMEOUT, answer).await else {
            return late();
        };
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) if matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded) => {
                late()
            }
            Err(status) if status.code() == Code::Unavailable => Err(format!(
                "the plug-in at {socket} is not there: {}",
                clean(&cause_of(&status))
            )),
            // Its own words may hold what a record holds.
            Err(status) => Err(format!("the plug-in at {socket} failed: {}", status.code())),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
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
        let mut client = self.client.clone();
        let answer = self.asked(client.plan(message)).await;
        let pb::PlanResponse {
            plugin,
            call,
            memory,
            refused,
        } = answer.map_err(SystemError::Unavailable)?;
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
            // Of a page instead of JSON the file knows as little as the plug-in.
            return if self_evident(&answer) {
                Ok(answer)
            } else {
                Err(answer.described())
            };
        };
        let shown = answer
            .headers
            .iter()
            .filter(|(name, _)| is_shown(name, &self.kept));
        let header = |(name, value): &(String, String)| pb::PluginHeader {
            name: name.clone(),
            value: value.clone(),
        };
        let message = pb::JudgeRequest {
            asked: Some(asked),
            memory,
            answer: Some(pb::PluginAnswer {
                status: answer.status.into(),
                headers: shown.map(header).collect(),
                body: body.to_string().into_bytes(),
            }),
        };
        let mut client = self.client.clone();
        let pb::JudgeResponse {
            plugin,
            answer: said,
        } = self.asked(client.judge(message)).await?;
        let odd = |why: &str| format!("the plug-in `{}`: {why}", self.name);
        self.check_name(&plugin)?;
        let said = said.ok_or_else(|| odd("it judged nothing"))?;
        let status = u16::try_from(said.status)
            .ok()
            .filter(|status| (200..600).contains(status));
        let status = status.ok_or_else(|| odd("it answers with no status of HTTP"))?;
        if !may_mean(answer.status, status) {
            return Err(odd(&format!(
                "it takes HTTP {} for {status}",
                answer.status
            )));
        }
        let headers = judged_headers(said.headers).map_err(|why| odd(&why))?;
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

/// Whether an answer without JSON means what its status says.
fn self_evident(answer: &Answer) -> bool {
    answer.body.is_some() || PLAIN.contains(&answer.status)
}

#[cfg(test)]
mod tests;
