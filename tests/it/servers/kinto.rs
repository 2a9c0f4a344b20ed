//! Kinto, a store of documents, behind its system file.

use e2e::{Actor, Process, Wish, World, free_port};
use reqwest::{Client, Method};
use serde_json::{Value as Json, json};
use writ_proto::pb;
use writ_proto::pb::ExecutionState as State;

use super::super::rollout::present;
use super::{served, undone, wish, world};

async fn odd_ids_lead_nowhere(agent: &mut Actor) {
    for id in ["", "a b"] {
        let odd = wish(
            "docs/main",
            "doc_fields",
            ("doc", id),
            json!({"status": "open"}),
        );
        let refused = agent.authorize.authorize(Actor::request(&odd)).await;
        assert_eq!(e2e::code(&refused.unwrap_err()), "REQUEST_MALFORMED");
    }
    for id in ["..", ".", "%2e%2e", "a/b"] {
        let odd = present(
            agent,
            &wish(
                "docs/main",
                "doc_fields",
                ("doc", id),
                json!({"status": "open"}),
            ),
        )
        .await;
        assert!(odd.is_err() || !odd.unwrap().wrote, "{id}");
    }
}

const DOCUMENTS: [(&str, &str); 2] = [
    (
        "doc_fields",
        "verb = \"update_fields\"\ntarget = \"doc\"\n[caps]\nrecords_per_day = 50\n[args.status]\ntype = \"choice\"\nvalues = [\"open\", \"closed\"]\noptional = true\n[args.amount]\ntype = \"decimal\"\ndecimals = 2\nmin = \"0\"\nmax = \"1000\"\noptional = true\n",
    ),
    (
        "doc_note",
        "verb = \"append_note\"\ntarget = \"doc\"\n[caps]\nrecords_per_day = 50\n[args.text]\ntype = \"text\"\nmax_chars = 200\nwrite = \"append\"\n",
    ),
];

/// A Kinto with one document, and a world with it behind.
pub(super) struct Kinto {
    pub(super) world: World,
    port: u16,
    _server: Process,
    _folder: tempfile::TempDir,
}

impl Kinto {
    pub(super) async fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let dir = folder.path().join("kinto").display().to_string();
        let server = served(&folder, "kinto", &["serve", &dir, &port.to_string()]);
        let base = format!("http://127.0.0.1:{port}");
        let world = world(
            "docs/main",
            "kinto",
            base,
            "writ:writ-of-a-test",
            &DOCUMENTS,
        );
        let kinto = Self {
            world,
            port,
            _server: server,
            _folder: folder,
        };
        kinto
            .send(
                Method::PUT,
                json!({"data": {"title": "one", "status": "open"}}),
            )
            .await;
        kinto
    }

    fn call(&self, method: Method) -> reqwest::RequestBuilder {
        let port = self.port;
        let url = format!("http://127.0.0.1:{port}/v1/buckets/b/collections/c/records/t-1");
        Client::new()
            .request(method, url)
            .basic_auth("writ", Some("writ-of-a-test"))
    }

    async fn send(&self, method: Method, body: Json) {
        let sent = self.call(method).json(&body).send().await;
        assert!(sent.unwrap().status().is_success());
    }

    /// What a person does in Kinto itself.
    async fn person(&self, data: Json) {
        self.send(Method::PATCH, json!({ "data": data })).await;
    }

    async fn shown(&self) -> Json {
        let shown = self.call(Method::GET).send().await.unwrap();
        shown.json::<Json>().await.unwrap()["data"].clone()
    }
}

fn close(args: Json) -> Wish {
    wish("docs/main", "doc_fields", ("doc", "t-1"), args)
}

#[tokio::test(flavor = "multi_thread")]
async fn kinto_documents_change_by_version_and_come_back() {
    let kinto = Kinto::start().await;
    let mut agent = kinto.world.agent().await;
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..close(json!({"status": "closed"}))
    };
    assert_eq!(
        present(&mut agent, &dry).await.unwrap().state,
        i32::from(State::Done)
    );
    assert_eq!(kinto.shown().await["status"], "open");
    let done = present(
        &mut agent,
        &close(json!({"status": "closed", "amount": 12.5})),
    )
    .await
    .unwrap();
    assert!(done.wrote && !done.seen_other, "{done:?}");
    assert_eq!(
        (
            &kinto.shown().await["status"],
            &kinto.shown().await["amount"]
        ),
        (&json!("closed"), &json!(12.5))
    );
    let back = undone(&kinto.world, &mut agent, &done).await;
    assert!(
        back.undone,
        "a field that was not there is empty again: {back:?}"
    );
    assert_eq!(kinto.shown().await["status"], "open");

    let stale = present(
        &mut agent,
        &wish(
            "docs/main",
            "doc_fields",
            ("doc", "none"),
            json!({"status": "open"}),
        ),
    )
    .await
    .unwrap();
    assert_eq!(stale.reason_code, "TARGET_NOT_FOUND");
    let note = present(
        &mut agent,
        &wish(
            "docs/main",
            "doc_note",
            ("doc", "t-1"),
            json!({"text": "called"}),
        ),
    )
    .await
    .unwrap();
    assert!(
        note.wrote && note.created_id == note.decision_id,
        "{note:?}"
    );
    odd_ids_lead_nowhere(&mut agent).await;
    kinto.world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinto_keeps_what_a_person_wrote_since() {
    let kinto = Kinto::start().await;
    let mut agent = kinto.world.agent().await;
    let done = present(&mut agent, &close(json!({"status": "closed"})))
        .await
        .unwrap();
    kinto.person(json!({"status": "open"})).await;
    kinto
        .person(json!({"status": "closed", "title": "two"}))
        .await;
    let kept = undone(&kinto.world, &mut agent, &done).await;
    assert!(
        kept.undone,
        "the value stands as we left it, edited elsewhere: {kept:?}"
    );
    let done = present(&mut agent, &close(json!({"status": "closed"})))
        .await
        .unwrap();
    kinto.person(json!({"status": "open"})).await;
    let kept = undone(&kinto.world, &mut agent, &done).await;
    assert_eq!(
        (kept.undone, kept.reason_code.as_str()),
        (false, "PRECONDITION_FAILED"),
        "{kept:?}"
    );
    kinto.world.settle().await;
}
