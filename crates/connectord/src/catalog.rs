//! Reads what connectord's files say: `<dir>/<tenant>/actions/*.toml` and `<kind>.toml`. A file that
//! is refused keeps what it said before, is told to its tenant, and holds up nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::digest::sha256;
use writ_proto::ids::TenantId;
use writ_proto::toml_flaw::near;

use crate::app::catalog::{Catalog, Connection, HELD_MS, Held, Problem};
use crate::config::credential::elsewhere;
use crate::config::{Config, ConnectionConfig};
use crate::credentials::CredentialStore;
use crate::credentials::source::Sources;
use crate::credentials::vault::Vault;
use crate::domain::gate::Refusal;
use crate::error::AppError;
use crate::system::file::{Bound, Driver};
use crate::system::http::{HttpClient, Plugin, base_url};
use crate::system::{Document, Http, Postgres, System, account_of};

/// How long a start waits for the Vault that credentials are in.
const VAULT_AT_START: Duration = Duration::from_secs(6);
const CARDS_MAX: usize = 100_000;
/// Longest card or system file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1_024;
/// The longest of the files in which a change is noticed: that of the credentials.
const SEALED_BYTES_MAX: u64 = crate::credentials::FILE_BYTES_MAX;
/// Most earlier cards that are held of one action.
const EARLIER_MAX: usize = 16;
/// Most system files that are looked through for the one that was meant, and most that are named.
const LOOKED_MAX: usize = 1_000;
const SHOWN_MAX: usize = 20;

/// Where everything is, and what was read there last.
#[derive(Debug)]
pub struct Files {
    config: Config,
    /// Cards as their files last held them, by file.
    cards: BTreeMap<PathBuf, (String, Arc<Card>, Arc<str>)>,
    /// Drivers and what they were made from, by connection.
    systems: BTreeMap<String, ([u8; 32], Arc<System>)>,
    /// Where credentials are that are not sealed.
    elsewhere: Arc<Sources>,
    vault: Option<Arc<Vault>>,
}

fn read(path: &Path) -> Result<String, String> {
    read_within(path, FILE_BYTES_MAX)
}

