//! A real Roundup helpdesk, driven by its system file alone. What happened is read in Roundup's
//! own journal.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{Actor, Process, Wish, World, failpoint_connectord, free_port, program, root, stage};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

const ACTIONS: [&str; 2] = ["set_issue_status", "append_issue_note"];

/// Writ with a helpdesk that holds issue 1, which is `unread`.
pub(super) struct Desk {
    pub(super) world: World,
    /// Outside of the folder of the world: Roundup is another user, and may not see keys.
    folder: tempfile::TempDir,
    /// Roundup itself, and the port by which it is known.
    ports: (u16, u16),
    _roundup: Process,
}

impl Desk {
    pub(super) async fn start() -> Self {
        let port = free_port();
        Self::start_behind(port, port, ACTIONS.as_slice()).await
    }

    /// Roundup listens on one port and is called on another.
    async fn start_behind(port: u16, web_port: u16, promoted: &[&str]) -> Self {
        let script = root().join("tests/services/roundup");
        assert!(
            root()
                .join("target/services/roundup/bin/roundup-admin")
                .exists(),
            "Roundup is not installed: run `tests/services/roundup install` (tests/run does it)"
        );
        let mut world = World::prepare(&[]);
        let mut folder = tempfile::Builder::new();
        let all_may_enter = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let folder = folder.permissions(all_may_enter).tempdir().unwrap();
        let dir = folder.path().display().to_string();
        let args = ["serve", &dir, &port.to_string(), &web_port.to_string()];
        let roundup = Process::start(world.folder.path(), "roundup", &script, &args, &[]);
        std::fs::write(world.path("keys/helpdesk.secret"), "writ:writ-of-a-test").unwrap();
        let add = [
            "creds",
            "add",
            "helpdesk/main",
            "--file",
            "keys/helpdesk.secret",
        ];
        assert!(world.run("connectord", &add).status.success());
        let base = format!("http://127.0.0.1:{web_port}/helpdesk");
        world.connections.push(("helpdesk/main", "roundup", base));
        world.start_policyd();
        world.start_connectord(&program("connectord"), &[]);
        world.promote(promoted).await;
        let desk = Self {
            world,
            folder,
            ports: (port, web_port),
            _roundup: roundup,
        };
        let body = json!({"title": "the printer is on fire"});
        let made = desk.person(Method::POST, "issue").json(&body).send().await;
        assert_eq!(made.unwrap().status(), 201);
        desk
    }

    /// A call of a person, past Writ.
    fn person(&self, method: Method, path: &str) -> RequestBuilder {
        let (port, web_port) = self.ports;
        let url = format!("http://127.0.0.1:{port}/helpdesk/rest/data/{path}");
        let host = format!("127.0.0.1:{web_port}");
        Client::new()
            .request(method, url)
            .basic_auth("admin", Some("admin-of-a-test"))
            .header("X-Requested-With", "rest")
            .header("Origin", format!("http://{host}"))
            .header("Host", host)
    }

    async fn version(&self) -> String {
        let answer = self.person(Method::GET, "issue/1").send().await.unwrap();
        answer.headers()["etag"].to_str().unwrap().to_owned()
    }

