//! Answers as OpenBao 2.7 gives them, and worse ones: what is read, what is gone, and what nobody knows.

use std::sync::Mutex as Plain;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::*;
use crate::credentials::source::Source;

/// What is answered to each path, and what was asked.
#[derive(Debug, Default)]
struct Told {
    answers: BTreeMap<&'static str, (u16, String)>,
    asked: Vec<String>,
}

type Fake = Arc<Plain<Told>>;

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map_or("-", |value| value.to_str().unwrap())
    };
    let path = request.uri().path().to_owned();
    let line = format!(
        "{} {path} {} {}",
        request.method(),
        header("x-vault-token"),
        header("x-vault-namespace")
    );
    let mut told = fake.lock().unwrap();
    told.asked.push(line);
    let (status, body) = told
        .answers
        .get(path.as_str())
        .cloned()
        .unwrap_or((404, "{\"errors\":[]}".into()));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

struct Stage {
    fake: Fake,
    vault: Arc<Vault>,
    slot: Arc<Slot>,
    _folder: tempfile::TempDir,
}

const LOGIN: &str = "/v1/auth/approle/login";
const RENEW: &str = "/v1/auth/token/renew-self";
const LOOKUP: &str = "/v1/auth/token/lookup-self";
const CRM: &str = "/v1/secret/data/crm";
const GOOD: &str = r#"{"request_id":"u","data":{"data":{"user":"bob","token":"t<1>"},"metadata":{"version":2,"destroyed":false}}}"#;

fn token(name: &str, seconds: u64) -> String {
    format!(
        "{{\"data\":null,\"auth\":{{\"client_token\":\"{name}\",\"lease_duration\":{seconds},\"renewable\":true}}}}"
    )
}

async fn stage(login: impl Fn(&Path) -> Login, stale_after: Duration) -> Stage {
    let fake = Fake::default();
    fake.lock().unwrap().answers = BTreeMap::from([
        (LOGIN, (200, token("t-1", 3_600))),
        (CRM, (200, GOOD.into())),
    ]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(&fake));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let folder = tempfile::tempdir().unwrap();
    crate::private_file::write_private(&folder.path().join("id"), b"the-secret-id\n").unwrap();
    let place = Place {
        addr,
        ca: None,
        namespace: "team".into(),
        login: login(folder.path()),
    };
    let slot = Arc::new(Slot::new("secret/data/crm", stale_after));
    Stage {
        fake,
        vault: Arc::new(Vault::new(place, vec![Arc::clone(&slot)])),
        slot,
        _folder: folder,
    }
}

fn approle(folder: &Path) -> Login {
    Login::AppRole {
        mount: "approle".into(),
        role_id: "r".into(),
        secret_id_file: folder.join("id"),
    }
}

impl Stage {
    fn says(&self, path: &'static str, status: u16, body: &str) {
        self.fake
            .lock()
            .unwrap()
            .answers
            .insert(path, (status, body.into()));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.lock().unwrap().asked)
    }

    fn held(&self) -> Result<String, String> {
        let secret = Source::Vault(Arc::clone(&self.slot)).secret();
        secret
            .map(|secret| secret.expose_secret().to_owned())
            .map_err(|refusal| refusal.detail)
    }
}