fn read_within(path: &Path, most: u64) -> Result<String, String> {
    let wrong = |why: &dyn core::fmt::Display| format!("{}: {why}", path.display());
    let about = std::fs::metadata(path).map_err(|error| wrong(&error))?;
    // A pipe would never end.
    if !about.is_file() {
        return Err(wrong(&"not a file"));
    }
    if about.len() > most {
        return Err(wrong(&format!("more than {most} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(&error))
}

/// The folders of tenants and the card files in each, sorted.
fn card_files(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for tenant in std::fs::read_dir(folder)? {
        let path = tenant?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if !path.is_dir() || TenantId::parse(name).is_err() {
            continue;
        }
        let Ok(files) = std::fs::read_dir(path.join("actions")) else {
            continue;
        };
        for file in files {
            let file = file?.path();
            let hidden = file
                .file_name()
                .and_then(|name| name.to_str())
                .is_none_or(|name| name.starts_with('.'));
            if !hidden && file.extension().is_some_and(|found| found == "toml") {
                found.push((name.to_owned(), file));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The socket of a connection's plug-in, or nothing.
fn plugin_of(connection: &ConnectionConfig) -> &OsStr {
    connection
        .plugin
        .as_deref()
        .map_or(OsStr::new(""), Path::as_os_str)
}

/// The zone that a policy set names. The rest of the set is policyd's.
fn zone(file: &Path) -> Option<Tz> {
    let table: toml::Table = toml::from_str(&read(file).ok()?).ok()?;
    table.get("zone")?.as_str()?.parse().ok()
}

/// The tenants that have a card, whether or not it can be read.
///
/// # Errors
/// When the folder cannot be read.
pub fn tenants_of(folder: &Path) -> std::io::Result<BTreeSet<String>> {
    let files = card_files(folder)?;
    Ok(files.into_iter().map(|(tenant, _)| tenant).collect())
}

impl Files {
    /// Of a configuration; nothing is read yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let (sources, vault) = elsewhere(&config);
        Self {
            config,
            cards: BTreeMap::new(),
            systems: BTreeMap::new(),
            elsewhere: Arc::new(sources),
            vault: vault.map(Arc::new),
        }
    }

    /// Asks the Vault before the first load. One that hangs keeps its own connections from being used, and nobody from the
    /// start.
    pub async fn ask_vault(&self) {
        if let Some(vault) = &self.vault {
            drop(tokio::time::timeout(VAULT_AT_START, vault.refresh()).await);
        }
    }

    /// The Vault that credentials are in, and how often it is asked.
    #[must_use]
    pub fn vault(&self) -> Option<(Arc<Vault>, Duration)> {
        let seconds = self.config.vault.as_ref()?.refresh_seconds;
        Some((
            Arc::clone(self.vault.as_ref()?),
            Duration::from_secs(seconds.into()),
        ))
    }

    /// Everything that is read, by name and hash of its bytes: whether a file changed is seen here,
    /// however it was put in place.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let config = &self.config;
        let mut files: Vec<PathBuf> = card_files(&config.cards.dir)
            .unwrap_or_default()
            .into_iter()
            .map(|(_, file)| file)
            .collect();
        let set = |file: &PathBuf| Some(file.parent()?.parent()?.join("set.toml"));
        let sets: BTreeSet<PathBuf> = files.iter().filter_map(set).collect();
        files.extend(sets);
        files.extend(
            config
                .connection
                .iter()
                .map(|connection| self.system_file(connection)),
        );
        files.push(config.credentials.file.clone());
        let mut all = self.sealed().mark();
        for file in files {
            all.extend_from_slice(file.as_os_str().as_encoded_bytes());
            let text = read_within(&file, SEALED_BYTES_MAX).unwrap_or_else(|why| why);
            all.extend_from_slice(&sha256(text.as_bytes()));
        }
        sha256(&all)
    }

    fn system_file(&self, connection: &ConnectionConfig) -> PathBuf {
        self.config
            .systems
            .dir
            .join(format!("{}.toml", connection.system))
    }

    /// Reads all files. What is refused keeps what it said before.
    ///
    /// # Errors
    /// When the folder of cards cannot be read, or there are too many.
    pub fn load(&mut self, before: &Catalog, now_ms: i64) -> Result<Catalog, AppError> {
        let mut catalog = Catalog::default();
        self.load_systems(&mut catalog);
        if let Err(error) = self.load_cards(&mut catalog) {
            if self.cards.is_empty() {
                return Err(error);
            }
            // Connections are what they are now: a credential that was removed is shown no more.
            catalog.problems.push(Problem {
                tenant: None,
                reason: error.reason,
                what: format!("{}; the last good cards stay in force", error.public),
            });
            self.place_cards(&mut catalog);
        }
        // A set that cannot be read for a moment begins no new day.
        for (tenant, zone) in &before.zones {
            catalog.zones.entry(tenant.clone()).or_insert(*zone);
        }
        for (key, held) in &mut catalog.cards {
            if let Some(earlier) = before.cards.get(key) {
                held.earlier.clone_from(&earlier.earlier);
                if earlier.card.digest() != held.card.digest() {
                    held.earlier.push((Arc::clone(&earlier.card), now_ms));
                }
                held.earlier
                    .retain(|(_, replaced)| now_ms.saturating_sub(*replaced) < HELD_MS);
                let surplus = held.earlier.len().saturating_sub(EARLIER_MAX);
                held.earlier.drain(..surplus);
            }
        }
        Ok(catalog)
    }

    fn load_cards(&mut self, catalog: &mut Catalog) -> Result<(), AppError> {
        let folder = &self.config.cards.dir;
        let invalid = |why: &dyn core::fmt::Display| {
            AppError::new(Reason::CardInvalid, format!("{}: {why}", folder.display()))
        };
        let files = card_files(folder).map_err(|error| {
            let why = format!("cards.dir: {}: {error}", folder.display());
            AppError::new(Reason::ConfigInvalid, why)
        })?;
        if files.len() > CARDS_MAX {
            return Err(invalid(&"too many cards"));
        }
        let mut now = BTreeMap::new();
        for (tenant, file) in files {
            let read = read(&file).and_then(|text| {
                let card =
                    Card::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
                // policyd refuses it, too: what is in force must not depend on who reads it.
                if file.file_stem().and_then(|stem| stem.to_str()) != Some(card.name.as_str()) {
                    let (file, name) = (file.display(), &card.name);
                    return Err(format!(
                        "{file}: the card is named `{name}`; its file must be too"
                    ));
                }
                Ok((tenant.clone(), Arc::new(card), Arc::from(text)))
            });
            let entry = match read {
                Ok(entry) => entry,
                Err(what) => {
                    let kept = self.cards.get(&file).cloned();
                    let note = if kept.is_some() {
                        "; the last good card stays in force"
                    } else {
                        "; the action cannot be used until the card is mended"
                    };
                    catalog.problems.push(Problem {
                        tenant: Some(tenant),
                        reason: Reason::CardInvalid,
                        what: format!("{what}{note}"),
                    });
                    let Some(kept) = kept else { continue };
                    kept
                }
            };
            now.insert(file, entry);
        }
        self.cards = now;
        for (tenant, _, _) in self.cards.values() {
            if let Some(zone) = zone(&folder.join(tenant).join("set.toml")) {
                catalog.zones.insert(tenant.clone(), zone);
            }
        }
        self.place_cards(catalog);
        for told in self.unnamed(catalog) {
            tracing::warn!("{told}");
        }
        Ok(())
    }

    /// Tenants that a connection names, that have no card and are nearly one that has: most likely misspelt. That is for
    /// the log; no tenant learns of another.
    fn unnamed(&self, catalog: &Catalog) -> Vec<String> {
        let tenants: BTreeSet<&str> = (self.cards.values())
            .map(|(tenant, _, _)| tenant.as_str())
            .collect();
        let mut found = Vec::new();
        for (name, connection) in &catalog.connections {
            let strange = connection.tenants.iter();
            for strange in strange.filter(|tenant| !tenants.contains(tenant.as_str())) {
                let others = tenants.iter().copied();
                let meant = near(
                    strange,
                    others.filter(|one| !connection.tenants.contains(*one)),
                );
                found.extend(meant.map(|meant| {
                    format!(
                        "connection `{name}` names the tenant `{strange}`, which has no card. Did you mean `{meant}`?"
                    )
                }));
            }
        }
        found
    }

    /// Puts the cards in force. One that its connection cannot perform says so.
    fn place_cards(&self, catalog: &mut Catalog) {
        for (file, (tenant, card, text)) in &self.cards {
            let key = (tenant.clone(), card.name.to_string());
            let unfit = catalog
                .system(tenant, card.connection.as_str())
                .ok()
                .and_then(|system| system.fits(card).err());
            if let Some(why) = &unfit {
                let what = format!(
                    "{}: action `{}` cannot be performed: {why}",
                    file.display(),
                    card.name
                );
                catalog.problems.push(Problem {
                    tenant: Some(tenant.clone()),
                    reason: Reason::CardInvalid,
                    what,
                });
            }
            let held = Held {
                card: Arc::clone(card),
                text: Arc::clone(text),
                unfit,
                earlier: Vec::new(),
            };
            catalog.cards.insert(key, held);
        }
    }

    fn load_systems(&mut self, catalog: &mut Catalog) {
        let mut now = BTreeMap::new();
        for connection in self.config.connection.clone() {
            let tenants: BTreeSet<String> = connection.tenants.iter().cloned().collect();
            let system = match self.connect(&connection) {
                Ok((key, system)) => {
                    now.insert(connection.name.clone(), (key, Arc::clone(&system)));
                    Ok(system)
                }
                Err(why) => {
                    let what = format!("connection `{}`: {}", connection.name, why.detail);
                    let kept = self.kept(&connection.name, &why);
                    let note = if kept.is_some() {
                        "; what it was before stays in force"
                    } else {
                        "; until it is mended, every action on it is refused"
                    };
                    for tenant in &tenants {
                        catalog.problems.push(Problem {
                            tenant: Some(tenant.clone()),
                            reason: why.reason,
                            what: format!("{what}{note}"),
                        });
                    }
                    match kept {
                        Some((key, system)) => {
                            now.insert(connection.name.clone(), (key, Arc::clone(&system)));
                            Ok(system)
                        }
                        None => Err(Refusal::new(why.reason, what)),
                    }
                }
            };
            let accepts = connection.accept_scopes.iter().cloned().collect();
            let made = Connection {
                tenants,
                system,
                accepts,
            };
            catalog.connections.insert(connection.name.clone(), made);
        }
        self.systems = now;
    }

    /// What a connection was before, unless its credential was removed or replaced: that one is shown to nobody any more,
    /// whatever else is wrong.
    fn kept(&self, name: &str, why: &Refusal) -> Option<([u8; 32], Arc<System>)> {
        let (key, system) = self.systems.get(name)?;
        let shown = system.account();
        let stands = shown.is_empty()
            || match self.sealed().open(name) {
                Ok(sealed) => account_of(&sealed.fingerprint()) == shown,
                Err(refusal) => refusal.reason != Reason::CredentialMissing,
            };
        let stands = stands && why.reason != Reason::CredentialMissing;
        stands.then(|| (*key, Arc::clone(system)))
    }

    fn sealed(&self) -> CredentialStore {
        let credentials = &self.config.credentials;
        let store = CredentialStore::new(credentials.file.clone(), credentials.key_file.clone());
        store.beside(Arc::clone(&self.elsewhere))
    }

    /// That there is no system file of the name that a connection gives, and which ones there are.
    fn no_system(&self, connection: &ConnectionConfig) -> String {
        let folder = &self.config.systems.dir;
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names: BTreeSet<String> = files
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                Some(name.strip_suffix(".toml")?.to_owned())
            })
            .take(LOOKED_MAX)
            .collect();
        let near = near(&connection.system, names.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "there is no system file at all".to_owned(),
            None => {
                let names = names.iter().map(String::as_str).take(SHOWN_MAX);
                let names: Vec<&str> = names.collect();
                format!("there are {}", names.join(", "))
            }
        };
        let (name, folder) = (&connection.system, folder.display());
        format!("there is no system file `{name}.toml` in {folder}; {hint}")
    }

    /// The driver of a connection; the one that is there, if nothing of it changed.
    fn connect(&self, connection: &ConnectionConfig) -> Result<([u8; 32], Arc<System>), Refusal> {
        let config = |why: String| Refusal::new(Reason::ConfigInvalid, why);
        if let Some(folder) = &connection.folder {
            if let Some((key, system)) = self.systems.get(&connection.name) {
                return Ok((*key, Arc::clone(system)));
            }
            let opened = Document::open(folder).map_err(|error| config(error.to_string()))?;
            return Ok(([0; 32], Arc::new(System::Document(opened))));
        }
        let path = self.system_file(connection);
        if !path.exists() {
            return Err(config(self.no_system(connection)));
        }
        let text = read(&path).map_err(|why| Refusal::new(Reason::SystemFileInvalid, why))?;
        let bound = Bound::compile(&text).map_err(|error| {
            let why = format!("{}: {error}", path.display());
            Refusal::new(Reason::SystemFileInvalid, why)
        })?;
        let credential = self.sealed().open(&connection.name)?;
        let key = sha256(
            &[
                sha256(text.as_bytes()),
                credential.fingerprint(),
                sha256(connection.base_url.as_bytes()),
                sha256(plugin_of(connection).as_encoded_bytes()),
            ]
            .concat(),
        );
        if let Some((known, system)) = self.systems.get(&connection.name)
            && *known == key
        {
            return Ok((key, Arc::clone(system)));
        }
        let bound = Arc::new(bound);
        if connection.plugin.is_some() != (bound.driver == Driver::Remote) {
            let why = "`plugin` names the socket of the plug-in where the system file says driver = \"remote\", and only there";
            return Err(config(why.to_owned()));
        }
        let system = match bound.driver {
            Driver::Http | Driver::Remote => {
                let base = base_url(&connection.base_url, connection.private).map_err(config)?;
                let client = HttpClient::new(base, &bound, credential, connection.private);
                let client = client.map_err(config)?;
                let socket = connection.plugin.as_deref();
                let plugin = socket.and_then(|socket| Plugin::new(&bound, socket));
                System::Http(Box::new(Http::new(bound, client, plugin)))
            }
            Driver::Postgres => {
                let opened = Postgres::new(bound, &connection.base_url, &credential);
                let opened = opened.map_err(config)?;
                System::Postgres(Box::new(opened))
            }
        };
        Ok((key, Arc::new(system)))
    }
}

#[cfg(test)]
mod tests;
