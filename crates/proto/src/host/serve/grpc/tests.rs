//! What a connection may have under way, and how long a call may take.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::routing::any;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use super::*;
use crate::pb;
use crate::pb::halt_service_client::HaltServiceClient;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers no call.
async fn hanging(call_timeout: Duration) -> SocketAddr {
    let refusals = Refusals {
        early: |_| Status::resource_exhausted("early"),
        unread: Arc::new(|_, why| Box::pin(async move { Status::invalid_argument(why) })),
    };
    let never = || std::future::pending::<&'static str>();
    let all = axum::Router::new().route("/{*path}", any(never));
    let router = server(call_timeout, refusals).add_routes(Routes::from(all));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    addr
}

#[tokio::test]
async fn a_connection_is_told_how_many_calls_it_may_have_and_how_long_their_heads_may_be() {
    let addr = hanging(PATIENCE).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let no_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let hello = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &no_settings].concat();
    stream.write_all(&hello).await.unwrap();
    // The first frame of a server holds its settings, each of six bytes (RFC 9113, 6.5.1).
    let mut head = [0; 9];
    let read = timeout(PATIENCE, stream.read_exact(&mut head)).await;
    read.unwrap().unwrap();
    assert_eq!((head[0], head[1], head[3]), (0, 0, 4), "{head:?}");
    let mut body = vec![0; usize::from(head[2])];
    let read = timeout(PATIENCE, stream.read_exact(&mut body)).await;
    read.unwrap().unwrap();
    let setting = |one: &[u8]| (one[1], u32::from_be_bytes([one[2], one[3], one[4], one[5]]));
    let told: Vec<(u8, u32)> = body.chunks_exact(6).map(setting).collect();
    for wanted in [(3, STREAMS_MAX), (6, HEADER_BYTES_MAX)] {
        assert!(told.contains(&wanted), "{wanted:?} of {told:?}");
    }
}

#[tokio::test]
async fn a_call_that_nobody_answers_ends() {
    let addr = hanging(Duration::from_millis(50)).await;
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let mut client = HaltServiceClient::new(endpoint.connect().await.unwrap());
    let call = client.list_halts(pb::ListHaltsRequest {});
    let ended = timeout(PATIENCE, call).await.expect("it goes on");
    let code = ended.unwrap_err().code();
    let wanted = [Code::Cancelled, Code::DeadlineExceeded];
    assert!(wanted.contains(&code), "{code:?}");
}
