//! What a plug-in may plan and say: nothing leaves the base URL, no header of ours is set, and no no becomes a yes.

use std::sync::{Arc, Mutex};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request as Asked, Response, Status};
use writ_proto::pb::system_plugin_server::{SystemPlugin, SystemPluginServer};

use super::*;

const FILE: &str = r#"
kind = "x"
driver = "remote"
plugin = "x/1"
auth = { header = { name = "X-Key", value = "{secret.key}" } }
secret = ["key"]
headers = { X-Always = "{base_url}" }
[object.deal]
id = "[0-9]+"
read = { request = "GET /deals/{id}", id_at = "/id" }
field = { name = { at = "/name", as = "text" } }
"#;

fn good() -> pb::PlanResponse {
    pb::PlanResponse {
        plugin: "x/1".into(),
        call: Some(pb::PluginCall {
            method: "POST".into(),
            path: "/rpc".into(),
            query: "a=1".into(),
            headers: vec![header("x-own", "1")],
            body: b"{\"a\":1}".to_vec(),
        }),
        memory: vec![7],
        refused: String::new(),
    }
}

fn header(name: &str, value: &str) -> pb::PluginHeader {
    pb::PluginHeader {
        name: name.into(),
        value: value.into(),
    }
}

/// A plug-in that says what it is told to say.
#[derive(Clone, Default)]
struct Told {
    plan: Arc<Mutex<pb::PlanResponse>>,
    judge: Arc<Mutex<pb::JudgeResponse>>,
    asked: Arc<Mutex<Option<pb::JudgeRequest>>>,
}

#[tonic::async_trait]
impl SystemPlugin for Told {
    async fn plan(&self, _: Asked<pb::PlanRequest>) -> Result<Response<pb::PlanResponse>, Status> {
        Ok(Response::new(self.plan.lock().unwrap().clone()))
    }

    async fn judge(
        &self,
        request: Asked<pb::JudgeRequest>,
    ) -> Result<Response<pb::JudgeResponse>, Status> {
        *self.asked.lock().unwrap() = Some(request.into_inner());
        if self.judge.lock().unwrap().plugin == "hangs" {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(self.judge.lock().unwrap().clone()))
    }
}

struct Stage {
    told: Told,
    plugin: Plugin,
    bound: Bound,
    _folder: tempfile::TempDir,
}

fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("plugin.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let told = Told::default();
    let server =
        tonic::transport::Server::builder().add_service(SystemPluginServer::new(told.clone()));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    let bound = Bound::compile(FILE).unwrap();
    Stage {
        plugin: Plugin::new(&bound, &socket).unwrap(),
        told,
        bound,
        _folder: folder,
    }
}

fn read() -> Request {
    Request {
        method: "GET",
        path: "/deals/7".into(),
        query: String::new(),
        headers: vec![("If-Match".into(), "3".into())],
        body: Sent::Nothing,
    }
}

fn with(change: impl Fn(&mut pb::PluginCall)) -> pb::PluginCall {
    let mut call = good().call.unwrap();
    change(&mut call);
    call
}

/// What no file could send, and what is said of it.
fn odd() -> Vec<(&'static str, pb::PluginCall)> {
    let long = format!("/{}", "a".repeat(9_000));
    let paths = [
        ("begins with a slash", "https://elsewhere/"),
        ("begins with a slash", ""),
        ("begins with a slash", "/a?b=1"),
        ("begins with a slash", "/a b"),
        ("begins with a slash", "/a\r\nHost: b"),
        ("begins with a slash", long.as_str()),
        ("leads elsewhere", "/../rpc"),
        ("leads elsewhere", "/a/%2E%2e/rpc"),
        ("leads elsewhere", "/..%2fother/rpc"),
        ("leads elsewhere", "/%252e%252e/rpc"),
    ];
    let big = "b".repeat(2_000);
    let headers = [
        (
            "belongs to connectord",
            vec![header("Authorization", "Bearer x")],
        ),
        ("belongs to connectord", vec![header("cookie", "x")]),
        ("belongs to connectord", vec![header("x-key", "x")]),
        ("belongs to connectord", vec![header("X-ALWAYS", "x")]),
        (
            "belongs to connectord",
            vec![header("X-HTTP-Method-Override", "DELETE")],
        ),
        ("more than 16 headers", vec![header("a", "b"); 17]),
        ("holds what no header", vec![header("a", "b\r\nHost: c")]),
        ("holds what no header", vec![header("a", &big)]),
        ("is there twice", vec![header("A", "b"), header("a", "c")]),
    ];
    let mut all = vec![
        ("no method", with(|call| call.method = "DELETE".into())),
        ("no method", with(|call| call.method = "post".into())),
        (
            "begins with a slash",
            with(|call| call.query = "a=1#b".into()),
        ),
        ("no JSON", with(|call| call.body = b"a=1".to_vec())),
        (
            "more than 262144 bytes",
            with(|call| call.body = vec![b' '; 300_000]),
        ),
    ];
    all.extend(paths.map(|(says, path)| (says, with(|call| call.path = path.into()))));
    all.extend(headers.map(|(says, own)| (says, with(|call| call.headers = own.clone()))));
    all
}

