//! An agent that is not Rust: the Python example against the real daemons.

use std::process::Command;

use e2e::{World, root};

#[tokio::test(flavor = "multi_thread")]
async fn the_python_agent_asks_and_executes() {
    let python = root().join("target/services/python/bin/python");
    if !python.exists() {
        eprintln!("SKIPPED: no Python environment; tests/run makes it");
        return;
    }
    let world = World::start();
    let run = |execute: bool| {
        let mut command = Command::new(&python);
        command
            .arg(root().join("deploy/examples/python/client.py"))
            .args(["--policyd", &format!("localhost:{}", world.policyd_port)])
            .args([
                "--connectord",
                &format!("localhost:{}", world.connectord_port),
            ])
            .args([
                "--name",
                "agent-acme-triage",
                "--certs",
                "certs",
                "--keys",
                "keys",
            ])
            .arg("--proto")
            .arg(root().join("proto"))
            .current_dir(world.folder.path());
        if execute {
            command.arg("--execute");
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    };
    assert!(run(false).contains("not written: would change deal D-104"));
    assert!(world.effects().await.is_empty());
    world.promote(&["set_stage"]).await;
    assert!(run(true).contains("wrote"));
    assert_eq!(world.effects().await.len(), 1);
    world.check_everything().await;
}
