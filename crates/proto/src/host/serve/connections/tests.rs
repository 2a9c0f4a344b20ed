//! Shares of the connections, who is pushed out, and when one ends.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::*;
use crate::host::serve::incoming::Accepted;

const PATIENCE: Duration = Duration::from_secs(20);

type Client = tokio_rustls::client::TlsStream<TcpStream>;

#[test]
fn a_share_that_is_full_takes_nothing_of_another() {
    let shares = Shares::default();
    let of = |agent: &str, tenant: &str| {
        [
            (format!("agent:{agent}"), 2),
            (format!("tenant:{tenant}"), 3),
        ]
    };
    let first = shares.take(&of("a", "acme")).unwrap();
    let _second = shares.take(&of("a", "acme")).unwrap();
    assert!(shares.take(&of("a", "acme")).is_none());
    let _third = shares.take(&of("b", "acme")).unwrap();
    assert!(
        shares.take(&of("b", "acme")).is_none(),
        "its tenant is full"
    );
    let other = shares.take(&of("a2", "globex")).unwrap();
    drop((first, other));
    assert!(shares.take(&of("a", "acme")).is_some());
    assert!(!shares.0.lock().unwrap().contains_key("agent:a2"));
}

/// An authority, and a certificate that it signed for both ends, as files of a folder.
fn certified(folder: &Path) -> KeyPair {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("leaf.pem"), leaf.pem()).unwrap();
    key
}

/// A door with one caller, who may have one connection, and whose certificate is valid for so long.
fn door(folder: &Path, key: &KeyPair, valid: Duration) -> Door {
    let (leaf, ca) = (folder.join("leaf.pem"), folder.join("ca.pem"));
    let tls = mutual_tls(&leaf, &key.serialize_pem(), &ca).unwrap();
    let reads = move |_: &[u8]| {
        Some(Guest {
            shares: vec![("agent:a".to_owned(), 1)],
            quotas: Vec::new(),
            valid,
        })
    };
    Door::new(tls, Arc::new(reads))
}

/// A connection, and its other end as a front gets it.
async fn connected() -> (TcpStream, Accepted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let outside = TcpStream::connect(addr).await.unwrap();
    let (inside, _) = listener.accept().await.unwrap();
    let slot = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    (outside, (inside.into_std().unwrap(), slot))
}

/// A connection to a door, and what comes in by it.
async fn knock(door: &Door) -> (TcpStream, ReceiverStream<io::Result<Served>>) {
    let (outside, accepted) = connected().await;
    let (hand, handed) = mpsc::channel(1);
    hand.send(accepted).await.unwrap();
    (outside, door.admit(Incoming(handed)))
}

/// Shakes hands as the caller.
async fn shaken(folder: &Path, key: &KeyPair, outside: TcpStream) -> Client {
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(read("ca.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![read("leaf.pem")], key)
        .unwrap();
    let name = "localhost".try_into().unwrap();
    let connecting = TlsConnector::from(Arc::new(client)).connect(name, outside);
    timeout(PATIENCE, connecting).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_connection_ends_when_its_certificate_does() {
    let folder = tempfile::tempdir().unwrap();
    let key = certified(folder.path());
    let door = door(folder.path(), &key, Duration::from_millis(1));
    let (outside, mut came_in) = knock(&door).await;
    let _open = shaken(folder.path(), &key, outside).await;
    let served = timeout(PATIENCE, came_in.next()).await.unwrap();
    let mut served = served.unwrap().unwrap();
    let ended = timeout(PATIENCE, served.read_u8()).await;
    let ended = ended.expect("it goes on").unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn a_connection_that_shakes_no_hands_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let key = certified(folder.path());
    let mut door = door(folder.path(), &key, PATIENCE);
    door.handshake = Duration::from_millis(50);
    let (mut outside, _came_in) = knock(&door).await;
    let closed = timeout(PATIENCE, outside.read_u8()).await;
    assert!(closed.expect("it is held").is_err());
}

#[tokio::test]
async fn one_more_than_may_shake_hands_pushes_out_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let key = certified(folder.path());
    let mut door = door(folder.path(), &key, PATIENCE);
    // Its own time does not end it.
    door.handshake = PATIENCE * 2;
    let (hand, handed) = mpsc::channel(1);
    let mut came_in = door.admit(Incoming(handed));
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_MAX {
        let (outside, accepted) = connected().await;
        hand.send(accepted).await.unwrap();
        silent.push(outside);
    }
    let (outside, accepted) = connected().await;
    hand.send(accepted).await.unwrap();
    let closed = timeout(PATIENCE, silent[0].read_u8()).await;
    assert!(closed.expect("it keeps its place").is_err());
    let _open = shaken(folder.path(), &key, outside).await;
    let served = timeout(PATIENCE, came_in.next()).await;
    assert!(matches!(served, Ok(Some(Ok(_)))), "who does shake hands");
}

#[tokio::test]
async fn a_caller_that_has_its_share_comes_in_again_only_when_one_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let key = certified(folder.path());
    let door = door(folder.path(), &key, PATIENCE);
    let (outside, mut came_in) = knock(&door).await;
    let _first = shaken(folder.path(), &key, outside).await;
    let served = timeout(PATIENCE, came_in.next()).await.unwrap();
    let (outside, _nobody) = knock(&door).await;
    let mut second = shaken(folder.path(), &key, outside).await;
    let closed = timeout(PATIENCE, second.read_u8()).await;
    assert!(closed.expect("it is served beside the first").is_err());
    drop(served);
    let (outside, mut came_in) = knock(&door).await;
    let _third = shaken(folder.path(), &key, outside).await;
    let served = timeout(PATIENCE, came_in.next()).await;
    assert!(matches!(served, Ok(Some(Ok(_)))), "{served:?}");
}

#[test]
fn what_is_no_authority_is_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let key = certified(folder.path()).serialize_pem();
    let leaf = folder.path().join("leaf.pem");
    assert!(mutual_tls(&leaf, &key, &folder.path().join("ca.pem")).is_ok());
    let refused = mutual_tls(&leaf, &key, &leaf).unwrap_err();
    assert!(
        refused.contains("no certificate of an authority"),
        "{refused}"
    );
}