#[tokio::test]
async fn a_secret_is_read_with_a_token_that_is_asked_for_once() {
    let stage = stage(approle, Duration::from_secs(60)).await;
    assert!(stage.vault.refresh().await && stage.vault.refresh().await);
    assert_eq!(stage.held().unwrap(), r#"{"token":"t<1>","user":"bob"}"#);
    assert_eq!(
        stage.asked(),
        [
            format!("POST {LOGIN} - team"),
            format!("GET {CRM} t-1 team"),
            format!("GET {CRM} t-1 team")
        ]
    );
    // Version 1 of KV does not nest.
    stage.says(
        CRM,
        200,
        r#"{"lease_duration":2764800,"data":{"token":"one"}}"#,
    );
    assert!(stage.vault.refresh().await);
    assert_eq!(stage.held().unwrap(), r#"{"token":"one"}"#);
}

#[tokio::test]
async fn what_is_gone_is_used_no_more_and_what_nobody_knows_is_used_for_a_while() {
    for (status, body, stays) in [
        (404, r#"{"errors":[]}"#, false),
        (
            404,
            r#"{"data":{"data":null,"metadata":{"deletion_time":"2026"}}}"#,
            false,
        ),
        (
            403,
            r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
            false,
        ),
        (503, r#"{"errors":["Vault is sealed"]}"#, true),
        (500, "", true),
        (307, "", true),
        (200, "<html>", true),
        (200, r#"{"data":{"data":{},"metadata":{}}}"#, false),
        (404, "<html>default backend", true),
        (404, r#"{"errors":["namespace not found"]}"#, true),
        (200, r#"{"data":{"data":{"port":5},"metadata":{}}}"#, true),
    ] {
        let stage = stage(approle, Duration::from_secs(60)).await;
        assert!(stage.vault.refresh().await);
        stage.says(CRM, status, body);
        stage.says(LOOKUP, 200, "{}");
        assert_eq!(stage.vault.refresh().await, !stays, "{status} {body}");
        assert_eq!(stage.held().is_ok(), stays, "{status} {body}");
    }
    let stage = stage(approle, Duration::ZERO).await;
    assert!(stage.vault.refresh().await);
    stage.says(CRM, 503, r#"{"errors":["Vault is sealed"]}"#);
    assert!(!stage.vault.refresh().await);
    let why = stage.held().unwrap_err();
    assert!(why.ends_with("HTTP 503 Vault is sealed"), "{why}");
}

#[tokio::test]
async fn a_token_is_renewed_while_that_helps_and_asked_for_anew_otherwise() {
    let stage = stage(approle, Duration::from_secs(60)).await;
    // It ends at once, so it is renewed at once; renewed for its whole life, it goes on.
    stage.says(LOGIN, 200, &token("t-1", 0));
    assert!(
        stage.vault.refresh().await,
        "zero means that it does not end"
    );
    assert!(stage.vault.refresh().await);
    assert_eq!(
        stage
            .asked()
            .iter()
            .filter(|line| line.contains(LOGIN))
            .count(),
        1
    );
    *stage.vault.token.lock().await = Some(Token {
        secret: SecretString::from("t-1"),
        lasts: Some((
            Instant::now() + Duration::from_secs(10),
            Duration::from_secs(60),
        )),
        made: Instant::now(),
    });
    stage.says(RENEW, 200, &token("t-1", 60));
    assert!(stage.vault.refresh().await);
    assert_eq!(
        stage.asked(),
        [
            format!("POST {RENEW} t-1 team"),
            format!("GET {CRM} t-1 team")
        ]
    );
    // The Vault lets it live on for a moment only: it is near the end of all renewals.
    *stage.vault.token.lock().await = Some(Token {
        secret: SecretString::from("t-1"),
        lasts: Some((
            Instant::now() + Duration::from_secs(10),
            Duration::from_secs(60),
        )),
        made: Instant::now(),
    });
    stage.says(RENEW, 200, &token("t-1", 5));
    stage.says(LOGIN, 200, &token("t-2", 60));
    assert!(stage.vault.refresh().await);
    assert_eq!(
        stage.asked().last().unwrap(),
        &format!("GET {CRM} t-2 team")
    );
    // A lease that no clock knows does not end.
    assert!(lease(token("t", u64::MAX).as_bytes()).is_ok_and(|token| token.lasts.is_none()));
    // One that was revoked is asked for anew, and the secret stays meanwhile.
    stage.says(LOOKUP, 403, r#"{"errors":["permission denied"]}"#);
    stage.says(LOGIN, 400, r#"{"errors":["invalid role or secret ID"]}"#);
    stage.says(CRM, 403, r#"{"errors":["permission denied"]}"#);
    assert!(!stage.vault.refresh().await);
    assert!(stage.held().is_ok(), "without a token nobody knows");
}

#[tokio::test]
async fn a_token_in_a_file_is_read_each_time_and_its_refusal_says_nothing_of_the_secret() {
    let stage = stage(
        |folder| Login::TokenFile(folder.join("id")),
        Duration::from_secs(60),
    )
    .await;
    assert!(stage.vault.refresh().await);
    assert_eq!(stage.asked(), [format!("GET {CRM} the-secret-id team")]);
    stage.says(CRM, 403, r#"{"errors":["permission denied"]}"#);
    stage.says(LOOKUP, 403, r#"{"errors":["permission denied"]}"#);
    assert!(!stage.vault.refresh().await);
    assert!(stage.held().is_ok());
    // A token that is taken and may not: that is said of the path.
    stage.says(LOOKUP, 200, "{}");
    assert!(stage.vault.refresh().await);
    assert!(stage.held().is_err());
}

#[test]
fn a_vault_is_reached_by_https_or_on_this_machine() {
    for (addr, good) in [
        ("https://vault.example:8200", true),
        ("https://10.0.0.5:8200", true),
        ("http://127.0.0.1:8200", true),
        ("http://vault.example:8200", false),
        ("ftp://vault.example", false),
        ("vault.example", false),
    ] {
        let login = Login::TokenFile(PathBuf::new());
        let place = Place {
            addr: addr.into(),
            ca: None,
            namespace: String::new(),
            login,
        };
        assert_eq!(client(&place).is_ok(), good, "{addr}");
    }
}
