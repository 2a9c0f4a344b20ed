//! A refresh token that is good once, at an issuer on loopback.

use std::sync::Mutex as StdMutex;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;

use super::*;
use crate::credentials::CredentialStore;
use crate::credentials::oauth::LIVES_MAX;
use crate::private_file::write_private;

/// What the issuer was shown, and what it does before it answers.
struct Desk {
    shown: StdMutex<Vec<String>>,
    before: Box<dyn Fn(usize) + Send + Sync>,
    slow: Duration,
    status: StatusCode,
}

async fn give(State(desk): State<Arc<Desk>>, form: String) -> (StatusCode, axum::Json<Json>) {
    let shown = form.split("refresh%5Ftoken=").nth(1);
    let shown = shown.or_else(|| form.split("refresh_token=").nth(1));
    let shown = shown
        .unwrap_or_default()
        .split('&')
        .next()
        .unwrap_or_default();
    let count = {
        let mut all = desk.shown.lock().unwrap();
        all.push(shown.to_owned());
        all.len()
    };
    (desk.before)(count);
    tokio::time::sleep(desk.slow).await;
    let answer = json!({"access_token": "t", "token_type": "Bearer", "refresh_token": format!("r{count}"),
        "error": "slow_down", "error_description": format!("not {shown}")});
    (desk.status, axum::Json(answer))
}

struct World {
    folder: tempfile::TempDir,
    connection: String,
    store: CredentialStore,
    desk: Arc<Desk>,
    issuer: Issuer,
}

impl World {
    /// `timeout` is that of calls to the system of record.
    async fn with(desk: Desk, folder: tempfile::TempDir, timeout: Duration) -> Self {
        let key = folder.path().join("seal.key");
        write_private(&key, hex::encode([7; 32]).as_bytes()).unwrap();
        let store = CredentialStore::new(folder.path().join("credentials.json"), key);
        let connection = format!("crm/{}", crate::ids::new_id());
        store.put(&connection, "client:secret:r0", 5).unwrap();
        let desk = Arc::new(desk);
        let router = Router::new()
            .route("/token", post(give))
            .with_state(Arc::clone(&desk));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, router).into_future());
        let issuer = Issuer {
            client: Client::builder().timeout(timeout).build().unwrap(),
            url: Url::parse(&format!("http://{addr}/token")).unwrap(),
            origin: String::new(),
            credential: store.open(&connection).unwrap(),
            oauth: OAuth2 {
                header: None,
                path: "/token".to_owned(),
                parts: Grant::RefreshToken
                    .parts()
                    .iter()
                    .map(|part| (*part).to_owned())
                    .collect(),
                grant: Grant::RefreshToken,
                basic: false,
                scope: String::new(),
                origin_at: None,
                lives: LIVES_MAX,
            },
            held: Mutex::default(),
            process: Box::leak(Box::new(watch::Sender::new((0, false)))),
        };
        Self {
            folder,
            connection,
            store,
            desk,
            issuer,
        }
    }

    async fn quick(
        before: impl Fn(usize) + Send + Sync + 'static,
        folder: tempfile::TempDir,
    ) -> Self {
        let desk = Desk {
            shown: StdMutex::default(),
            before: Box::new(before),
            slow: Duration::ZERO,
            status: StatusCode::OK,
        };
        Self::with(desk, folder, Duration::from_secs(8)).await
    }

    /// The issuer of the connection as it is made after its credential was replaced.
    fn anew(&self) -> Issuer {
        Issuer {
            client: self.issuer.client.clone(),
            url: self.issuer.url.clone(),
            origin: String::new(),
            credential: self.store.open(&self.connection).unwrap(),
            oauth: self.issuer.oauth.clone(),
            held: Mutex::default(),
            process: self.issuer.process,
        }
    }

    /// Whether a token is left that could not be stored.
    fn is_left(&self) -> bool {
        unsaved().contains_key(&self.issuer.credential.slot())
    }

    fn shown(&self) -> Vec<String> {
        self.desk.shown.lock().unwrap().clone()
    }

    /// Whether another process could show what is sealed now.
    fn turn_is_free(&self) -> bool {
        let files = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let mut turns = files.filter(|file| file.path().to_string_lossy().ends_with(".turn"));
        let path = turns.next().unwrap().path();
        std::fs::File::open(path).unwrap().try_lock().is_ok()
    }
}

#[tokio::test]
async fn a_refresh_token_that_cannot_be_stored_keeps_the_turn() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials.refresh.json");
    let blocked = file.clone();
    // Between the question and the answer its place is taken.
    let block = move |count| {
        if count == 1 {
            std::fs::remove_file(&blocked).unwrap();
            std::fs::create_dir(&blocked).unwrap();
        }
    };
    let world = World::quick(block, folder).await;
    assert!(world.issuer.refreshed().await.is_err());
    assert!(world.is_left() && !world.turn_is_free());
    assert!(
        world.issuer.refreshed().await.is_err(),
        "nothing is asked until it is stored"
    );
    assert!(world.is_left() && !world.turn_is_free());
    std::fs::remove_dir(&file).unwrap();
    world.issuer.refreshed().await.unwrap();
    assert!(!world.is_left() && world.turn_is_free());
    assert_eq!(world.shown(), ["r0", "r1"], "each was shown once");
}

