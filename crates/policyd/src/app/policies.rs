//! Reads the policy folders, keeps the last good set, and says aloud when a change is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use writ_proto::Reason;
use writ_proto::ids::TenantId;

use crate::domain::policy_set::{Finding, PolicyErrors, Sources, TenantPolicies};

const TENANTS_MAX: usize = 10_000;
const FILES_MAX: usize = 10_000;
const FILE_BYTES_MAX: u64 = 64 * 1_024 * 1_024;

/// Policies by tenant.
pub type PolicyTable = BTreeMap<TenantId, Arc<TenantPolicies>>;

fn finding(file: &Path, message: impl core::fmt::Display) -> PolicyErrors {
    let file = file.display().to_string();
    let reason = Reason::PolicyInvalid;
    PolicyErrors(vec![Finding {
        reason,
        file,
        message: message.to_string(),
    }])
}

fn read_text(path: &Path) -> Result<String, PolicyErrors> {
    let size = std::fs::metadata(path)
        .map_err(|error| finding(path, error))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(finding(
            path,
            format!("{size} bytes, at most {FILE_BYTES_MAX}"),
        ));
    }
    std::fs::read_to_string(path).map_err(|error| finding(path, error))
}

/// Name and text of each file of a folder with an ending, sorted. No folder is no files.
fn read_all(folder: &Path, ending: &str) -> Result<Vec<(String, String)>, PolicyErrors> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(files);
    };
    for entry in entries {
        let path = entry.map_err(|error| finding(folder, error))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        if path.extension().is_some_and(|found| found == ending) && !name.starts_with('.') {
            files.push((name, read_text(&path)?));
        }
        if files.len() > FILES_MAX {
            return Err(finding(folder, format!("more than {FILES_MAX} files")));
        }
    }
    files.sort();
    Ok(files)
}

/// The sources of one tenant's folder.
///
/// # Errors
/// When the name is no tenant or a file cannot be read.
pub fn read_tenant(folder: &Path) -> Result<Sources, PolicyErrors> {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let tenant = TenantId::parse(name).map_err(|error| finding(folder, error))?;
    Ok(Sources {
        tenant,
        set_toml: read_text(&folder.join("set.toml"))?,
        policies: read_all(folder, "cedar")?,
        cards: read_all(&folder.join("actions"), "toml")?,
        entities_json: read_text(&folder.join("entities.json"))?,
    })
}

/// Loads every tenant of a folder.
///
/// # Errors
/// Everything that is wrong with any of them; `POLICY_EMPTY` when there is none.
pub fn load(folder: &Path) -> Result<PolicyTable, PolicyErrors> {
    let (mut table, mut findings) = (PolicyTable::new(), Vec::new());
    let entries = std::fs::read_dir(folder).map_err(|error| finding(folder, error))?;
    for entry in entries {
        let path = entry.map_err(|error| finding(folder, error))?.path();
        if !path.is_dir() {
            continue;
        }
        match read_tenant(&path).and_then(|sources| TenantPolicies::build(&sources)) {
            Ok(set) => {
                table.insert(set.tenant.clone(), Arc::new(set));
            }
            Err(errors) => {
                let tenant = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();
                findings.extend(errors.0.into_iter().map(|mut found| {
                    if !found.file.contains(tenant) {
                        found.file = format!("{tenant}/{}", found.file);
                    }
                    found
                }));
            }
        }
    }
    if table.len() > TENANTS_MAX {
        return Err(finding(folder, format!("more than {TENANTS_MAX} tenants")));
    }
    if !findings.is_empty() {
        return Err(PolicyErrors(findings));
    }
    if table.is_empty() {
        let file = folder.display().to_string();
        let message = Reason::PolicyEmpty.sentence().to_owned();
        return Err(PolicyErrors(vec![Finding {
            reason: Reason::PolicyEmpty,
            file,
            message,
        }]));
    }
    Ok(table)
}
