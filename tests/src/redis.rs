//! A Redis of a test's own, which the test may stop; it ends with its handle.

use std::path::PathBuf;
use std::process::Command;

use crate::{free_port, root};

/// Whether `tests/run` installed a Redis.
pub fn installed() -> bool {
    let there = std::env::var_os("WRIT_TEST_REDIS").is_some();
    if !there {
        println!("SKIPPED: WRIT_TEST_REDIS is not set");
    }
    there
}

/// A server on loopback that keeps nothing on disk.
pub struct Redis {
    folder: tempfile::TempDir,
    port: u16,
}

impl Redis {
    pub fn start() -> Self {
        let redis = Self {
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
        };
        redis.again();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Starts it again, without data.
    pub fn again(&self) {
        let port = self.port.to_string();
        assert!(script(&["start", &self.data(), &port]), "no Redis");
    }

    /// Ends it at once, as a power cut does.
    pub fn cut(&self) {
        assert!(script(&["kill", &self.data()]));
    }

    /// It stays connected and answers nothing any more.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Runs a command in it.
    pub fn run(&self, args: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &port])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(PathBuf::from(self.data()).join("pid")).unwrap();
        let status = Command::new("kill").args([signal, pid.trim()]).status();
        assert!(status.unwrap().success());
    }

    fn data(&self) -> String {
        self.folder.path().join("redis").display().to_string()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _stopped = script(&["kill", &self.data()]);
    }
}

fn script(args: &[&str]) -> bool {
    let path = root().join("tests/services/redis");
    Command::new(path).args(args).status().unwrap().success()
}
