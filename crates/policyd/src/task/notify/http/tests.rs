//! The notifier of policyd connects only where it may.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Says so much to whoever connects, and where.
async fn saying(ip: &str, bytes: usize) -> Option<SocketAddr> {
    let listener = TcpListener::bind((ip, 0)).await.ok()?;
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
        let text = head + &"x".repeat(bytes);
        while let Ok((mut stream, _)) = listener.accept().await {
            let _head = stream.read(&mut [0; 4_096]).await;
            let _sent = stream.write_all(text.as_bytes()).await;
        }
    });
    Some(addr)
}

async fn posted(to: &str) -> Result<Answer, String> {
    let url = Url::parse(&format!("http://{to}/")).unwrap();
    Http::new().unwrap().post(url, &[], Vec::new()).await
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit_only() {
    for (bytes, read) in [(ANSWER_BYTES_MAX, true), (ANSWER_BYTES_MAX + 1, false)] {
        let addr = saying("127.0.0.1", bytes).await.unwrap();
        match posted(&addr.to_string()).await {
            Ok(answer) => assert!(read && answer.body.len() == bytes),
            Err(why) => assert!(!read && why == "an answer that is too long", "{why}"),
        }
    }
}

#[tokio::test]
async fn a_name_of_this_machine_is_not_connected_to() {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    for name in ["ip6-localhost", "ip6-loopback", own.trim()] {
        let mut found = match tokio::net::lookup_host((name, 0)).await {
            Ok(found) => found.filter(|addr| addr.ip().is_loopback()),
            Err(_) => continue,
        };
        let Some(ip) = found.next().map(|addr| addr.ip()) else {
            continue;
        };
        let Some(addr) = saying(&ip.to_string(), 1).await else {
            continue;
        };
        assert!(posted(&addr.to_string()).await.is_ok());
        let refused = posted(&format!("{name}:{}", addr.port())).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused, "no connection", "{name}");
        return;
    }
    println!("SKIPPED: this machine has no name but localhost for loopback");
}

#[test]
fn a_name_that_resolves_into_our_own_network_is_no_receiver() {
    let table = [
        ("hooks.example", "93.184.216.34", true),
        ("hooks.example", "10.0.0.1", false),
        ("hooks.example", "127.0.0.1", false),
        ("hooks.example", "169.254.169.254", false),
        ("hooks.example", "::1", false),
        ("hooks.example", "::ffff:127.0.0.1", false),
        ("hooks.example", "::ffff:192.168.0.1", false),
        ("hooks.example", "fd00::1", false),
        ("localhost", "127.0.0.1", true),
        ("localhost", "::1", true),
        ("localhost", "10.0.0.1", false),
        ("localhost", "93.184.216.34", false),
    ];
    for (name, address, good) in table {
        let found = [SocketAddr::new(address.parse().unwrap(), 0)];
        let kept = usable(name, found.into_iter()).len() == 1;
        assert_eq!(kept, good, "{name} {address}");
    }
}

#[test]
fn what_is_wrong_with_a_url_is_told_without_it() {
    for bad in [
        "http://hooks.example/secret",
        "https://10.0.0.1/secret",
        "https://u:secret@hooks.example",
        "https://hooks.example/#secret",
        "secret",
    ] {
        let why = target(bad).unwrap_err();
        assert!(!why.contains("secret"), "{why}");
    }
    assert!(target("https://hooks.slack.com/services/T/B/x").is_ok());
    assert!(target("http://127.0.0.1:9/x").is_ok());
}
