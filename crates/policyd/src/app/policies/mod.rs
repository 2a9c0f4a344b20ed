//! Reads the policy folders, each tenant's for itself, and says aloud what is refused.

mod folder;
mod published;
mod unread;
mod watched;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use writ_proto::Reason;
use writ_proto::ids::TenantId;

use crate::domain::policy::{Finding, PolicyErrors, Sources, TenantPolicies};

pub use folder::{finding, read_tenant};
pub use unread::unread;
pub use watched::{Change, Watched};

/// Policies by tenant.
pub type PolicyTable = BTreeMap<TenantId, Arc<TenantPolicies>>;

/// Stack of whoever reads a set: the same for `check`, for a start and for a reload, so that what one
/// of them accepts ends no other. `bounds` keeps every text far below it.
const STACK_BYTES: usize = 32 * 1_024 * 1_024;

/// Names of the tenants' folders; none where the folder cannot be read.
#[must_use]
pub fn tenant_names(folder: &Path) -> Vec<String> {
    let found = folder::tenants(folder).unwrap_or_default();
    found.into_iter().map(|(name, _)| name).collect()
}

/// What of every tenant's folder is left out although it looks like a part of its set.
#[must_use]
pub fn unread_of_all(folder: &Path) -> Vec<Finding> {
    let names = tenant_names(folder);
    let of = |name: &String| unread(&folder.join(name), name);
    names.iter().flat_map(of).collect()
}

/// The files with rules of every tenant.
///
/// # Errors
/// When a folder cannot be read.
pub fn rule_files(folder: &Path) -> Result<Vec<PathBuf>, PolicyErrors> {
    let mut files = Vec::new();
    for (_, path) in folder::tenants(folder)? {
        let own = folder::named(&path, "cedar")?;
        files.extend(own.into_iter().map(|(_, path)| path));
    }
    Ok(files)
}

/// What the folders of all tenants say.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The sets that are accepted.
    pub table: PolicyTable,
    /// What is wrong with those that are not, by the name of their folder.
    pub refused: BTreeMap<String, PolicyErrors>,
}

impl Loaded {
    /// Everything that is wrong.
    #[must_use]
    pub fn errors(&self) -> PolicyErrors {
        let found = self.refused.values().flat_map(|errors| errors.0.clone());
        PolicyErrors(found.collect())
    }
}

/// Runs on a stack that is large enough for the deepest rule that is accepted. A panic is the end of this
/// one piece of work and of nothing else: then there is no result.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
        let running = builder.spawn_scoped(scope, work).ok()?;
        running.join().ok()
    })
}

/// One tenant's set.
///
/// # Errors
/// Everything that is wrong with it, each with its file from the folder of all tenants.
pub fn load_tenant(path: &Path) -> Result<Arc<TenantPolicies>, PolicyErrors> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let sources = read_tenant(path).map_err(|errors| PolicyErrors(placed(name, errors.0)))?;
    load_tenant_as(path, &sources)
}

/// The set of sources that were read from a tenant's folder.
///
/// # Errors
/// As `load_tenant`.
pub fn load_tenant_as(path: &Path, sources: &Sources) -> Result<Arc<TenantPolicies>, PolicyErrors> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let built = on_large_stack(|| TenantPolicies::build(sources).map(Arc::new));
    let failed = || Err(finding(name, "policyd failed while it read this set"));
    let built = built.unwrap_or_else(failed);
    built.map_err(|errors| PolicyErrors(placed(name, errors.0)))
}

/// Findings with the file as it is named from the folder of all tenants.
fn placed(tenant: &str, findings: Vec<Finding>) -> Vec<Finding> {
    let place = |mut found: Finding| {
        if found.file != tenant {
            found.file = format!("{tenant}/{}", found.file);
        }
        found
    };
    findings.into_iter().map(place).collect()
}

/// What is accepted and looks like a mistake, over all tenants.
#[must_use]
pub fn warnings(table: &PolicyTable) -> Vec<Finding> {
    let own = table
        .iter()
        .map(|(tenant, set)| placed(tenant.as_str(), set.warnings.clone()));
    own.flatten().collect()
}

/// How long a start waits for files that are still being put in place.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the files of unsealed sets have rested, so that a start in the middle of a copy takes no
/// half of it. What changes for longer is taken when it rests, by whoever watches.
pub fn wait_for_rest(folder: &Path) {
    let began = Instant::now();
    let restless = |(_, path): &(String, PathBuf)| {
        let sealed = folder::has_lock(path).unwrap_or(true);
        !sealed && folder::rested(path).is_some_and(|rested| rested < watched::REST)
    };
    while began.elapsed() < START_PATIENCE {
        let tenants = folder::tenants(folder).unwrap_or_default();
        if !tenants.iter().any(restless) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Loads every tenant of a folder, each for itself.
///
/// # Errors
/// When the folder cannot be read; `POLICY_EMPTY` when no tenant is in it.
pub fn load(folder: &Path) -> Result<Loaded, PolicyErrors> {
    let mut loaded = Loaded::default();
    for (name, path) in folder::tenants(folder)? {
        match load_tenant(&path) {
            Ok(set) => {
                loaded.table.insert(set.tenant.clone(), set);
            }
            Err(errors) => {
                loaded.refused.insert(name, errors);
            }
        }
    }
    if loaded.table.is_empty() && loaded.refused.is_empty() {
        return Err(empty(folder));
    }
    Ok(loaded)
}

fn empty(folder: &Path) -> PolicyErrors {
    PolicyErrors(vec![Finding {
        reason: Reason::PolicyEmpty,
        file: folder.display().to_string(),
        message: Reason::PolicyEmpty.sentence().to_owned(),
        at: None,
    }])
}
