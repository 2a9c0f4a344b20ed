//! Hostile ids, arguments and addresses against a raw socket: what arrives there is one request for one path, whose
//! parts say exactly what was signed; nothing arrives anywhere else.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::rollout::present;
use super::{wish, world};

/// Longest request that is kept.
const BYTES_MAX: usize = 64 * 1_024;

/// A socket that keeps the bytes that come, and answers each request with the same.
struct Sink {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// The bytes of one request, by what its own length says.
async fn one_request(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let head = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
            if bytes.len() >= head + 4 + length.unwrap_or(0) {
                return bytes;
            }
        }
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 && bytes.len() < BYTES_MAX => {
                bytes.extend_from_slice(&chunk[..read])
            }
            _ => return bytes,
        }
    }
}

impl Sink {
    async fn start(status: &'static str, more: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (kept, more) = (Arc::clone(&heard), more.to_owned());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (kept, more) = (Arc::clone(&kept), more.clone());
                tokio::spawn(async move {
                    let bytes = one_request(&mut stream).await;
                    let answer = answer(status, &more, &bytes);
                    kept.lock().unwrap().push(bytes);
                    stream.write_all(answer.as_bytes()).await.ok();
                    // Whatever follows on this connection would be a second request.
                    let mut rest = Vec::new();
                    stream.shutdown().await.ok();
                    stream.read_to_end(&mut rest).await.ok();
                    if !rest.is_empty() {
                        kept.lock().unwrap().push(rest);
                    }
                });
            }
        });
        Self { port, heard }
    }

    fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

