//! The documents tell the truth: their commands exist, and those of the README work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use e2e::{program, root};

fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = [
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "deploy/examples/python/README.md",
    ]
    .iter()
    .map(|name| root().join(name))
    .filter(|path| path.exists())
    .collect();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "md") {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (
            path.strip_prefix(root()).unwrap().display().to_string(),
            text,
        )
    };
    paths.into_iter().map(read).collect()
}

/// The commands of ours in a document: lines of code blocks and spans of code.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    let mut fenced = false;
    for line in joined.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.extend(line.split(" && ").map(str::to_owned));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    let ours =
        |command: &String| command.starts_with("policyd ") || command.starts_with("connectord ");
    found
        .into_iter()
        .map(|command| command.split('#').next().unwrap().trim().to_owned())
        .filter(ours)
        .collect()
}

fn help(path: &[String]) -> String {
    let mut command = Command::new(program(&path[0]));
    let output = command.args(&path[1..]).arg("--help").output().unwrap();
    assert!(output.status.success(), "{path:?} --help");
    String::from_utf8(output.stdout).unwrap()
}

/// Names of the commands below one, from its help.
fn below(help: &str) -> BTreeSet<String> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        return BTreeSet::new();
    };
    list.lines()
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_and_flag_in_the_documents_exists() {
    let mut helps: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut checked = 0;
    for (name, text) in documents() {
        for command in commands(&text) {
            let words: Vec<&str> = command.split_whitespace().collect();
            let mut path = vec![words[0].to_owned()];
            for word in &words[1..] {
                let known = helps.entry(path.clone()).or_insert_with(|| help(&path));
                let subcommands = below(known);
                if subcommands.contains(*word) {
                    path.push((*word).to_owned());
                } else {
                    let placeholder = word.starts_with(['-', '[', '<']) || word.contains("...");
                    let wanted = !subcommands.is_empty() && !placeholder;
                    let choice = word.contains('|');
                    assert!(!wanted || choice, "{name}: `{command}`: no `{word}`");
                    break;
                }
            }
            let known = helps.entry(path.clone()).or_insert_with(|| help(&path));
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let flag = flag
                    .split('=')
                    .next()
                    .unwrap()
                    .trim_end_matches([']', ',', '.', ';']);
                assert!(known.contains(flag), "{name}: `{command}`: no `{flag}`");
            }
            checked += 1;
        }
    }
    assert!(checked >= 30, "{checked} commands were found");
}

/// All of `--help`, as one page.
fn reference() -> String {
    let mut page = "# Command line\n\nMade from `--help` of both programs; `UPDATE=1` rewrites it in the tests.\n".to_owned();
    let mut open = vec![vec!["connectord".to_owned()], vec!["policyd".to_owned()]];
    while let Some(path) = open.pop() {
        let text = help(&path);
        page.push_str(&format!(
            "\n## {}\n\n```text\n{}\n```\n",
            path.join(" "),
            text.trim()
        ));
        for name in below(&text).into_iter().rev() {
            let mut next = path.clone();
            next.push(name);
            open.push(next);
        }
    }
    page
}

#[test]
fn the_command_line_reference_is_current() {
    let path = root().join("docs/cli.md");
    let page = reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == page, "docs/cli.md is old; UPDATE=1 rewrites it");
}

/// The commands of a section, as one script: one that starts servers runs beside the next.
fn script(page: &str, heading: &str) -> String {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let section = text.split_once(heading).unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p); wait' EXIT\n".to_owned();
    for line in section
        .split("```\n")
        .skip(1)
        .step_by(2)
        .flat_map(str::lines)
    {
        script.push_str(line);
        let started: &[u16] = match line.trim_end_matches(" &") {
            "policyd dev my-writ" => &[7380, 7350, 7360],
            "policyd server" => &[7350],
            "connectord server" => &[7360],
            other if other.starts_with("connectord sandbox serve") => &[7380],
            _ => &[],
        };
        let beside = !started.is_empty() && !line.ends_with('&');
        script.push_str(if beside { " &\n" } else { "\n" });
        for port in started {
            // A person is slower than this script.
            script.push_str(&format!(
                "for _ in $(seq 200); do (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.05; done\n"
            ));
        }
    }
    script
}

/// Runs it in a folder of its own; gives what it printed.
fn run(script: &str) -> String {
    for port in [7350, 7360, 7380] {
        let free = std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        assert!(free, "port {port} is taken; the documents use it");
    }
    let folder = tempfile::tempdir().unwrap();
    let binaries = program("policyd").parent().unwrap().to_owned();
    let path = format!("{}:{}", binaries.display(), e2e::search_path());
    let answer = folder.path().join("answer");
    std::fs::write(&answer, "y\n").unwrap();
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(folder.path())
        .env("PATH", path)
        .stdin(std::fs::File::open(answer).unwrap())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{err}");
    out
}

#[test]
fn a_writ_starts_as_the_documents_say() {
    let out = run(&script("README.md", "## Start your own"));
    for told in [
        "ALLOW",
        "would change",
        "written:",
        "UNDONE: put back",
        "HALTED tenant:acme/agent:triage",
        "log.jsonl: OK",
    ] {
        assert!(out.contains(told), "{told}: {out}");
    }
    let asks = "policyd authorize set_stage stage=qualified --target deal/D-104 --cert certs/agent-acme-triage.pem --dry-run\n";
    let by_hand = script("docs/operations.md", "## Start\n") + asks;
    let out = run(&by_hand);
    assert!(out.contains("ALLOW"), "{out}");
}
