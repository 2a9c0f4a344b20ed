//! A daemon as a child process that ends with its handle.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// A process that ends with its handle.
pub struct Process {
    child: Child,
    pub log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Process {
    pub fn start(
        folder: &Path,
        name: &str,
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let ready = folder.join(format!("{name}.ready"));
        let _stale = std::fs::remove_file(&ready);
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = Command::new(program)
            .current_dir(folder)
            .args(args)
            .arg("--ready-file")
            .arg(&ready)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut process = Self { child, log };
        let started = Instant::now();
        while !ready.exists() {
            if let Some(status) = process.child.try_wait().unwrap() {
                panic!("{name} ended with {status}: {}", process.logged());
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{name} is not ready: {}",
                process.logged()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        process
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, as an operator ends a daemon, and wait until it is gone.
    pub fn end(mut self) {
        let id = self.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        assert!(told.unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }

    /// SIGKILL, and wait until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
