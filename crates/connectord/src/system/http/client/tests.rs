//! Where a client goes, how much it takes, and how much at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::serve::ListenerExt as _;

use super::*;
use crate::credentials::CredentialStore;
use crate::private_file::write_private;

const SANDBOX: &str = include_str!("../../../../../../deploy/systems/sandbox.toml");
/// The start of an answer that gives a token, up to a text of any length.
const GIVES: &str = r#"{"access_token":"t","token_type":"Bearer","more":""#;

/// The sandbox, with tokens of OAuth.
fn with_tokens() -> Bound {
    let oauth = "oauth2 = { grant = \"client_credentials\", token = \"/token\" }";
    let text = SANDBOX.replacen("bearer = \"{secret.token}\"", oauth, 1);
    let parts = "secret = [\"client_id\", \"client_secret\"]";
    Bound::compile(&text.replacen("secret = [\"token\"]", parts, 1)).unwrap()
}

/// A client, and the folder of its credential.
fn client(base: &str, bound: Bound, look_up: LookUp) -> (tempfile::TempDir, HttpClient) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("seal.key");
    write_private(&key, hex::encode([7; 32]).as_bytes()).unwrap();
    let store = CredentialStore::new(folder.path().join("credentials.json"), key);
    store.put("crm/main", "client:secret", 5).unwrap();
    let credential = store.open("crm/main").unwrap();
    let checked = Checked {
        private: false,
        look_up,
    };
    let base = base_url(base, false).unwrap();
    let client = HttpClient::with(base, &Arc::new(bound), credential, checked);
    (folder, client.unwrap())
}

/// The port of a server that answers everything with the same, and how many connections it took.
async fn answering(body: String) -> (u16, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let listener = listener.tap_io(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let json = [("content-type", "application/json")];
    let router = Router::new().fallback(move || async move { (json, body) });
    tokio::spawn(axum::serve(listener, router).into_future());
    (port, taken)
}

fn asks() -> Request {
    Request {
        method: "GET",
        path: "/deals/D-1".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: Sent::Nothing,
    }
}

#[test]
fn only_https_or_loopback_is_a_base_url() {
    for good in [
        "https://crm.example",
        "http://127.0.0.1:7380",
        "http://[::1]:1/t1",
        "http://localhost:1",
    ] {
        assert!(base_url(good, false).is_ok(), "{good}");
    }
    for bad in [
        "http://crm.example",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "gopher://x",
        "http://10.0.0.1",
        "http://169.254.169.254",
        "https://169.254.169.254",
        "https://10.1.2.3",
        "https://192.168.1.1",
        "https://[::ffff:10.0.0.1]",
        "https://[fe80::1]",
        "https://[fd00::1]",
        "https://0x0a000001",
        "https://167772161",
        "https://0.0.0.0",
        "https://u:p@crm.example",
        "https://crm.example/?a=b",
        "https://crm.example/#a",
        "https://100.64.0.1",
        "not a url",
        "https://172.16.0.1",
    ] {
        assert!(base_url(bad, false).is_err(), "{bad}");
    }
}

#[test]
fn a_name_that_resolves_into_our_own_network_is_no_system_unless_the_connection_says_so() {
    let table = [
        ("crm.example", "93.184.216.34", true, true),
        ("crm.example", "10.0.0.1", false, true),
        ("crm.example", "127.0.0.1", false, false),
        ("crm.example", "169.254.169.254", false, true),
        ("crm.example", "::ffff:192.168.0.1", false, true),
        ("localhost", "127.0.0.1", true, true),
        ("localhost", "10.0.0.1", false, false),
    ];
    for (name, address, public, private) in table {
        let found = [SocketAddr::new(address.parse().unwrap(), 0)];
        let kept = |private| usable(name, private, found.into_iter()).len() == 1;
        assert_eq!(
            (kept(false), kept(true)),
            (public, private),
            "{name} {address}"
        );
    }
}

#[tokio::test]
async fn a_client_connects_to_no_address_that_its_name_may_not_have() {
    let (port, taken) = answering("{}".to_owned()).await;
    let base = format!("http://localhost:{port}");
    let table: [(LookUp, bool); 2] = [
        (|_| Ok(vec![SocketAddr::from(([10, 0, 0, 1], 0))]), false),
        (|_| Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]), true),
    ];
    for (look_up, good) in table {
        let (_folder, client) = client(&base, Bound::compile(SANDBOX).unwrap(), look_up);
        let answer = client.call(&asks()).await;
        assert_eq!(answer.is_ok(), good, "{answer:?}");
        if let Err(error) = answer {
            let said = error.to_string();
            assert!(said.contains("no address that may be used"), "{said}");
        }
        assert_eq!(taken.load(Ordering::SeqCst), usize::from(good));
    }
}

#[tokio::test]
async fn no_answer_of_a_system_or_an_issuer_is_longer_than_its_limit() {
    for (bytes, good) in [(BODY_BYTES_MAX, true), (BODY_BYTES_MAX + 1, false)] {
        let more = "x".repeat(bytes - GIVES.len() - 2);
        let (port, _) = answering(format!("{GIVES}{more}\"}}")).await;
        let base = format!("http://127.0.0.1:{port}");
        let (_folder, plain) = client(&base, Bound::compile(SANDBOX).unwrap(), look_up);
        let answer = plain.call(&asks()).await;
        let whole = answer.as_ref().is_ok_and(|answer| answer.body.is_some());
        let (_folder, renewing) = client(&base, with_tokens(), look_up);
        let token = renewing.ready(None).await;
        assert_eq!((whole, token.is_ok()), (good, good), "{bytes}");
        if let (Err(lost), Err(none)) = (answer, token) {
            assert!(matches!(&lost, CallError::Lost(why) if why.contains("too long")));
            assert!(matches!(&none, CallError::NotSent(why) if why.contains("too long")));
        }
    }
}

#[tokio::test]
async fn no_more_calls_are_open_at_once_than_the_file_says() {
    let text = format!("rate = {{ concurrent = 1 }}\n{SANDBOX}");
    let mut bound = Bound::compile(&text).unwrap();
    bound.timeout = Duration::from_millis(50);
    let (_folder, client) = client("http://127.0.0.1:1", bound, look_up);
    let first = client.ready(None).await.unwrap();
    let second = client.ready(None).await.unwrap_err();
    assert!(second.to_string().contains("too many calls"), "{second}");
    drop(first);
    client.ready(None).await.unwrap();
}

#[tokio::test]
async fn each_token_is_asked_for_on_a_connection_of_its_own() {
    let (port, taken) = answering(format!("{GIVES}\"}}")).await;
    let base = format!("http://127.0.0.1:{port}");
    let (_folder, client) = client(&base, with_tokens(), look_up);
    let first = client.ready(None).await.unwrap().token();
    client.ready(first).await.unwrap();
    assert_eq!(taken.load(Ordering::SeqCst), 2);
}
