//! A receiver of notices on loopback: a Slack or a webhook that answers as it is told, well or badly.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the receiver does with one message.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers with status, more header lines and body.
    Say(u16, &'static str, &'static str),
    /// Ends the connection when it has read the message.
    Cut,
    /// Never answers.
    Silence,
}

/// One message as it came.
#[derive(Debug, Clone)]
pub struct Got {
    pub when: Instant,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// The receiver; it ends with the test.
#[derive(Clone)]
pub struct Receiver {
    pub port: u16,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    /// Acts as told, one act a message, and then always as the last.
    pub async fn start(acts: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            got: Arc::default(),
        };
        let acts = Arc::new(Mutex::new(VecDeque::from(acts.to_vec())));
        let got = Arc::clone(&receiver.got);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, Arc::clone(&got), Arc::clone(&acts)));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

fn next(acts: &Mutex<VecDeque<Act>>) -> Act {
    let mut acts = acts.lock().unwrap();
    match acts.len() {
        1 => acts[0].clone(),
        _ => acts.pop_front().unwrap(),
    }
}

/// One message and its answer; the connection ends with it.
async fn talk(mut stream: TcpStream, got: Arc<Mutex<Vec<Got>>>, acts: Arc<Mutex<VecDeque<Act>>>) {
    let Some(message) = read(&mut stream).await else {
        return;
    };
    got.lock().unwrap().push(message);
    match next(&acts) {
        Act::Cut => {}
        Act::Silence => std::future::pending().await,
        Act::Say(status, headers, body) => {
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
            );
            let _sent = stream.write_all(text.as_bytes()).await;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let path = lines.next()?.split(' ').nth(1)?.to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            if body.len() >= length?.1.parse::<usize>().ok()? {
                return Some(Got {
                    when: Instant::now(),
                    path,
                    headers,
                    body: body.to_owned(),
                });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
