//! The one HTTP client of policyd: https to public hosts, or http on loopback. It follows no
//! redirect, uses no proxy, waits and reads only so much, and names no URL in an error, because
//! the URL of a webhook is a secret.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url};
use writ_proto::egress::{self, Named, is_private};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time for one message. The lease of a notice is longer than all its messages.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(8);
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// An answer that was read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Seconds of `Retry-After`, if it is a number.
    pub(super) retry_after: Option<i64>,
    pub(super) body: Vec<u8>,
}

/// Checks where messages go.
///
/// # Errors
/// What is wrong, without the URL.
pub(super) fn target(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "not a URL")?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("no user, password or fragment in a URL");
    }
    let host = url.host_str().ok_or("no host")?;
    let scheme = url.scheme();
    egress::check(Named { scheme, host })?;
    Ok(url)
}

/// The addresses of a name that may be connected to. Loopback is for who says so in the URL.
fn usable(name: &str, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let local = name == "localhost";
    let good = |address: &SocketAddr| {
        address.ip().to_canonical().is_loopback() == local && !is_private(address.ip())
    };
    found.filter(good).collect()
}

/// A name may resolve to an address inside our own network: that is not a receiver.
#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let good = usable(name.as_str(), found);
            if good.is_empty() {
                return Err("the name resolves to no public address".into());
            }
            let addresses: Addrs = Box::new(good.into_iter());
            Ok(addresses)
        })
    }
}

/// The client.
#[derive(Debug, Clone)]
pub(super) struct Http(Client);

impl Http {
    pub(super) fn new() -> Result<Self, String> {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .no_proxy()
            .dns_resolver(PublicOnly)
            .user_agent("writ-policyd")
            .build();
        Ok(Self(client.map_err(|error| error.to_string())?))
    }

    /// Posts JSON.
    pub(super) async fn post(
        &self,
        url: Url,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let mut request = self.0.post(url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let told = request.body(body).send().await;
        let mut response = told.map_err(|error| kind_of(&error).to_owned())?;
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| kind_of(&error).to_owned())?
        {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err("an answer that is too long".to_owned());
            }
        }
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }
}

/// What failed, in our words: the text of the error may hold the URL.
fn kind_of(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_builder() {
        "the message cannot be sent as it is"
    } else {
        "the connection was cut"
    }
}

#[cfg(test)]
mod tests;