/// The record whose id stands in the path, if any does.
fn answer(status: &str, more: &str, bytes: &[u8]) -> String {
    let line = String::from_utf8_lossy(bytes).into_owned();
    let segment = line.split(['/', '?', ' ']).nth(4).unwrap_or_default();
    let id = percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let body = json!({"id": id, "name": "x"}).to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// Method, path, query, headers and body of what was heard, as a strict server reads them.
struct Parsed {
    method: String,
    path: Vec<String>,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Json,
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

fn parsed(bytes: &[u8]) -> Parsed {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
    assert_eq!((line.len(), line[2]), (3, "HTTP/1.1"), "{line:?}");
    let (path, query) = line[1].split_once('?').unwrap_or((line[1], ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut headers = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        assert!(!value.contains(['\r', '\n', '\0']), "{line:?}");
        assert!(
            headers
                .insert(name.to_lowercase(), value.to_owned())
                .is_none(),
            "{name} twice"
        );
    }
    Parsed {
        method: line[0].to_owned(),
        path: path.split('/').skip(1).map(decoded).collect(),
        query: pairs
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect(),
        headers,
        body: serde_json::from_str(body).unwrap_or_default(),
    }
}

/// Headers that a request of ours has, and no other.
const HEADERS: [&str; 8] = [
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "user-agent",
    "x-note",
];

const HOSTILE: [&str; 34] = [
    "..",
    ".",
    "../..",
    "../admin",
    "..;/admin",
    "%2e%2e",
    "%2e%2e%2fadmin",
    "%252e%252e",
    "a/../../admin",
    "a//b",
    "/etc/passwd",
    "\\\\host\\share",
    "a\\..\\b",
    "a?x=1",
    "a#b",
    "a&admin=1",
    "a=b;c",
    "a%00b",
    "a%0d%0aHost:%20evil",
    "//evil.example/x",
    "http://evil.example/",
    "@evil.example",
    ":80@evil.example",
    "a@127.0.0.1",
    "{id}",
    "{{args.text}}",
    "{decision.key}",
    "\"},\"admin\":{\"x\":\"",
    "\\u0000",
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    "\u{ff0e}\u{ff0e}/admin",
    "a\u{2028}b",
    "\u{202e}evil",
];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_ids_and_arguments_are_one_segment_one_value_or_nothing() {
    let sink = Sink::start("200 OK", "").await;
    let note = "verb = \"append_note\"\ntarget = \"thing\"\n[caps]\nrecords_per_day = 5000\n[args.text]\ntype = \"text\"\nmax_chars = 400\n";
    let base = format!("http://127.0.0.1:{}", sink.port);
    let world = world(
        "sink/main",
        "sink",
        base,
        "token-of-the-sink",
        &[("thing_note", note)],
    );
    let mut agent = world.agent().await;
    let (mut written, mut refused) = (0, 0);
    for hostile in HOSTILE {
        for (id, text) in [(hostile, "plain"), ("plain", hostile)] {
            let before = sink.heard().len();
            let wish = wish(
                "sink/main",
                "thing_note",
                ("thing", id),
                json!({ "text": text }),
            );
            let asked = agent.authorize.authorize(e2e::Actor::request(&wish)).await;
            let done = match asked {
                Ok(_) => present(&mut agent, &wish).await,
                Err(status) => Err(status.message().to_owned()),
            };
            let heard = sink.heard().split_off(before);
            let wrote = done.as_ref().is_ok_and(|done| done.wrote);
            let (posts, count) = if wrote {
                (1, &mut written)
            } else {
                (0, &mut refused)
            };
            *count += 1;
            let posted = heard.iter().filter(|bytes| bytes.starts_with(b"POST "));
            assert_eq!(posted.count(), posts, "{id:?} {text:?}: {done:?}");
            for bytes in &heard {
                check(&parsed(bytes), (id, text), sink.port);
            }
        }
    }
    assert_eq!(written + refused, 2 * HOSTILE.len());
    assert!(written >= 50, "{written} written, {refused} refused");
    world.settle().await;
}

fn check(request: &Parsed, (id, text): (&str, &str), port: u16) {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let names = request
        .headers
        .keys()
        .all(|name| HEADERS.contains(&name.as_str()));
    assert!(names, "{:?}", request.headers);
    assert_eq!(request.headers["host"], format!("127.0.0.1:{port}"));
    assert_eq!(request.headers["authorization"], "Bearer token-of-the-sink");
    if request.method == "GET" {
        assert_eq!(path, ["base", "things", id]);
        assert_eq!(
            request.query,
            BTreeMap::from([("of".to_owned(), id.to_owned())])
        );
        return;
    }
    assert_eq!(
        (request.method.as_str(), path),
        ("POST", vec!["base", "things", id, "notes"])
    );
    assert_eq!(
        request.query,
        BTreeMap::from([("by".to_owned(), text.to_owned())])
    );
    assert_eq!(request.headers["x-note"], text);
    let more = format!("<{text}>");
    assert_eq!(request.body, json!({"text": text, "more": more}));
}

/// Addresses of a connection that are no place for a credential.
const ADDRESSES: [&str; 39] = [
    "http://10.0.0.1",
    "http://crm.example",
    "https://10.0.0.1",
    "https://172.16.0.1",
    "https://172.31.255.255",
    "https://192.168.0.1",
    "https://169.254.169.254",
    "http://169.254.169.254/latest/meta-data",
    "https://100.64.0.1",
    "https://0.0.0.0",
    "https://0",
    "https://2852039166",
    "https://0xa9fea9fe",
    "https://0251.0376.0251.0376",
    "https://0xa9.0xfe.0xa9.0xfe",
    "https://167772161",
    "https://10.1",
    "https://[::]",
    "https://[::ffff:10.0.0.1]",
    "https://[::ffff:169.254.169.254]",
    "https://[::ffff:a9fe:a9fe]",
    "https://[fe80::1]",
    "https://[fd00::1]",
    "https://[fc00::1]",
    "https://user:password@crm.example",
    "https://crm.example@127.0.0.1",
    "https://crm.example/?a=b",
    "https://crm.example/#a",
    "ftp://127.0.0.1",
    "gopher://127.0.0.1:70/_x",
    "unix:/run/x.sock",
    "javascript:alert(1)",
    "data:text/plain,x",
    "https://",
    "//crm.example",
    "crm.example",
    "",
    "https://crm.example:99999",
    "https://cr m.example",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_not_taken_is_shown_once() {
    let sink = Sink::start("401 Unauthorized", "").await;
    let base = format!("http://127.0.0.1:{}", sink.port);
    let note = "verb = \"append_note\"\ntarget = \"thing\"\n[caps]\nrecords_per_day = 50\n[args.text]\ntype = \"text\"\nmax_chars = 400\n";
    let cards = [("thing_note", note)];
    let world = world("sink/main", "sink", base, "token-of-the-sink", &cards);
    let mut agent = world.agent().await;
    let args = json!({"text": "x"});
    let wish = wish("sink/main", "thing_note", ("thing", "1"), args);
    let done = present(&mut agent, &wish).await;
    assert!(done.as_ref().is_ok_and(|done| !done.wrote), "{done:?}");
    // Some systems lock a user after a few of these.
    assert_eq!(sink.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_addresses_of_a_connection_are_refused_and_redirects_lead_nowhere() {
    let other = Sink::start("200 OK", "").await;
    let elsewhere = format!(
        "location: http://127.0.0.1:{}/base/things/x\r\n",
        other.port
    );
    let note = "verb = \"append_note\"\ntarget = \"thing\"\n[caps]\nrecords_per_day = 50\n[args.text]\ntype = \"text\"\nmax_chars = 400\n";
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let sink = Sink::start(status, &elsewhere).await;
        let base = format!("http://127.0.0.1:{}", sink.port);
        let world = world(
            "sink/main",
            "sink",
            base,
            "token-of-the-sink",
            &[("thing_note", note)],
        );
        let mut agent = world.agent().await;
        let wish = wish(
            "sink/main",
            "thing_note",
            ("thing", "1"),
            json!({"text": "x"}),
        );
        let done = present(&mut agent, &wish).await;
        assert!(
            done.as_ref().is_ok_and(|done| !done.wrote),
            "{status}: {done:?}"
        );
        assert!(
            sink.heard().iter().all(|bytes| bytes.starts_with(b"GET ")),
            "{status}"
        );
    }
    assert_eq!(other.heard().len(), 0);
    let world = e2e::World::prepare(&[]);
    let path = world.path("connectord.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (at, address) in ADDRESSES.iter().enumerate() {
        let name = format!("odd/c{at}");
        text.push_str(&format!("\n[[connection]]\nname = \"{name}\"\nsystem = \"sandbox\"\nbase_url = \"{address}\"\ntenants = [\"acme\"]\n"));
        std::fs::write(world.path("keys/other.secret"), "token-of-the-sink").unwrap();
        assert!(
            world
                .run(
                    "connectord",
                    &["creds", "add", &name, "--file", "keys/other.secret"]
                )
                .status
                .success()
        );
    }
    std::fs::write(&path, &text).unwrap();
    let said = world.run("connectord", &["doctor"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    for (at, address) in ADDRESSES.iter().enumerate() {
        let name = format!("odd/c{at}`");
        let told = said.lines().find(|line| line.contains(&name));
        let refused =
            told.is_some_and(|line| line.starts_with("FAIL") && line.contains("CONFIG_INVALID"));
        assert!(refused, "{address}: {told:?}\n{said}");
    }
    // A folder is for the driver of documents only.
    text.push_str("\n[[connection]]\nname = \"odd/file\"\nsystem = \"sandbox\"\nbase_url = \"file:///etc/passwd\"\ntenants = [\"acme\"]\n");
    std::fs::write(&path, text).unwrap();
    let refused = world.run("connectord", &["doctor"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("CONFIG_INVALID"),
        "{said}"
    );
}
