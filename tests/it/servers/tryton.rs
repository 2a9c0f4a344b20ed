//! Tryton, which speaks JSON-RPC, behind the plug-in of deploy/plugins: the real server, the plug-in as a process of its
//! own, and what becomes of a write when the plug-in goes away.

use std::path::PathBuf;

use e2e::{Process, Wish, World, free_port, program, root};
use reqwest::Client;
use serde_json::{Value as Json, json};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

use super::super::rollout::present;
use super::{prepared, served, undone, wish};

const CARDS: [(&str, &str); 2] = [
    (
        "rename_party",
        "verb = \"update_fields\"\ntarget = \"party\"\n[caps]\nrecords_per_day = 500\n[args.name]\ntype = \"text\"\nmax_chars = 80\noptional = true\n[args.active]\ntype = \"boolean\"\noptional = true\n",
    ),
    (
        "note_party",
        "verb = \"append_note\"\ntarget = \"party\"\n[caps]\nrecords_per_day = 500\n[args.text]\ntype = \"text\"\nmax_chars = 200\nwrite = \"append\"\n",
    ),
];

/// A Tryton with one party, its plug-in, and a world with both behind.
pub(super) struct Tryton {
    pub(super) world: World,
    port: u16,
    plugin: Option<Process>,
    folder: tempfile::TempDir,
    _server: Process,
}

impl Tryton {
    pub(super) async fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let dir = folder.path().join("tryton").display().to_string();
        let server = served(&folder, "tryton", &["serve", &dir, &port.to_string()]);
        let base = format!("http://127.0.0.1:{port}/crm");
        let secret = "admin:writ-of-a-test";
        let mut world = prepared(("tryton/main", "tryton", base), secret, &CARDS, |text| {
            // What SQLite makes of a boolean.
            text.replace("as = \"boolean\"", "as = \"boolean\", words = [1, 0]")
        });
        let mut tryton = {
            let socket = folder.path().join("tryton.sock");
            world.plugins.push(("tryton/main", socket));
            Self {
                world,
                port,
                plugin: None,
                folder,
                _server: server,
            }
        };
        tryton.start_plugin();
        tryton.world.start_policyd();
        tryton.world.start_connectord(&program("connectord"), &[]);
        tryton
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("tryton.sock")
    }

    fn start_plugin(&mut self) {
        let socket = self.socket().display().to_string();
        let program = root().join("tests/services/tryton");
        self.plugin = Some(Process::start(
            self.folder.path(),
            "tryton-plugin",
            &program,
            &["plugin", &socket],
            &[],
        ));
    }

    /// What a person does in Tryton itself.
    async fn rpc(&self, method: &str, params: Json) -> Json {
        let url = format!("http://127.0.0.1:{}/crm/rpc/", self.port);
        let body = json!({"id": 1, "method": method, "params": params});
        let call = Client::new()
            .post(url)
            .basic_auth("admin", Some("writ-of-a-test"));
        let answer = call.json(&body).send().await.unwrap();
        let answer: Json = answer.json().await.unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    async fn name(&self) -> String {
        let shown = self
            .rpc("model.party.party.read", json!([[1], ["name"], {}]))
            .await;
        shown[0]["name"].as_str().unwrap().to_owned()
    }

    async fn notes(&self) -> usize {
        let found = self
            .rpc("model.ir.note.search_count", json!([[], 0, 100, {}]))
            .await;
        usize::try_from(found.as_u64().unwrap()).unwrap()
    }
}

fn rename(name: &str) -> Wish {
    wish(
        "tryton/main",
        "rename_party",
        ("party", "1"),
        json!({ "name": name }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn tryton_changes_through_its_plug_in_and_comes_back() {
    let tryton = Tryton::start().await;
    let mut agent = tryton.world.agent().await;
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..rename("Acme Ltd")
    };
    let seen = present(&mut agent, &dry).await.unwrap();
    assert_eq!(seen.state, i32::from(State::Done), "{seen:?}");
    assert_eq!(tryton.name().await, "Acme");
    let done = present(&mut agent, &rename("Acme Ltd")).await.unwrap();
    assert!(done.wrote && !done.seen_other, "{done:?}");
    assert_eq!(tryton.name().await, "Acme Ltd");
    let back = undone(&tryton.world, &mut agent, &done).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(tryton.name().await, "Acme");
    // Tryton's own answers, through the plug-in: no such record, no such right.
    let none = Wish {
        target: ("party".into(), "9999".into()),
        ..rename("x")
    };
    let none = present(&mut agent, &none).await.unwrap();
    assert_eq!(none.reason_code, "TARGET_NOT_FOUND", "{none:?}");
    tryton
        .rpc(
            "model.party.party.write",
            json!([[1], {"active": false}, {}]),
        )
        .await;
    let refused = present(&mut agent, &rename("Acme 3")).await.unwrap();
    assert_eq!(
        refused.reason_code, "SYSTEM_REFUSED",
        "an inactive party takes no name: {refused:?}"
    );
    assert!(refused.message.contains("not allowed"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_plug_in_nothing_is_sent() {
    let mut tryton = Tryton::start().await;
    let mut agent = tryton.world.agent().await;
    let note = wish(
        "tryton/main",
        "note_party",
        ("party", "1"),
        json!({"text": "called"}),
    );
    let done = present(&mut agent, &note).await.unwrap();
    assert!(done.wrote, "{done:?}");
    assert_eq!(tryton.notes().await, 1);
    tryton.plugin.take().unwrap().kill();
    let away = present(&mut agent, &note_again(&note)).await.unwrap();
    assert_eq!(away.reason_code, "SYSTEM_UNAVAILABLE", "{away:?}");
    assert!(away.message.contains("plug-in at"), "{away:?}");
    assert_eq!(tryton.notes().await, 1, "nothing was sent");
    tryton.start_plugin();
    let again = present(&mut agent, &note_again(&note)).await.unwrap();
    assert!(again.wrote, "{again:?}");
    assert_eq!(tryton.notes().await, 2);
}

fn note_again(wish: &Wish) -> Wish {
    Wish {
        args: json!({"text": e2e::request_id()}).to_string(),
        ..wish.clone()
    }
}
