//! The tutorial, word by word: its files are put where it says, its commands are run in their order, on a real Roundup.

use std::path::Path;
use std::process::Command;

use e2e::{Process, free_port, free_ports, program, root};

/// How far the ports of one folder lie apart.
const PORTS: u16 = 40;
/// Seconds, of which most are spent by `conform`.
const LONGEST: &str = "500";

/// The commands of a page, and what it writes into files, in their order, as one script.
fn script(page: &str) -> String {
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n".to_owned();
    let blocks = page.split("\n```").skip(1).step_by(2);
    for block in blocks {
        let (head, body) = block.split_once('\n').unwrap();
        match head.split_once(" file=") {
            Some((_, file)) => {
                script.push_str(&format!(
                    "cat >> {file} <<'END OF A FILE'\n{body}\nEND OF A FILE\n"
                ));
            }
            None => {
                assert_eq!(head, "sh", "{body}");
                script.push_str(body);
                script.push('\n');
                if body.contains("server &") {
                    script.push_str(READY);
                }
            }
        }
    }
    script
}

/// A person waits until all three have said that they are ready.
const READY: &str = "for port in $PORTS; do for _ in $(seq 400); do \
    (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.05; done; done\n";

/// A Roundup whose issue 1 is the one of the page.
async fn roundup(folder: &Path, port: u16) -> Process {
    let installed = root().join("target/services/roundup/bin/roundup-admin");
    assert!(
        installed.exists(),
        "run `tests/services/roundup install` (tests/run does it)"
    );
    let desk = folder.join("desk").display().to_string();
    let args = ["serve", &desk, &port.to_string()];
    let roundup = Process::start(
        folder,
        "roundup",
        &root().join("tests/services/roundup"),
        &args,
        &[],
    );
    let host = format!("http://127.0.0.1:{port}");
    let made = reqwest::Client::new()
        .post(format!("{host}/helpdesk/rest/data/issue"))
        .basic_auth("admin", Some("admin-of-a-test"))
        .header("X-Requested-With", "rest")
        .header("Origin", &host)
        .header("Referer", format!("{host}/helpdesk/"))
        .json(&serde_json::json!({"title": "the printer is on fire"}))
        .send();
    assert_eq!(made.await.unwrap().status(), 201);
    roundup
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_of_ones_own_is_guarded_as_the_page_says() {
    let page = std::fs::read_to_string(root().join("docs/tutorial.md")).unwrap();
    let (base, desk) = (free_ports(PORTS), free_port());
    let mut folder = tempfile::Builder::new();
    // Roundup is another user.
    let all_may_enter = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let folder = folder.permissions(all_may_enter).tempdir().unwrap();
    let _roundup = roundup(folder.path(), desk).await;
    for named in ["--port-base 8350", "127.0.0.1:8090/helpdesk"] {
        assert!(page.contains(named), "{named}");
    }
    let page = page
        .replace("--port-base 8350", &format!("--port-base {base}"))
        .replace(":8090/", &format!(":{desk}/"));
    let ports = [base, base + 10, base + 30].map(|port| port.to_string());
    let path = program("policyd").parent().unwrap().display().to_string();
    let answer = folder.path().join("answer");
    std::fs::write(&answer, "y\n").unwrap();
    // It ends the daemons too, whatever they do.
    let mut command = Command::new("timeout");
    command
        .args(["-k", "10", LONGEST, "bash", "-c", &script(&page)])
        .current_dir(folder.path())
        .env("PATH", format!("{path}:{}", e2e::search_path()))
        .env("PORTS", ports.join(" "))
        .stdin(std::fs::File::open(answer).unwrap());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = run.await.unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    for told in [
        "update_fields of an issue can be performed",
        "connection tracker/main: it answers, and takes the credential",
        "would change issue 1: title \"the printer is on fire\" -> \"Printer 3 smells of smoke\"",
        "0 fail",
        "written: change issue 1",
        "UNDONE: put back title",
    ] {
        assert!(out.contains(told), "{told}: {out}\n{err}");
    }
}
