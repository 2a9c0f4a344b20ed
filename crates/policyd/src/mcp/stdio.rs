//! Messages over standard input and output, one a line. stdout carries nothing else.

use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::wire::{MESSAGE_BYTES_MAX, Received, read};

/// After so many messages in a row that cannot be read, the other side speaks another language.
const REFUSED_MAX: u32 = 100;

/// The two ends.
#[derive(Debug)]
pub(super) struct Lines<R, W> {
    input: R,
    line: Vec<u8>,
    /// The line is longer than a message; what follows of it is thrown away.
    overlong: bool,
    refused: u32,
    /// Before the first request a notification means nothing, and the library would end on it.
    opened: bool,
    output: Arc<Mutex<W>>,
}

impl<R, W> Lines<R, W> {
    pub(super) fn new(input: R, output: W) -> Self {
        Self {
            input,
            line: Vec::new(),
            overlong: false,
            refused: 0,
            opened: false,
            output: Arc::new(Mutex::new(output)),
        }
    }
}

impl<R: AsyncBufRead + Unpin + Send, W> Lines<R, W> {
    /// The next line, without its end. Dropped while it waits, it loses nothing.
    async fn next_line(&mut self) -> Option<Vec<u8>> {
        loop {
            let part = self.input.fill_buf().await.ok()?;
            if part.is_empty() {
                return None;
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let taken = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
            let used = taken.len().saturating_add(usize::from(end.is_some()));
            // One byte more than a message tells that it is too long; no more of it is kept.
            let room = MESSAGE_BYTES_MAX
                .saturating_add(1)
                .saturating_sub(self.line.len());
            self.overlong |= taken.len() > room;
            self.line
                .extend_from_slice(taken.get(..taken.len().min(room)).unwrap_or_default());
            self.input.consume(used);
            if end.is_some() {
                let overlong = core::mem::take(&mut self.overlong);
                let mut line = core::mem::take(&mut self.line);
                if !overlong && line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Some(line);
            }
        }
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncBufRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = std::io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        write(Arc::clone(&self.output), message)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        while self.refused <= REFUSED_MAX {
            let line = self.next_line().await?;
            if line.is_empty() {
                continue;
            }
            match read(&line) {
                Received::Message(message) => {
                    self.refused = 0;
                    self.opened |= matches!(*message, ClientJsonRpcMessage::Request(_));
                    if self.opened {
                        return Some(*message);
                    }
                }
                Received::Nothing => {}
                Received::Refused(answer) => {
                    self.refused = self.refused.saturating_add(1);
                    write(Arc::clone(&self.output), *answer).await.ok()?;
                }
            }
        }
        tracing::warn!("too many messages that cannot be read; the session ends");
        None
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.output.lock().await.flush().await
    }
}

async fn write<W: AsyncWrite + Unpin>(
    output: Arc<Mutex<W>>,
    message: ServerJsonRpcMessage,
) -> Result<(), std::io::Error> {
    let mut line = serde_json::to_vec(&message)?;
    line.push(b'\n');
    let mut output = output.lock().await;
    output.write_all(&line).await?;
    output.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_long_is_refused_without_being_kept_and_the_next_line_is_read() {
        let mut input = vec![b'x'; MESSAGE_BYTES_MAX * 3];
        input.extend_from_slice(
            b"\n\r\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n",
        );
        input.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n");
        let (output, mut answers) = tokio::io::duplex(4_096);
        let mut lines = Lines::new(tokio::io::BufReader::new(input.as_slice()), output);
        let first = lines.receive().await;
        assert!(matches!(first, Some(ClientJsonRpcMessage::Request(_))));
        assert!(lines.line.capacity() < 2 * MESSAGE_BYTES_MAX + 4_096);
        let mut answer = vec![0; 4_096];
        let length = tokio::io::AsyncReadExt::read(&mut answers, &mut answer)
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(
            answer.contains("-32600") && answer.matches('\n').count() == 1,
            "{answer}"
        );
        assert!(lines.receive().await.is_none());
    }

    #[tokio::test]
    async fn a_session_of_nothing_but_noise_ends() {
        let input = "{\n".repeat(1_000);
        let mut lines = Lines::new(
            tokio::io::BufReader::new(input.as_bytes()),
            tokio::io::sink(),
        );
        assert!(lines.receive().await.is_none());
        assert!(lines.refused == REFUSED_MAX + 1);
    }
}
