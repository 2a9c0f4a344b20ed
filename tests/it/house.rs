//! The layout of the crates: no layer needs one that needs it, folders stay small, and every file that
//! ARCHITECTURE names is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;

const FILES_MAX: usize = 14;

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn product(krate: &str) -> Vec<(String, String)> {
    let root = e2e::root().join("crates").join(krate).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let named = found.into_iter().map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        (name, text)
    });
    named.collect()
}

/// Which layers (folders and files beside `lib.rs`) name which others.
fn needs(krate: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (single, group) = (
        Regex::new(r"(?-u:\b)crate::([a-z_]+)").unwrap(),
        Regex::new(r"(?-u:\b)crate::\{([^;]*)\};").unwrap(),
    );
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in product(krate) {
        let layer = name.split(['/', '.']).next().unwrap().to_owned();
        if name.contains("tests")
            || name.contains("conformance")
            || layer == "lib"
            || layer == "main"
        {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: String = code
            .lines()
            .filter(|line| !line.trim().starts_with("//"))
            .collect();
        let grouped = group.captures_iter(&code).flat_map(|hit| {
            let inner = hit.get(1).unwrap().as_str().to_owned();
            outermost(&inner)
        });
        let direct = single.captures_iter(&code).map(|hit| hit[1].to_owned());
        let others = direct
            .chain(grouped)
            .filter(|other| *other != layer && !other.is_empty());
        needs
            .entry(layer.clone())
            .or_default()
            .extend(others.collect::<Vec<_>>());
    }
    needs
}

/// The first names of a group, not those of groups within it.
fn outermost(group: &str) -> Vec<String> {
    let (mut depth, mut items) = (0_i32, vec![String::new()]);
    for sign in group.chars() {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ if depth == 0 => items.last_mut().unwrap().push(sign),
            _ => {}
        }
    }
    let first = |item: &String| item.trim().split("::").next().unwrap().to_owned();
    items.iter().map(first).collect()
}

/// A way from a layer back to itself.
fn circle(needs: &BTreeMap<String, BTreeSet<String>>, way: &mut Vec<String>) -> bool {
    let last = way.last().unwrap().clone();
    for next in needs.get(&last).into_iter().flatten() {
        if *next == way[0] {
            way.push(next.clone());
            return true;
        }
        if !way.contains(next) {
            way.push(next.clone());
            if circle(needs, way) {
                return true;
            }
            way.pop();
        }
    }
    false
}

#[test]
fn no_layer_needs_one_that_needs_it() {
    for krate in ["policyd", "connectord"] {
        let needs = needs(krate);
        assert!(needs["grpc"].contains("app"), "{krate}: {needs:?}");
        for layer in needs.keys() {
            let mut way = vec![layer.clone()];
            assert!(!circle(&needs, &mut way), "{krate}: {}", way.join(" -> "));
        }
    }
}

#[test]
fn rooms_are_small_enough_to_know() {
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for krate in ["proto", "policyd", "connectord"] {
        for (name, _) in product(krate) {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            *sizes.entry(format!("{krate}/{folder}")).or_default() += 1;
        }
    }
    for (folder, count) in sizes {
        assert!(count <= FILES_MAX, "{folder} has {count} files");
    }
}

#[test]
fn every_file_that_architecture_names_is_there() {
    let text = std::fs::read_to_string(e2e::root().join("ARCHITECTURE.md")).unwrap();
    let mut found = Vec::new();
    for folder in ["crates", "tests"] {
        sources(&e2e::root().join(folder), &mut found);
    }
    let named = Regex::new(r"`([a-z0-9_/]+)(\.rs)?`").unwrap();
    let mut checked = 0;
    for hit in named.captures_iter(&text) {
        let is_file = hit.get(2).is_some();
        if !is_file && !hit[1].contains('/') {
            continue;
        }
        let name = hit[1].trim_end_matches('/').replacen(
            "proto/",
            "proto/src/",
            usize::from(!hit[1].contains("src")),
        );
        let name = name
            .replace("policyd/", "policyd/src/")
            .replace("connectord/", "connectord/src/")
            .replace("src/src", "src");
        // What is named as a file is one, and not the folder that it became.
        let there = found.iter().any(|path| {
            let path = path.display().to_string();
            let folder = path.contains(&format!("/{name}/"));
            (is_file && path.ends_with(&format!("/{name}.rs"))) || (!is_file && folder)
        });
        assert!(
            there || e2e::root().join(&hit[1]).exists(),
            "ARCHITECTURE.md names {}",
            &hit[0]
        );
        checked += 1;
    }
    assert!(checked > 60, "only {checked} files are named");
}
