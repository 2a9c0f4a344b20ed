//! Databases on a real PostgreSQL server, and servers of a test's own.

use std::path::Path;
use std::process::Command;

use crate::{free_port, root};

/// The server that `tests/run` started.
pub fn server() -> Option<String> {
    let server = std::env::var("WRIT_TEST_POSTGRES").ok();
    if server.is_none() {
        println!("SKIPPED: WRIT_TEST_POSTGRES names no server");
    }
    server
}

/// An empty database.
pub async fn fresh_database(server: &str) -> String {
    let name = format!("writ_{}", uuid::Uuid::now_v7().simple());
    let pool = sqlx::PgPool::connect(&format!("{server}/postgres"))
        .await
        .unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&pool).await.unwrap();
    pool.close().await;
    format!("{server}/{name}")
}

/// A server that a test may stop; it ends with its handle.
pub struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server runs as another user, who must get through the folder.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let cluster = Self {
            folder,
            port: free_port(),
        };
        cluster.again();
        cluster
    }

    pub fn url(&self) -> String {
        format!("postgres://writ@127.0.0.1:{}", self.port)
    }

    /// Starts it again over the same data.
    pub fn again(&self) {
        let port = self.port.to_string();
        assert!(script(&["start", &self.data(), &port]), "no PostgreSQL");
    }

    /// Ends it at once, as a power cut does.
    pub fn cut(&self) {
        assert!(script(&["kill", &self.data()]));
    }

    fn data(&self) -> String {
        self.folder.path().join("pg").display().to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _stopped = script(&["kill", &self.data()]);
    }
}

fn script(args: &[&str]) -> bool {
    let path = root().join("tests/services/postgres");
    run(&path, args)
}

fn run(path: &Path, args: &[&str]) -> bool {
    Command::new(path).args(args).status().unwrap().success()
}
