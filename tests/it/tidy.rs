//! The repository checks its own rules: layers, sizes, leftovers.

use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 100;
/// What the daemons run on, behind a feature of the contract's crate.
const HOST: &str = "crates/proto/src/host";

fn rust_files() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "pb" {
                walk(&path, out);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                out.push((path.strip_prefix(e2e::root()).unwrap().to_owned(), text));
            }
        }
    }
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        walk(&e2e::root().join(folder), &mut files);
    }
    files.retain(|(path, _)| !path.ends_with("pb/writ.v1.rs"));
    files.sort();
    files
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
}

/// Folders, and words that must not stand in their code.
const BANNED: [(&str, &[&str]); 10] = [
    (
        HOST,
        &[
            "crate::",
            "pb::",
            "cedar",
            "policyd",
            "connectord",
            "tenant",
        ],
    ),
    (
        "crates/proto/src",
        &[
            "tokio", "tonic", "axum", "sqlx", "Utc::now", "std::fs", "std::env",
        ],
    ),
    (
        "crates/policyd/src/domain",
        &[
            "tonic",
            "sqlx",
            "tokio",
            "std::fs",
            "std::env",
            "pb::",
            "crate::store",
            "crate::app",
            "crate::grpc",
            "proto::host",
        ],
    ),
    (
        "crates/connectord/src/domain",
        &[
            "tonic",
            "sqlx",
            "tokio",
            "std::fs",
            "std::env",
            "pb::",
            "crate::store",
            "crate::app",
            "crate::grpc",
            "crate::system",
            "proto::host",
        ],
    ),
    (
        "crates/connectord/src/wire",
        &["tonic", "sqlx", "crate::app", "crate::grpc"],
    ),
    ("crates/policyd/src/app", &["tonic", "sqlx::", "pb::"]),
    ("crates/connectord/src/app", &["tonic", "sqlx::", "pb::"]),
    (
        "crates/connectord/src/http",
        &[
            "tonic",
            "sqlx",
            "pb::",
            "crate::store",
            "crate::system",
            "crate::credentials",
            "crate::trust",
            "crate::grpc",
            "crate::domain",
        ],
    ),
    (
        "crates/connectord/src/access",
        &[
            "tonic",
            "axum",
            "sqlx",
            "pb::",
            "crate::app",
            "crate::store",
            "crate::config",
            "crate::http",
        ],
    ),
    ("crates/connectord/src", &["cedar_policy", "policyd::"]),
];

#[test]
fn layers_import_only_what_they_may() {
    for (folder, banned) in BANNED {
        for (path, text) in rust_files() {
            let is_test = path.ends_with("tests.rs");
            let host = path.starts_with(HOST) && folder != HOST;
            if !path.starts_with(folder) || is_test || host {
                continue;
            }
            let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for line in code_lines(product) {
                // Rooms of the host know each other, and nothing of the contract.
                let line = line.replace("crate::host::", "host::");
                let hit = banned.iter().find(|word| line.contains(**word));
                // The generated code is included by one line of its own crate.
                assert!(hit.is_none(), "{}: `{line}` names {hit:?}", path.display());
            }
        }
    }
}

#[test]
fn the_mcp_library_is_named_in_one_folder_that_knows_nothing_of_the_daemon() {
    let inside = ["crate::domain", "crate::store", "crate::server", "Signer"];
    for (path, text) in rust_files() {
        let is_bridge = path.starts_with("crates/policyd/src/mcp");
        if !path.starts_with("crates") {
            continue;
        }
        for line in code_lines(&text) {
            let names = line.contains("rmcp::") || line.contains("rmcp;");
            assert!(!names || is_bridge, "{}: `{line}`", path.display());
            let reaches = inside.iter().any(|word| line.contains(word));
            assert!(!is_bridge || !reaches, "{}: `{line}`", path.display());
        }
    }
}

#[test]
fn only_the_gates_build_permits_and_only_credentials_read_secrets() {
    for (path, text) in rust_files() {
        let builds =
            code_lines(&text).any(|line| line.contains("Permit {") && !line.contains("impl"));
        let gates = ["gate.rs", "undo_writ.rs", "undo_writ/tests.rs"];
        let is_gate = gates
            .iter()
            .any(|gate| path.ends_with(format!("connectord/src/domain/{gate}")));
        assert!(
            !builds || is_gate || path.starts_with("tests"),
            "{}",
            path.display()
        );
        let exposes = code_lines(&text).any(|line| line.contains("expose_secret"));
        let holders = [
            "credentials.rs",
            "credentials/oauth.rs",
            "credentials/oauth/tests.rs",
            "credentials/renewal.rs",
            "credentials/source.rs",
            "credentials/source/tests.rs",
            "credentials/vault.rs",
            "credentials/vault/tests.rs",
        ];
        let is_holder = holders
            .iter()
            .any(|holder| path.ends_with(format!("connectord/src/{holder}")));
        let holder = is_holder || path.starts_with("tests");
        assert!(!exposes || holder, "{}", path.display());
    }
}

#[test]
fn only_the_notifier_of_policyd_speaks_http() {
    let client = "reqwest";
    for (path, text) in rust_files() {
        let speaks = code_lines(&text).any(|line| line.contains(client));
        let may = path.ends_with("policyd/src/task/notify/http.rs");
        assert!(
            !speaks || may || !path.starts_with("crates/policyd"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn files_and_functions_stay_small_and_files_say_what_they_are() {
    let mut sizes = Vec::new();
    for (path, text) in rust_files() {
        let lines = text.lines().count();
        // What is read to trust the product; tests are as long as their cases.
        let is_test =
            path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        if !is_test && !path.ends_with("writ.v1.rs") {
            sizes.push(lines);
        }
        assert!(lines <= FILE_LINES_MAX, "{}: {lines} lines", path.display());
        assert!(text.starts_with("//!"), "{} has no header", path.display());
        let mut start = None;
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            let opens = code.starts_with("fn ") || code.contains(" fn ");
            if opens && !code.starts_with("//") && start.is_none() {
                start = Some((number, indent));
            }
            if let Some((from, depth)) = start {
                if code == "}" && indent == depth {
                    assert!(
                        number - from <= FUNCTION_LINES_MAX,
                        "{}:{from}",
                        path.display()
                    );
                    start = None;
                } else if code.ends_with(';') && indent == depth && number == from {
                    start = None;
                }
            }
        }
    }
    sizes.sort_unstable();
    let median = sizes[sizes.len() / 2];
    assert!(median <= 150, "median {median} lines a product file");
}

#[test]
fn nothing_is_left_over() {
    let words = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "unimplemented".to_owned() + "!",
        "#[ig".to_owned() + "nore",
    ];
    for (path, text) in rust_files() {
        for word in &words {
            assert!(!text.contains(word.as_str()), "{}: {word}", path.display());
        }
    }
}

#[test]
fn generated_code_and_samples_are_compiled_in_completely() {
    let sample =
        std::fs::read_to_string(e2e::root().join("crates/policyd/src/cli/daemon/sample.rs"))
            .unwrap();
    for tenant in ["acme", "globex"] {
        for folder in ["", "actions", "tests"] {
            let path = e2e::root().join("policies").join(tenant).join(folder);
            for entry in std::fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path
                        .strip_prefix(e2e::root())
                        .unwrap()
                        .display()
                        .to_string();
                    assert!(
                        sample.contains(&format!("\"{name}\"")),
                        "{name} is not in `init`"
                    );
                }
            }
        }
    }
}
