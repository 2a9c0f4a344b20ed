//! Credentials that connectord does not keep itself: in a file that somebody else keeps, and in a real Vault (OpenBao).

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use e2e::{Actor, PATIENCE, Process, World, free_ports, program, root, stage};
use reqwest::{Client, Method};
use serde_json::{Value as Json, json};

use crate::rollout::present;

/// A world whose connection to the sandbox has its credential elsewhere; the sealed one is forgotten.
fn prepared(credential: &str, more: &[String]) -> World {
    let mut world = World::prepare(&[]);
    assert!(
        world
            .run("connectord", &["creds", "rm", "crm/main"])
            .status
            .success()
    );
    let base = format!("http://127.0.0.1:{}", world.sandbox_port);
    world.overrides = vec![format!(
        "connection=[{{name=\"crm/main\", system=\"sandbox\", base_url=\"{base}\", tenants=[\"acme\"], credential={credential}}}]"
    )];
    world.overrides.extend_from_slice(more);
    world
}

/// Starts it, with its action live.
async fn start(world: &mut World) -> Actor {
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world.promote(&["set_stage"]).await;
    world.agent().await
}

fn secret(world: &World) -> String {
    let secret = std::fs::read_to_string(world.path("keys/sandbox.secret")).unwrap();
    secret.trim().to_owned()
}

/// A file for its owner alone.
fn private(folder: &tempfile::TempDir, text: &str) -> String {
    let file = folder.path().join("private");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

/// Asks for a stage until the answer is the wanted code, or empty where it is written.
async fn until(world: &World, agent: &mut Actor, wanted: &str) {
    let started = Instant::now();
    for round in 0_u32.. {
        let stage = stage(
            "D-104",
            ["qualified", "proposal"][usize::try_from(round % 2).unwrap()],
        );
        let got = match present(agent, &stage).await {
            Ok(execution) => execution.reason_code,
            Err(code) => code,
        };
        if got == wanted {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{wanted}: {got} {}",
            world.folder.path().display()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_somebody_else_is_read_followed_and_missed() {
    let mut world = prepared("{file=\"given/crm\"}", &[]);
    let secret = secret(&world);
    let given = world.path("given");
    std::fs::create_dir_all(&given).unwrap();
    let give = |text: &str, mode: u32| {
        let fresh = given.join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(&fresh, given.join("crm")).unwrap();
    };
    give(&secret, 0o440);
    let mut agent = start(&mut world).await;
    until(&world, &mut agent, "").await;
    give("another-token-that-the-crm-does-not-know", 0o440);
    until(&world, &mut agent, "SYSTEM_DENIED").await;
    give(&secret, 0o440);
    until(&world, &mut agent, "").await;
    std::fs::remove_file(world.path("given/crm")).unwrap();
    until(&world, &mut agent, "CREDENTIAL_MISSING").await;
    let sealed = world.path("keys/credentials.json");
    let kept = std::fs::read_to_string(sealed).unwrap();
    assert!(!kept.contains("crm/main"), "nothing of it is kept: {kept}");
}

struct Bao {
    port: u16,
    _server: Process,
    _folder: tempfile::TempDir,
}

impl Bao {
    fn start() -> Self {
        let (port, folder) = (free_ports(2), tempfile::tempdir().unwrap());
        let python = root().join("target/services/openbao/bin/python");
        assert!(
            python.exists(),
            "OpenBao is not installed: run `tests/services/openbao install` (tests/run does it)"
        );
        let dir = folder.path().join("bao").display().to_string();
        let args = ["serve", &dir, &port.to_string()];
        let server = root().join("tests/services/openbao");
        let server = Process::start(folder.path(), "openbao", &server, &args, &[]);
        Self {
            port,
            _server: server,
            _folder: folder,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Json) {
        let url = format!("http://127.0.0.1:{}/v1/{path}", self.port);
        let call = Client::new()
            .request(method, url)
            .header("x-vault-token", "root-of-a-test");
        let answer = call.json(&body).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{path}: {}",
            answer.text().await.unwrap()
        );
    }

    async fn put(&self, token: &str) {
        self.call(
            Method::POST,
            "secret/data/crm",
            json!({"data": {"token": token}}),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_gives_replaces_and_takes_away_a_credential_and_its_silence_takes_nothing() {
    let bao = Bao::start();
    let folder = tempfile::tempdir().unwrap();
    let file = private(&folder, "writ-secret-id");
    let vault = format!(
        "vault={{addr=\"http://127.0.0.1:{}\", role_id=\"writ-role\", secret_id_file=\"{}\", refresh=\"1s\"}}",
        bao.port, file
    );
    let mut world = prepared("{vault=\"secret/data/crm\"}", &[vault]);
    let secret = secret(&world);
    bao.put(&secret).await;
    let mut agent = start(&mut world).await;
    until(&world, &mut agent, "").await;
    bao.put("another-token-that-the-crm-does-not-know").await;
    until(&world, &mut agent, "SYSTEM_DENIED").await;
    bao.put(&secret).await;
    until(&world, &mut agent, "").await;
    bao.call(Method::PUT, "sys/seal", json!({})).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    until(&world, &mut agent, "").await;
    for folder in ["keys", "state"] {
        for entry in std::fs::read_dir(world.path(folder)).unwrap() {
            let path = entry.unwrap().path();
            let kept = std::fs::read(&path).unwrap_or_default();
            let token = secret.as_bytes();
            let holds = kept.windows(token.len()).any(|bytes| bytes == token);
            assert!(
                !holds || path.ends_with("sandbox.secret"),
                "{}",
                path.display()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_deleted_in_the_vault_is_used_no_more() {
    let bao = Bao::start();
    let folder = tempfile::tempdir().unwrap();
    let file = private(&folder, "root-of-a-test");
    let vault = format!(
        "vault={{addr=\"http://127.0.0.1:{}\", token_file=\"{}\", refresh=\"1s\"}}",
        bao.port, file
    );
    let mut world = prepared("{vault=\"secret/data/crm\"}", &[vault]);
    bao.put(&secret(&world)).await;
    let mut agent = start(&mut world).await;
    until(&world, &mut agent, "").await;
    bao.call(Method::DELETE, "secret/data/crm", json!({})).await;
    until(&world, &mut agent, "CREDENTIAL_MISSING").await;
}