#[tokio::test]
async fn what_came_of_a_credential_that_is_gone_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials.refresh.json");
    let block = move |_| {
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
    };
    let world = World::quick(block, folder).await;
    assert!(world.issuer.refreshed().await.is_err());
    world
        .store
        .put(&world.connection, "client:secret:other", 6)
        .unwrap();
    let gone = world.issuer.asked().await.unwrap_err();
    assert!(
        matches!(&gone, CallError::Denied(why) if why.contains("replaced")),
        "{gone}"
    );
    assert!(!world.is_left() && world.turn_is_free());
    assert_eq!(world.shown(), ["r0"]);
}

#[tokio::test]
async fn a_credential_that_is_replaced_while_a_token_is_asked_for_is_not_held_up() {
    let folder = tempfile::tempdir().unwrap();
    let known: Arc<OnceLock<(CredentialStore, String)>> = Arc::default();
    let replaced = Arc::clone(&known);
    let replace = move |count| {
        if count == 1 {
            let (store, connection) = replaced.get().unwrap();
            store.put(connection, "client:secret:other", 6).unwrap();
        }
    };
    let world = World::quick(replace, folder).await;
    drop(known.set((world.store.clone(), world.connection.clone())));
    let gone = world.issuer.asked().await.unwrap_err();
    assert!(matches!(&gone, CallError::Denied(_)), "{gone}");
    assert!(!world.is_left() && world.turn_is_free());
    world.anew().asked().await.unwrap();
    assert_eq!(world.shown(), ["r0", "other"]);
}

#[tokio::test]
async fn what_was_left_of_an_older_credential_holds_up_neither_the_new_one_nor_is_lost_too_early() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials.refresh.json");
    let blocked = file.clone();
    let block = move |count| {
        if count == 1 {
            std::fs::remove_file(&blocked).unwrap();
            std::fs::create_dir(&blocked).unwrap();
        }
    };
    let world = World::quick(block, folder).await;
    assert!(world.issuer.asked().await.is_err());
    // The file of the credentials is away for a moment, as while a copy is put back.
    let (here, away) = (
        world.folder.path().join("credentials.json"),
        world.folder.path().join("away"),
    );
    std::fs::rename(&here, &away).unwrap();
    let unknown = world.issuer.asked().await.unwrap_err();
    assert!(!matches!(&unknown, CallError::Denied(_)), "{unknown}");
    assert!(world.is_left());
    std::fs::rename(&away, &here).unwrap();
    world
        .store
        .put(&world.connection, "client:secret:other", 6)
        .unwrap();
    std::fs::remove_dir(&file).unwrap();
    world.anew().asked().await.unwrap();
    assert!(!world.is_left());
    assert_eq!(world.shown(), ["r0", "other"]);
}

#[tokio::test]
async fn an_issuer_has_more_time_than_the_system_of_record() {
    let desk = Desk {
        shown: StdMutex::default(),
        before: Box::new(|_| {}),
        slow: Duration::from_millis(400),
        status: StatusCode::OK,
    };
    let folder = tempfile::tempdir().unwrap();
    let world = World::with(desk, folder, Duration::from_millis(50)).await;
    world.issuer.refreshed().await.unwrap();
    world.issuer.refreshed().await.unwrap();
    assert_eq!(world.shown(), ["r0", "r1"]);
}

#[tokio::test]
async fn an_issuer_that_is_asked_too_often_or_repeats_a_secret_is_left_alone() {
    let desk = Desk {
        shown: StdMutex::default(),
        before: Box::new(|_| {}),
        slow: Duration::ZERO,
        status: StatusCode::TOO_MANY_REQUESTS,
    };
    let folder = tempfile::tempdir().unwrap();
    let world = World::with(desk, folder, Duration::from_secs(8)).await;
    let refused = world.issuer.refreshed().await.unwrap_err();
    let CallError::Denied(said) = &refused else {
        panic!("{refused}");
    };
    assert!(said.contains("not ***") && !said.contains("r0"), "{said}");
}

#[tokio::test]
async fn a_refresh_token_that_waits_to_be_stored_is_kept_meanwhile_and_overtakes_nothing() {
    let world = World::quick(|_| {}, tempfile::tempdir().unwrap()).await;
    let other = Arc::clone(&STORING).lock_owned().await;
    let credential = world.issuer.credential.clone();
    let turn = credential.turn().unwrap();
    let mut storing = std::pin::pin!(put_down(Unsaved {
        credential,
        refresh: SecretString::from("r9".to_owned()),
        turn,
    }));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut storing).await;
    assert!(early.is_err() && world.is_left());
    assert!(world.issuer.credential.newer().unwrap().is_none());
    drop(other);
    assert!(storing.await.unwrap().is_some() && !world.is_left());
    assert!(world.issuer.credential.newer().unwrap().is_some());
}

#[tokio::test]
async fn a_process_that_ends_while_it_waits_for_the_file_shows_no_refresh_token() {
    let world = World::quick(|_| {}, tempfile::tempdir().unwrap()).await;
    let lock = world.folder.path().join("credentials.lock");
    let lock = std::fs::File::open(lock).unwrap();
    lock.try_lock().unwrap();
    let mut refreshing = std::pin::pin!(world.issuer.refreshed());
    let early = tokio::time::timeout(Duration::from_millis(200), &mut refreshing).await;
    assert!(early.is_err());
    world.issuer.process.send_modify(|(_, ends)| *ends = true);
    drop(lock);
    assert!(refreshing.await.is_err());
    assert!(world.shown().is_empty());
}
