//! A real Chromium over the DevTools protocol: what a person sees and presses, without a script in
//! the page. It reaches loopback only.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::{PATIENCE, root};

/// A phone of today.
pub const WIDTH: u32 = 390;
pub const HEIGHT: u32 = 844;

/// The program that `tests/services/chromium` finds.
pub fn chromium() -> PathBuf {
    let script = root().join("tests/services/chromium");
    let output = Command::new(script).arg("path").output().unwrap();
    let path = String::from_utf8(output.stdout).unwrap();
    let found = path.trim().to_owned();
    assert!(
        !found.is_empty(),
        "no Chromium: tests/services/chromium install"
    );
    found.into()
}

/// A browser with a profile of its own; it ends with its handle.
pub struct Browser {
    child: Child,
    profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Browser {
    pub fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(profile.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command
            .args([
                "--headless=new",
                "--remote-debugging-port=0",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-sync",
            ])
            .args([
                "--disable-component-update",
                "--disable-extensions",
                "--no-default-browser-check",
            ])
            .args([
                "--no-pings",
                "--disable-domain-reliability",
                "--disable-breakpad",
            ])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1")
            // The development CA is in nobody's store.
            .arg("--ignore-certificate-errors")
            .arg(format!("--window-size={WIDTH},{HEIGHT}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // Its sandbox does not work for root.
        command.arg("--no-sandbox").arg("about:blank");
        let child = command.spawn().unwrap();
        Self { child, profile }
    }

    async fn address(&self) -> String {
        let started = Instant::now();
        loop {
            let file = self.profile.path().join("DevToolsActivePort");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if let Some((port, path)) = text.trim().split_once('\n') {
                return format!("ws://127.0.0.1:{port}{path}");
            }
            let log = self.profile.path().join("log");
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "no Chromium: {}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A tab of a phone, with cookies of its own.
    pub async fn tab(&self) -> Tab {
        let (socket, _) = connect_async(self.address().await).await.unwrap();
        let mut tab = Tab {
            socket,
            session: None,
            last_id: 0,
            events: Vec::new(),
        };
        let context = tab.call("Target.createBrowserContext", json!({})).await;
        let target = json!({"url": "about:blank", "browserContextId": context["browserContextId"]});
        let target = tab.call("Target.createTarget", target).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = tab.call("Target.attachToTarget", attach).await;
        tab.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in [
            "Page.enable",
            "DOM.enable",
            "Network.enable",
            "Runtime.enable",
        ] {
            tab.call(domain, json!({})).await;
        }
        let phone =
            json!({"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 2, "mobile": true});
        tab.call("Emulation.setDeviceMetricsOverride", phone).await;
        tab
    }
}

/// One tab.
pub struct Tab {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last_id: u64,
    events: Vec<Value>,
}

impl Tab {
    async fn next(&mut self) -> Value {
        let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        let message = message.expect("Chromium is silent").unwrap().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    /// A command of the protocol; what fails ends the test.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
        loop {
            let mut answer = self.next().await;
            if answer["id"] == json!(self.last_id) {
                let result = answer["result"].take();
                return if result.is_null() {
                    Err(answer["error"].take())
                } else {
                    Ok(result)
                };
            }
            self.events.push(answer);
        }
    }

    /// Waits for an event that has not been waited for yet.
    pub async fn event(&mut self, method: &str) -> Value {
        loop {
            if let Some(at) = self
                .events
                .iter()
                .position(|event| event["method"] == method)
            {
                return self.events.remove(at)["params"].take();
            }
            let event = self.next().await;
            self.events.push(event);
        }
    }

    /// Opens an address and waits until it is loaded.
    pub async fn goto(&mut self, url: &str) {
        self.events.clear();
        let answer = self.call("Page.navigate", json!({"url": url})).await;
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.event("Page.loadEventFired").await;
    }

    async fn node(&mut self, selector: &str) -> Option<Value> {
        let document = self.call("DOM.getDocument", json!({"depth": 0})).await;
        let query = json!({"nodeId": document["root"]["nodeId"], "selector": selector});
        let found = self.call("DOM.querySelector", query).await["nodeId"].take();
        (found != json!(0)).then_some(found)
    }

    /// Whether there is something of a selector.
    pub async fn has(&mut self, selector: &str) -> bool {
        self.node(selector).await.is_some()
    }

    /// Presses the middle of something.
    pub async fn press(&mut self, selector: &str) {
        let node = self.node(selector).await;
        let node = node.unwrap_or_else(|| panic!("there is no {selector}"));
        self.call("DOM.scrollIntoViewIfNeeded", json!({"nodeId": node}))
            .await;
        let quads = self
            .call("DOM.getContentQuads", json!({"nodeId": node}))
            .await;
        let corner = |index: usize| quads["quads"][0][index].as_f64().unwrap();
        let (x, y) = ((corner(0) + corner(4)) / 2.0, (corner(1) + corner(5)) / 2.0);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Presses something that leads to another page, and waits for it.
    pub async fn follow(&mut self, selector: &str) {
        self.events.clear();
        self.press(selector).await;
        self.event("Page.loadEventFired").await;
    }

    /// Types into a field.
    pub async fn fill(&mut self, selector: &str, text: &str) {
        let node = self.node(selector).await;
        let node = node.unwrap_or_else(|| panic!("there is no {selector}"));
        self.call("DOM.focus", json!({"nodeId": node})).await;
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// The value of an expression; the inspector may run one where pages may not.
    pub async fn value(&mut self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", ask).await;
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].take()
    }

    /// What a person reads.
    pub async fn text(&mut self) -> String {
        let text = self.value("document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// A picture of the whole page in `target/screens`.
    pub async fn picture(&mut self, name: &str) {
        let ask = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", ask).await;
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let folder = root().join("target/screens");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// Light or dark.
    pub async fn scheme(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }
}
