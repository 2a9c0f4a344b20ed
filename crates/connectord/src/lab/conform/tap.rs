//! The same for a database: bytes are passed on, and what a case does happens around BEGIN and COMMIT.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::error::AppError;
use crate::lab::conform::fail;
use crate::lab::conform::way::{Fault, Moment, Way};
use crate::system::postgres::READ_ONLY;

const CHUNK_BYTES: usize = 64 * 1_024;

/// Listens on a free port of loopback and passes connections on.
pub(crate) async fn start(way: &Way, upstream: String) -> Result<SocketAddr, AppError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(fail)?;
    let addr = listener.local_addr().map_err(fail)?;
    let way = way.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (way, upstream) = (way.clone(), upstream.clone());
            tokio::spawn(async move { drop(pass(way, stream, &upstream).await) });
        }
    });
    Ok(addr)
}

async fn pass(way: Way, stream: TcpStream, upstream: &str) -> std::io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    let (from_client, mut to_client) = stream.into_split();
    let (mut from_server, to_server) = server.into_split();
    let sent = tokio::spawn(forward(way.clone(), from_client, to_server));
    let mut bytes = vec![0; CHUNK_BYTES];
    let answers = async {
        loop {
            let count = from_server.read(&mut bytes).await?;
            let Some(chunk) = bytes.get(..count).filter(|chunk| !chunk.is_empty()) else {
                return Ok::<(), std::io::Error>(());
            };
            // "COMMIT" is what PostgreSQL answers to it too.
            if holds(chunk, b"COMMIT\0") {
                if matches!(way.held().fault, Fault::LostAfter) {
                    return Ok(());
                }
                way.meanwhile(Moment::AfterWrite).await;
            }
            to_client.write_all(chunk).await?;
        }
    };
    // Either end may cut; the other half ends with it.
    tokio::select! {
        _ = sent => {}
        _ = answers => {}
    }
    Ok(())
}

fn holds(chunk: &[u8], word: &[u8]) -> bool {
    chunk.windows(word.len()).any(|window| window == word)
}

/// From connectord to the database, until one of them or the case cuts.
async fn forward(
    way: Way,
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
) -> std::io::Result<()> {
    let mut bytes = vec![0; CHUNK_BYTES];
    loop {
        let count = client.read(&mut bytes).await?;
        let Some(chunk) = bytes.get(..count).filter(|chunk| !chunk.is_empty()) else {
            return Ok(());
        };
        // What only reads is the look itself.
        if holds(chunk, b"BEGIN") && !holds(chunk, READ_ONLY.as_bytes()) {
            way.meanwhile(Moment::AfterLook).await;
        }
        if !holds(chunk, b"COMMIT") {
            server.write_all(chunk).await?;
            continue;
        }
        let fault = {
            let mut held = way.held();
            held.writes.push(("COMMIT".to_owned(), String::new()));
            held.fault.clone()
        };
        match fault {
            Fault::LostBefore => return Ok(()),
            Fault::Late(span) => {
                tokio::spawn(commit_late(server, chunk.to_vec(), span));
                return Ok(());
            }
            _ => {}
        }
        way.held().passed += 1;
        server.write_all(chunk).await?;
    }
}

async fn commit_late(mut server: OwnedWriteHalf, chunk: Vec<u8>, span: Duration) {
    tokio::time::sleep(span).await;
    drop(server.write_all(&chunk).await);
    tokio::time::sleep(span).await;
}