#[tokio::test]
async fn only_what_a_file_could_send_is_planned() {
    let stage = stage();
    let planned = async |change: &dyn Fn(&mut pb::PlanResponse)| {
        let mut plan = good();
        change(&mut plan);
        *stage.told.plan.lock().unwrap() = plan;
        let planned = stage.plugin.plan(&read(), false).await;
        planned
            .map(|planned| planned.request.line())
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        planned(&|_| {}).await.unwrap(),
        "POST /rpc?a=1 [x-own: 1] {\"a\":1}"
    );
    for (says, call) in odd() {
        let why = planned(&|plan| plan.call = Some(call.clone()))
            .await
            .unwrap_err();
        assert!(why.contains(says), "{call:?}: {why}");
    }
    let why = planned(&|plan| plan.plugin = "x/2".into())
        .await
        .unwrap_err();
    assert!(why.contains("says it is `x/2`"), "{why}");
    let why = planned(&|plan| plan.call = None).await.unwrap_err();
    assert!(why.contains("no call"), "{why}");
    let why = planned(&|plan| plan.memory = vec![0; 70_000])
        .await
        .unwrap_err();
    assert!(why.contains("memory"), "{why}");
    assert_eq!(
        planned(&|plan| plan.refused = "not so".into())
            .await
            .unwrap_err(),
        "not so"
    );
}

fn answer(status: u16, body: Option<&str>) -> Answer {
    Answer {
        status,
        headers: vec![
            ("etag".into(), "4".into()),
            ("set-cookie".into(), "session=canary".into()),
            ("x-key".into(), "canary".into()),
        ],
        wait: None,
        body: body.map(|text| serde_json::from_str(text).unwrap()),
        media: "text/html".into(),
    }
}

#[tokio::test]
async fn a_plug_in_says_what_an_answer_means_but_makes_no_failure_a_success() {
    let stage = stage();
    *stage.told.plan.lock().unwrap() = good();
    let planned = stage.plugin.plan(&read(), false).await.unwrap();
    let judged = async |status: u16, body: Option<&str>, said: Option<(u32, &str)>| {
        *stage.told.judge.lock().unwrap() = pb::JudgeResponse {
            plugin: "x/1".into(),
            answer: said.map(|(status, body)| pb::PluginAnswer {
                status,
                headers: vec![header("Retry-After", "9")],
                body: body.as_bytes().to_vec(),
            }),
        };
        let judged = stage
            .plugin
            .judge(&planned, answer(status, body), &stage.bound)
            .await;
        judged.map(|judged| {
            (
                judged.status,
                judged.body.map(|body| body.to_string()),
                judged.wait,
            )
        })
    };
    let yes = judged(200, Some("{\"result\":1}"), Some((412, "{\"id\":1}")))
        .await
        .unwrap();
    assert_eq!(yes, (412, Some("{\"id\":1}".into()), Some(9)));
    let asked = stage.told.asked.lock().unwrap().take().unwrap();
    assert_eq!(
        (asked.memory, asked.asked.unwrap().path),
        (vec![7], "/deals/7".to_owned())
    );
    let shown = asked.answer.unwrap();
    assert_eq!(shown.body, b"{\"result\":1}");
    assert_eq!(
        shown.headers,
        [header("etag", "4")],
        "no plug-in sees a credential"
    );
    for (status, said, good) in [
        (200, 422, true),
        (404, 412, true),
        (500, 502, true),
        (500, 200, false),
        (404, 200, false),
        (202, 200, false),
        (302, 200, false),
        // Nobody knows whether that was done, so nobody says that it was not.
        (502, 422, false),
        (409, 412, false),
        (200, 99, false),
        (200, 700, false),
    ] {
        let got = judged(status, Some("{}"), Some((said, "{}"))).await;
        assert_eq!(got.is_ok(), good, "{status} {said}: {got:?}");
    }
    assert!(judged(200, Some("{}"), None).await.is_err());
    // What is no JSON is no answer, and no plug-in says otherwise.
    assert!(judged(200, None, Some((200, "{}"))).await.is_err());
    assert!(judged(404, None, Some((404, "{}"))).await.is_err());
    let limited = judged(429, None, Some((200, "{}"))).await.unwrap();
    assert_eq!(limited, (429, None, None));
    let odd = judged(200, Some("{}"), Some((200, "<html>")))
        .await
        .unwrap();
    assert_eq!(odd, (200, None, Some(9)), "nothing proves anything");
}

#[tokio::test]
async fn a_plug_in_that_hangs_or_is_another_one_leaves_a_doubt() {
    let stage = stage();
    *stage.told.plan.lock().unwrap() = good();
    let planned = stage.plugin.plan(&read(), false).await.unwrap();
    for (plugin, says) in [
        ("x/2", "says it is `x/2`"),
        ("hangs", "did not answer within 5 s"),
    ] {
        *stage.told.judge.lock().unwrap() = pb::JudgeResponse {
            plugin: plugin.into(),
            answer: Some(pb::PluginAnswer {
                status: 200,
                headers: vec![],
                body: b"{}".to_vec(),
            }),
        };
        let judged = stage
            .plugin
            .judge(&planned, answer(200, Some("{}")), &stage.bound)
            .await;
        let why = judged.unwrap_err();
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn a_file_names_its_plug_in_and_no_other_driver_does() {
    for (from, to, good) in [
        ("", "", true),
        ("plugin = \"x/1\"\n", "", false),
        ("x/1", "x 1", false),
        ("x/1", "", false),
        ("\"remote\"", "\"remote\"\nencode = \"json\"", false),
        ("\"remote\"", "\"http\"\nencode = \"json\"", false),
    ] {
        let bound = Bound::compile(&FILE.replace(from, to));
        assert_eq!(bound.is_ok(), good, "{to}: {bound:?}");
    }
}

#[tokio::test]
async fn a_plug_in_that_is_not_there_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bound = Bound::compile(FILE).unwrap();
    let plugin = Plugin::new(&bound, &folder.path().join("none.sock")).unwrap();
    let error = plugin.plan(&read(), true).await.unwrap_err();
    assert!(
        matches!(&error, SystemError::Unavailable(why) if why.contains("none.sock")),
        "{error:?}"
    );
}
