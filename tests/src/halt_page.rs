//! The halt page as a test uses it: devices, operators, and requests as a browser sends them.

use std::path::Path;

use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::{Process, World, program};

/// A password of an operator in tests.
pub const PASSWORD: &str = "correct horse battery";

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let (_, rest) = self
            .body
            .split_once(&mark)
            .unwrap_or_else(|| panic!("no {name}: {self:?}"));
        rest.split_once('"').unwrap().0.to_owned()
    }
}

/// Somebody who speaks with a page server, with or without a cookie.
#[derive(Clone)]
pub struct Visitor {
    client: Client,
    pub base: String,
    pub cookie: Option<String>,
}

impl Visitor {
    pub fn new(addr: &str) -> Self {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            client,
            base: format!("http://{addr}"),
            cookie: None,
        }
    }

    pub fn request(&self, post: bool, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        let request = if post {
            self.client.post(url)
        } else {
            self.client.get(url)
        };
        match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.text().await.unwrap();
        Answer {
            status,
            headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(false, path)).await
    }

    /// A form as our own page sends it.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self
            .request(true, path)
            .header(ORIGIN, &self.base)
            .form(form);
        self.send(request).await
    }

    /// Opens the link of a device and presses its button.
    pub async fn set_up(&mut self, link: &str) -> Answer {
        let secret = link.rsplit('/').next().unwrap();
        let answer = self.post("/halt/device", &[("secret", secret)]).await;
        if answer.status == StatusCode::SEE_OTHER {
            let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
            self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        }
        answer
    }

    /// The seal of the forms that halt.
    pub async fn seal(&self) -> String {
        self.get("/halt").await.field("seal")
    }

    /// Presses a button that halts; gives the answer and the page it leads to.
    pub async fn halt(&self, form: &[(&str, &str)]) -> (Answer, Answer) {
        let seal = self.seal().await;
        let form = [form, &[("seal", seal.as_str())]].concat();
        let answer = self.post("/halt/set", &form).await;
        let next = answer
            .headers
            .get(LOCATION)
            .map(|place| place.to_str().unwrap());
        let page = self.get(next.unwrap_or("/halt")).await;
        (answer, page)
    }

    /// Fills in and sends the form of resuming.
    pub async fn resume(
        &self,
        scope: &str,
        operator: &str,
        password: &str,
        reason: &str,
    ) -> Answer {
        let form = self.get(&format!("/halt/resume?scope={scope}")).await;
        let (until, seal) = (form.field("until"), form.field("seal"));
        let form = [
            ("scope", scope),
            ("until", &until),
            ("seal", &seal),
            ("operator", operator),
            ("password", password),
            ("reason", reason),
        ];
        self.post("/halt/resume", &form).await
    }
}

impl World {
    /// What a command of ours prints as JSON.
    pub fn told(&self, args: &[&str]) -> Value {
        let output = self.run("connectord", &[args, &["-o", "jsonl"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The link of a new device; reach is `--global`, or `--tenant` and a tenant.
    pub fn device(&self, name: &str, reach: &[&str]) -> String {
        let told = self.told(&[&["halt", "devices", "add", name], reach].concat());
        told["link"].as_str().unwrap().to_owned()
    }

    pub fn operator_of_halts(&self, name: &str, reach: &[&str]) {
        let file = self.path("password");
        std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
        let file = file.display().to_string();
        let args = ["halt", "operators", "add", name, "--password-file", &file];
        self.told(&[&args, reach].concat());
    }

    /// Where a process of ours serves its page.
    pub fn http(&self, name: &str) -> String {
        address(&self.path(&format!("{name}.ready")))
    }

    /// A page server of its own.
    pub fn halt_server(&self) -> Process {
        let args = ["halt-server", "--addr", "127.0.0.1:0"];
        let path = self.folder.path();
        Process::start(
            path,
            "halt-server",
            &program("connectord"),
            &args,
            &self.env,
        )
    }

    /// A device that is set up, at the page of a process.
    pub async fn phone(&self, process: &str, name: &str, reach: &[&str]) -> Visitor {
        let link = self.device(name, reach);
        let mut visitor = Visitor::new(&self.http(process));
        let answer = visitor.set_up(&link).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        visitor
    }
}

fn address(ready: &Path) -> String {
    let text = std::fs::read_to_string(ready).unwrap();
    let ready: Value = serde_json::from_str(&text).unwrap();
    ready["http"].as_str().expect("it serves pages").to_owned()
}