    async fn person_edits(&self, body: &Json) {
        let request = self.person(Method::PATCH, "issue/1");
        let request = request.header("If-Match", self.version().await).json(body);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    fn admin(&self, args: &[&str]) -> String {
        admin(self.folder.path(), args)
    }

    /// Lines of Roundup's journal of issue 1 that tell what `who` did, oldest first.
    fn journal(&self, who: &str) -> Vec<String> {
        let all = self.admin(&["history", "issue1"]);
        let mine = all
            .lines()
            .filter(|line| line.starts_with(&format!("{who}(")));
        mine.map(|line| line.split_once(") ").unwrap().1.to_owned())
            .collect()
    }

    async fn set_status(&self, status: &str) -> pb::Execution {
        let mut agent = self.world.agent().await;
        let asked = agent.ask(&set_status(status)).await;
        agent.present(&asked).await.unwrap()
    }
}

fn admin(folder: &std::path::Path, args: &[&str]) -> String {
    let mut command = Command::new(root().join("tests/services/roundup"));
    let output = command
        .arg("admin")
        .arg(folder)
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn set_status(status: &str) -> Wish {
    Wish {
        connection: "helpdesk/main".into(),
        action: "set_issue_status".into(),
        target: ("issue".into(), "1".into()),
        args: json!({"status": status}).to_string(),
        ..stage("", "")
    }
}

fn note(text: &str) -> Wish {
    Wish {
        action: "append_issue_note".into(),
        args: json!({"text": text}).to_string(),
        ..set_status("")
    }
}

fn change(change: &pb::FieldChange) -> (&str, &str, &str) {
    (
        change.field.as_str(),
        change.before_json.as_deref().unwrap_or("nothing"),
        change.after_json.as_deref().unwrap_or("nothing"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_the_journal_alone_and_a_live_change_is_undone() {
    let port = free_port();
    let desk = Desk::start_behind(port, port, &[]).await;
    let (mut agent, mut operator) = (desk.world.agent().await, desk.world.operator().await);
    let version = desk.version().await;
    for mut wish in [set_status("in-progress"), note("we are on it")] {
        wish.mode = pb::Mode::DryRun;
        let asked = agent.ask(&wish).await;
        let dry = agent.present(&asked).await.unwrap();
        assert!(!dry.wrote && dry.sentence.starts_with("would "), "{dry:?}");
    }
    assert!(desk.journal("writ").is_empty());
    assert_eq!(desk.version().await, version);
    assert_eq!(
        desk.admin(&["list", "msg"]).trim(),
        "",
        "no message was made"
    );

    desk.world.promote(&["set_issue_status"]).await;
    let done = desk.set_status("in-progress").await;
    assert!(done.wrote && done.collateral.is_empty(), "{done:?}");
    assert_eq!(done.message, "", "the status reads back as it was written");
    let expected = ("status", "\"unread\"", "\"in-progress\"");
    assert_eq!(change(&done.changes[0]), expected);
    assert_eq!(desk.journal("writ"), ["set status was unread(1)"]);

    let item = operator.undo(&done).await;
    assert!(item.undone, "{item:?}");
    assert_eq!(desk.admin(&["get", "status", "issue1"]).trim(), "1");
    assert_eq!(desk.journal("writ")[1..], ["set status was in-progress(5)"]);
    assert_eq!(operator.undo(&done).await.reason_code, "ALREADY_UNDONE");
    let (_, records) = desk.world.settle().await;
    assert!(records.iter().any(|record| record["status"] == "UNDONE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_stale_and_a_record_that_drifted_are_left_alone() {
    let desk = Desk::start().await;
    let (mut agent, mut operator) = (desk.world.agent().await, desk.world.operator().await);
    let mut request = Actor::request(&set_status("testing"));
    request.call.as_mut().unwrap().precondition = Some(desk.version().await);
    let asked = agent.ask_for(request).await;
    desk.person_edits(&json!({"title": "the printer burns"}))
        .await;
    let stale = agent.present(&asked).await.unwrap();
    assert_eq!(stale.reason_code, "PRECONDITION_FAILED", "{stale:?}");
    assert!(!stale.wrote && stale.state == i32::from(State::Failed));
    assert!(desk.journal("writ").is_empty());

    let done = desk.set_status("testing").await;
    assert!(done.wrote, "{done:?}");
    desk.person_edits(&json!({"status": "need-eg"})).await;
    let item = operator.undo(&done).await;
    assert_eq!(item.reason_code, "PRECONDITION_FAILED");
    let both = ["testing", "need-eg"];
    assert!(
        both.iter().all(|value| item.message.contains(value)),
        "{item:?}"
    );
    assert_eq!(desk.journal("writ").len(), 1, "nothing was overwritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_once_in_the_journal() {
    let desk = Desk::start().await;
    let mut agent = desk.world.agent().await;
    for (wish, lines) in [(set_status("testing"), 1), (note("we are on it"), 2)] {
        let asked = agent.ask(&wish).await;
        assert!(agent.present(&asked).await.unwrap().wrote);
        assert_eq!(agent.present(&asked).await.unwrap_err(), "TOKEN_REPLAYED");
        assert_eq!(desk.journal("writ").len(), lines);
    }
    assert_eq!(desk.admin(&["list", "msg"]).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_one_message_and_what_roundup_does_by_itself_is_reported() {
    let desk = Desk::start().await;
    let (mut agent, mut operator) = (desk.world.agent().await, desk.world.operator().await);
    let text = "We are on it.\nIt is the \"fuser\": 100 \u{20ac}.";
    let asked = agent.ask(&note(text)).await;
    let done = agent.present(&asked).await.unwrap();
    assert!(done.wrote && done.changes.is_empty(), "{done:?}");
    let collateral: Vec<_> = done.collateral.iter().map(change).collect();
    assert_eq!(collateral, [("status", "\"unread\"", "\"chatting\"")]);
    assert_eq!(done.created_id, "1");
    assert_eq!(desk.admin(&["get", "content", "msg1"]).trim_end(), text);
    assert_eq!(desk.admin(&["get", "messages", "issue1"]).trim(), "['1']");
    let journal = ["set modified messages: added: msg1; status was unread(1)"];
    assert_eq!(desk.journal("writ"), journal);
    assert_eq!(operator.undo(&done).await.reason_code, "UNDO_IMPOSSIBLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_whose_answer_was_lost_is_found_by_its_key() {
    let mut desk = Desk::start().await;
    desk.world.kill_connectord();
    let stop = [("CONNECTORD_CRASH_AT", "after_write")];
    desk.world.start_connectord(&failpoint_connectord(), &stop);
    let mut agent = desk.world.agent().await;
    let asked = agent.ask(&note("we are on it")).await;
    let call = tokio::spawn(async move { agent.present(&asked).await });
    let started = Instant::now();
    let connectord = desk.world.connectord.as_ref().unwrap();
    while !connectord.logged().contains("crash point after_write") {
        assert!(started.elapsed() < e2e::PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    desk.world.kill_connectord();
    call.await.unwrap().unwrap_err();
    desk.world.start_connectord(&program("connectord"), &[]);
    let (executions, _) = desk.world.settle().await;
    let found = &executions[0];
    assert_eq!(
        found.state,
        i32::from(State::ReconciledApplied),
        "{found:?}"
    );
    assert!(found.wrote && found.created_id == "1", "{found:?}");
    assert_eq!(desk.journal("writ").len(), 1);
}

/// Passes calls on to Roundup; right before the first PATCH a person edits the issue.
async fn with_an_edit_before_the_write(
    listener: TcpListener,
    port: u16,
    folder: std::path::PathBuf,
) {
    let mut edit = Some(folder);
    loop {
        let (mut caller, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            assert!(caller.read_buf(&mut request).await.unwrap() > 0);
        }
        if let Some(folder) = edit.take_if(|_| request.starts_with(b"PATCH ")) {
            admin(&folder, &["set", "issue1", "title=edited in between"]);
        }
        // One call a connection, so that the end of the answer is the end of the stream.
        let once = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.replacen("\r\n", "\r\nConnection: close\r\n", 1)
        };
        let mut roundup = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        roundup.write_all(once(&request).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        roundup.read_to_end(&mut answer).await.unwrap();
        caller.write_all(once(&answer).as_bytes()).await.unwrap();
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .split_once("content-length: ")
        .map_or("0", |(_, rest)| rest);
    body.len()
        >= length
            .lines()
            .next()
            .unwrap()
            .trim()
            .parse::<usize>()
            .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_between_the_read_and_the_write_is_not_overwritten() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, web_port) = (free_port(), listener.local_addr().unwrap().port());
    let desk = Desk::start_behind(port, web_port, &ACTIONS).await;
    let folder = desk.folder.path().to_owned();
    tokio::spawn(with_an_edit_before_the_write(listener, port, folder));
    let first = desk.set_status("testing").await;
    assert_eq!(first.reason_code, "PRECONDITION_FAILED", "{first:?}");
    assert!(
        first.message.contains("If-Match"),
        "Roundup says it: {first:?}"
    );
    assert!(!first.wrote && desk.journal("writ").is_empty());
    let again = desk.set_status("testing").await;
    assert!(again.wrote, "{again:?}");
    assert_eq!(desk.journal("writ"), ["set status was unread(1)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_could_not_be_linked_is_settled_as_not_written() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, web_port) = (free_port(), listener.local_addr().unwrap().port());
    let desk = Desk::start_behind(port, web_port, &ACTIONS).await;
    let folder = desk.folder.path().to_owned();
    tokio::spawn(with_an_edit_before_the_write(listener, port, folder));
    let mut agent = desk.world.agent().await;
    let asked = agent.ask(&note("we are on it")).await;
    let doubtful = agent.present(&asked).await.unwrap();
    assert_eq!(doubtful.state, i32::from(State::InDoubt), "{doubtful:?}");
    let (executions, _) = desk.world.settle().await;
    let settled = &executions[0];
    let expected = i32::from(State::ReconciledNotApplied);
    assert_eq!(settled.state, expected, "{settled:?}");
    assert!(!settled.wrote && desk.journal("writ").is_empty());
    assert_eq!(desk.admin(&["get", "messages", "issue1"]).trim(), "[]");
}
