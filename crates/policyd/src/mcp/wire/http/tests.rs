//! How many requests there may be at once, and how long one may take to come.

use std::convert::Infallible;

use axum::body::Bytes;
use axum::routing::post;
use tonic::codegen::Service as _;

use super::*;

fn door() -> Arc<Door> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 7370));
    Arc::new(Door::of(addr, Zeroizing::new("the-secret".to_owned())))
}

fn ping() -> Body {
    Body::from(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
}

/// What a message is answered that names us and shows the secret.
async fn answered(door: &Arc<Door>, body: Body) -> StatusCode {
    let mut router = Router::new()
        .route(PATH, post(|| async { "here" }))
        .layer(from_fn_with_state(Arc::clone(door), guard));
    let request = axum::http::Request::post(PATH)
        .header(header::HOST, "127.0.0.1:7370")
        .header(header::AUTHORIZATION, "Bearer the-secret")
        .body(body)
        .unwrap();
    router.call(request).await.unwrap().status()
}

#[tokio::test]
async fn one_request_too_many_is_refused_and_a_later_one_is_not() {
    let door = door();
    let all = door.places.available_permits();
    assert_eq!(all, 64);
    let held = door.places.try_acquire_many(64).unwrap();
    let busy = answered(&door, ping()).await;
    assert_eq!(busy, StatusCode::TOO_MANY_REQUESTS);
    drop(held);
    assert_eq!(answered(&door, ping()).await, StatusCode::OK);
}

#[tokio::test]
async fn a_message_that_never_ends_is_not_waited_for_and_gives_its_place_back() {
    let door = door();
    let never = tokio_stream::pending::<Result<Bytes, Infallible>>();
    let slow = answered(&door, Body::from_stream(never));
    let slow = timeout(BODY_MAX * 4, slow).await.expect("it is waited for");
    assert_eq!(slow, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(door.places.available_permits(), 64);
}
