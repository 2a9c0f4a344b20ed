//! A hand-made MCP client of the bridge: lines in, lines out, everything it ever printed is kept.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value as Json, json};

use crate::{PATIENCE, World, program};

/// The bridge of one agent, and the client's side of it.
pub struct McpBridge {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Every line of stdout so far.
    pub said: Vec<String>,
    errors: PathBuf,
    next: i64,
    /// The revision that each request names by itself, if it does.
    inline: Option<&'static str>,
}

impl Drop for McpBridge {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl World {
    /// Flags of a bridge of an identity.
    pub fn mcp_flags(&self, name: &str) -> Vec<String> {
        [
            ("--cert", format!("certs/{name}.pem")),
            ("--key", format!("keys/{name}-tls.pem")),
            ("--cacert", "certs/ca.pem".to_owned()),
            ("--addr", format!("https://localhost:{}", self.policyd_port)),
            (
                "--connectord",
                format!("https://localhost:{}", self.connectord_port),
            ),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }

    /// A bridge on standard input and output, logging all it can.
    pub fn mcp(&self, name: &str, more: &[&str]) -> McpBridge {
        let errors = self.path(&format!("mcp-{}.log", uuid::Uuid::now_v7()));
        let mut child = Command::new(program("policyd"))
            .current_dir(self.folder.path())
            .arg("mcp")
            .args(self.mcp_flags(name))
            .args(more)
            .env("RUST_LOG", "trace,rmcp=trace,h2=trace,hyper=trace")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        McpBridge {
            input: child.stdin.take(),
            child,
            lines,
            said: Vec::new(),
            errors,
            next: 1,
            inline: None,
        }
    }

    /// The same, after the handshake of a revision; the newest has none.
    pub fn mcp_of(&self, name: &str, revision: &'static str, more: &[&str]) -> McpBridge {
        let mut bridge = self.mcp(name, more);
        if revision >= "2026-07-28" {
            bridge.inline = Some(revision);
            return bridge;
        }
        let hello = json!({"protocolVersion": revision, "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}});
        let answer = bridge.request("initialize", hello);
        assert_eq!(answer["result"]["protocolVersion"], revision, "{answer}");
        bridge.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
        bridge
    }
}

impl McpBridge {
    pub fn send(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_bytes()).unwrap();
        input.write_all(b"\n").unwrap();
        input.flush().unwrap();
    }

    /// The next line, which must be JSON-RPC.
    pub fn receive(&mut self) -> Json {
        let line = self
            .lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("no line: {error}\n{}", self.logged()));
        self.said.push(line.clone());
        let json: Json =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON: {e}: {line}"));
        assert_eq!(json["jsonrpc"], "2.0", "{line}");
        json
    }

    /// Asks under a fresh id and waits for its answer.
    pub fn request(&mut self, method: &str, mut params: Json) -> Json {
        if let Some(revision) = self.inline {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": revision,
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {}});
        }
        let id = self.next;
        self.next += 1;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&request.to_string());
        loop {
            let answer = self.receive();
            if answer["id"] == id {
                return answer;
            }
        }
    }

    /// Calls a tool; the whole result.
    pub fn tool(&mut self, name: &str, arguments: Json) -> Json {
        let params = json!({"name": name, "arguments": arguments});
        let answer = self.request("tools/call", params);
        let result = answer["result"].clone();
        assert!(result.is_object(), "{name}: {answer}");
        // The text says it too, for clients that read nothing else.
        assert!(
            result["content"][0]["text"]
                .as_str()
                .is_some_and(|t| !t.is_empty())
        );
        assert!(
            result["structuredContent"]["message"].is_string(),
            "{answer}"
        );
        result
    }

    /// Calls a tool that must not fail; its structured content.
    pub fn ok(&mut self, name: &str, arguments: Json) -> Json {
        let result = self.tool(name, arguments);
        assert_ne!(result["isError"], true, "{name}: {result}");
        result["structuredContent"].clone()
    }

    /// Calls a tool that must be refused; its reason code.
    pub fn refused(&mut self, name: &str, arguments: Json) -> String {
        let result = self.tool(name, arguments);
        assert_eq!(result["isError"], true, "{name}: {result}");
        let told = &result["structuredContent"];
        assert!(told["remedy"].is_string(), "{result}");
        told["reason_code"].as_str().unwrap().to_owned()
    }

    /// Asks for a stage by the generic tool; its decision id.
    pub fn asked(&mut self, deal: &str, stage: &str, mode: &str) -> String {
        let decision = self.ok(
            "request_authorization",
            json!({"action": "set_stage", "target_id": deal, "arguments": {"stage": stage},
                "mode": mode, "reason": "asked by mail"}),
        );
        decision["decision_id"].as_str().unwrap().to_owned()
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Hangs up, and waits until the bridge has ended by itself.
    pub fn hang_up(mut self) -> (Vec<String>, String) {
        drop(self.input.take());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push(line);
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.logged());
        (std::mem::take(&mut self.said), self.logged())
    }
}
