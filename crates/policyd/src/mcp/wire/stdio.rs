//! Messages over standard input and output, one a line. stdout carries nothing else.

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use crate::mcp::wire::{MESSAGE_BYTES_MAX, Received, read};

/// After so many messages in a row that cannot be read, the other side speaks another language.
const REFUSED_MAX: u32 = 100;
/// Most lines that wait to be written; whoever has one more waits too.
const LINES_MAX: usize = 64;

/// A line to write, and who wants to know that it is written.
type Line = (Vec<u8>, Option<oneshot::Sender<()>>);

/// The two ends. The library drops a `receive` whenever something else happens, so nothing is held
/// in it: what was read stays here, and lines are written by a task of their own, always whole.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// The line is longer than a message; what follows of it is thrown away.
    overlong: bool,
    refused: u32,
    /// Before the first request a notification means nothing, and the library would end on it.
    opened: bool,
    /// The answer to what was refused, until there is room for it.
    answer: Option<Vec<u8>>,
    output: mpsc::Sender<Line>,
}

async fn write_all(mut output: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Line>) {
    while let Some((line, told)) = lines.recv().await {
        let written = async {
            output.write_all(&line).await?;
            output.flush().await
        };
        let written: Result<(), std::io::Error> = written.await;
        if written.is_err() {
            // Nobody reads any more; whoever waits is told by the end of this task.
            return;
        }
        if let Some(told) = told {
            // Who asked may have gone; the line is written all the same.
            told.send(()).unwrap_or_default();
        }
    }
}

fn gone() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the other side is gone")
}

fn encode(message: &ServerJsonRpcMessage) -> Result<Vec<u8>, std::io::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

async fn written(output: mpsc::Sender<Line>, line: Vec<u8>) -> Result<(), std::io::Error> {
    let (told, hears) = oneshot::channel();
    let sent = output.send((line, Some(told))).await;
    sent.map_err(|_| gone())?;
    hears.await.map_err(|_| gone())
}

impl<R> Lines<R> {
    pub(crate) fn new(input: R, output: impl AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel(LINES_MAX);
        tokio::spawn(write_all(output, lines));
        Self {
            input,
            line: Vec::new(),
            overlong: false,
            refused: 0,
            opened: false,
            answer: None,
            output: sender,
        }
    }
}

impl<R: AsyncBufRead + Unpin + Send> Lines<R> {
    /// Hands over an answer that waits. Dropped while there is no room, it keeps it.
    async fn hand_over(&mut self) -> Option<()> {
        if self.answer.is_some() {
            let room = self.output.reserve().await.ok()?;
            if let Some(answer) = self.answer.take() {
                room.send((answer, None));
            }
        }
        Some(())
    }

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

impl<R: AsyncBufRead + Unpin + Send> Transport<RoleServer> for Lines<R> {
    type Error = std::io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let output = self.output.clone();
        async move { written(output, encode(&message)?).await }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        while self.refused <= REFUSED_MAX {
            self.hand_over().await?;
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
                    self.answer = encode(&answer).ok();
                }
            }
        }
        tracing::warn!("too many messages that cannot be read; the session ends");
        None
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        let last = self.answer.take().unwrap_or_default();
        written(self.output.clone(), last).await
    }
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
        let input = std::io::Cursor::new(input);
        let mut lines = Lines::new(tokio::io::BufReader::new(input), output);
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

    #[tokio::test]
    async fn a_receive_that_is_dropped_loses_no_line_and_no_answer() {
        let (mut client, input) = tokio::io::duplex(16);
        let (output, answers) = tokio::io::duplex(16);
        let mut lines = Lines::new(tokio::io::BufReader::new(input), output);
        let writing = tokio::spawn(async move {
            for _ in 0..50 {
                client.write_all(b"{\n").await.unwrap();
            }
            client
                .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n")
                .await
                .unwrap();
            client
        });
        let reading = tokio::spawn(async move {
            let mut answers = tokio::io::BufReader::new(answers).lines();
            let mut count = 0;
            while let Some(line) = answers.next_line().await.unwrap() {
                assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
                count += 1;
                if count == 50 {
                    break;
                }
            }
        });
        let first = loop {
            tokio::select! {
                biased;
                message = lines.receive() => break message,
                () = tokio::task::yield_now() => {}
            }
        };
        assert!(matches!(first, Some(ClientJsonRpcMessage::Request(_))));
        reading.await.unwrap();
        drop(writing.await.unwrap());
    }
}
