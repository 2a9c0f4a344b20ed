//! `connectord doctor`: everything that keeps the daemon from starting, or from working with its policyd, all of it in
//! one run. It serves nothing, and changes nothing but this: a journal that is not there is made, and one of an older
//! version brought to this one.

mod reached;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use writ_proto::Reason;
use writ_proto::host::channel::Peer;
use writ_proto::host::layers::Layers;
use writ_proto::together::{Side, disagreements};
use writ_proto::toml_flaw::near;

use super::Common;
use super::journal::foreign_reports;
use super::remote::failed;
use crate::app::SharedApp;
use crate::app::catalog::Catalog;
use crate::catalog::Files;
use crate::config::{Config, environment};
use crate::error::AppError;
use crate::grpc::client;
use crate::marks::MarkFile;
use crate::output::{Output, plural};
use crate::server::{check_marks, door, open_as_it_is, open_halts, own_files, summary};

/// How long policyd has to answer.
const LOOK: Duration = Duration::from_secs(3);

struct Doctor<'a> {
    output: &'a Output,
    failed: bool,
}

impl Doctor<'_> {
    fn ok(&self, what: &str) {
        self.output
            .line(&format!("ok    {what}"), &json!({"ok": what}));
    }

    /// What stops nothing now, and what to know.
    fn note(&self, what: &str) {
        self.output
            .line(&format!("note  {what}"), &json!({"note": what}));
    }

    /// What stops nothing yet, and should be seen to.
    fn warn(&self, what: &str) {
        self.output
            .line(&format!("WARN  {what}"), &json!({"warn": what}));
    }

    fn bad(&mut self, what: &str) {
        self.failed = true;
        self.output
            .line(&format!("FAIL  {what}"), &json!({"fail": what}));
    }

    fn error(&mut self, error: &AppError) {
        let code = error.reason.code();
        let fix = error.shown_fix();
        let fix = fix.map_or_else(String::new, |fix| format!("  Fix: {fix}"));
        self.bad(&format!("{code} {}{fix}", error.public));
    }
}

/// What each system of record says of its credential, or one of them; exit 1 if anything is wrong with one.
pub(super) async fn probe(
    common: &Common,
    connection: Option<&str>,
    output: &Output,
) -> Result<u8, AppError> {
    let config = common.read()?;
    // Files alone: the journal of a daemon that runs is not touched.
    let mut files = Files::new(config.clone());
    files.ask_vault().await;
    let catalog = files.load(&Catalog::default(), 0)?;
    let mut doctor = Doctor {
        output,
        failed: false,
    };
    let names = catalog.connections.keys();
    let names: Vec<&String> = names
        .filter(|name| connection.is_none_or(|wanted| wanted == name.as_str()))
        .collect();
    if let (Some(wanted), []) = (connection, names.as_slice()) {
        let known = catalog.connections.keys().map(String::as_str);
        let near = near(wanted, known)
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let why = format!("there is no connection `{wanted}` in this configuration{near}");
        return Err(AppError::new(Reason::UnknownConnection, why));
    }
    for name in names {
        reached::reached(&mut doctor, (&config, &catalog, name), true).await;
    }
    Ok(u8::from(doctor.failed))
}

/// Examines a configuration; exit 1 if anything fails.
pub(super) async fn run(common: &Common, output: &Output) -> Result<u8, AppError> {
    let config = common.read()?;
    let mut doctor = Doctor {
        output,
        failed: false,
    };
    doctor.ok("configuration");
    match door(&config) {
        Ok(_) => doctor.ok("certificates: ours names connectord in its trust domain"),
        Err(error) => doctor.error(&error),
    }
    match in_force_of(&config).await {
        Ok(0) => doctor.ok("halts: none is in force"),
        Ok(set) => doctor.ok(&format!(
            "halts: {} in force: connectord halt status",
            plural(set, "halt")
        )),
        Err(error) => doctor.error(&error),
    }
    match open_as_it_is(&config).await {
        Ok(app) => in_force(&mut doctor, &config, &app).await,
        Err(error) => doctor.error(&error),
    }
    let answers = policyd(&mut doctor, &config).await;
    beside(&mut doctor, answers, common);
    Ok(u8::from(doctor.failed))
}

/// How many halts are in force.
async fn in_force_of(config: &Config) -> Result<usize, AppError> {
    let halts = open_halts(config).await?;
    // What went back is not what is halted.
    halts.remember(MarkFile::open(config)?.halts()).await;
    let state = halts.read(crate::clock::now().timestamp());
    let state = state.map_err(|error| AppError::new(Reason::HaltUnknown, error.to_string()))?;
    Ok(state.flags.len())
}

/// Cards, systems, the journal, and each system of record.
async fn in_force(doctor: &mut Doctor<'_>, config: &Config, app: &SharedApp) {
    let catalog = app.catalog.load_full();
    if catalog.problems.is_empty() {
        let what = summary(app);
        doctor.ok(&format!(
            "keys, cards, systems, credentials, journal: {what}"
        ));
    }
    unsigned(doctor, app).await;
    let room = app.reserve.look();
    if room.is_short() {
        let least = config.store.reserve_mb;
        doctor.bad(&format!(
            "{room}; agents are refused below store.reserve_mb = {least}"
        ));
    } else {
        doctor.ok(&room.to_string());
    }
    // What is wrong with a connection is told to each of its tenants, and here once.
    let problems = catalog.problems.iter();
    let problems: BTreeSet<_> = problems.map(|one| (one.reason, &one.what)).collect();
    for (reason, what) in problems {
        doctor.error(&AppError::new(reason, what));
    }
    if let Err(error) = check_marks(app).await {
        doctor.bad(&format!("the server would not start: {error}"));
    }
    let mut strangers = BTreeMap::new();
    for ((tenant, action), held) in &catalog.cards {
        let name = held.card.connection.as_str();
        match catalog.connections.get(name) {
            None => doctor.note(&format!(
                "{action} of {tenant} cannot be used: there is no connection {name}"
            )),
            Some(connection) if !connection.tenants.contains(tenant) => {
                let shut = strangers.entry((name, tenant)).or_insert(0_usize);
                *shut = shut.saturating_add(1);
            }
            Some(_) => {}
        }
    }
    for ((name, tenant), count) in strangers {
        let cards = plural(count, "card");
        doctor.bad(&format!(
            "connection {name} does not name {tenant} in its tenants: {cards} of {tenant} cannot be used"
        ));
    }
    for name in catalog.connections.keys() {
        reached::reached(doctor, (config, &catalog, name), false).await;
    }
}

/// Reports that no connectord of this service signed: they wait and are never delivered.
async fn unsigned(doctor: &mut Doctor<'_>, app: &SharedApp) {
    match foreign_reports(app).await {
        Ok(0) => {}
        Ok(kept) => {
            let reports = plural(kept, "report");
            doctor.bad(&format!(
                "{reports} in the journal that no connectord of this authority and audience has signed: kept, and never \
                 delivered. Where tls.ca or server.audience changed, put the earlier one back until they are; else stop connectord \
                 and drop them: connectord journal discard --reason WHY"
            ));
        }
        Err(error) => doctor.error(&AppError::from(error)),
    }
}

/// Whether policyd is where reports are sent. It may be started later: until then they wait.
async fn policyd(doctor: &mut Doctor<'_>, config: &Config) -> bool {
    let Some(peer) = &config.policyd else {
        doctor.note("there is no [policyd]: what is executed waits here and becomes no record");
        return false;
    };
    let there = match client::peer((&peer.addr, "policyd"), &own_files(config), LOOK) {
        Ok(there) => answered(there).await,
        Err(error) => Err(error),
    };
    let answers = there.is_ok();
    match there {
        Ok(()) => doctor.ok(&format!("policyd answers at {}", peer.addr)),
        Err(error) => doctor.warn(&format!(
            "policyd does not answer, so what is executed becomes no record and gets no undo writ until it does: {}",
            error.public
        )),
    }
    answers
}

/// Believes only an answer: a connection stands before the other end has looked at our certificate.
async fn answered(there: Peer) -> Result<(), AppError> {
    let mut client = HealthClient::new(there.connect().await?);
    let service = "writ.v1.AuthorizationService".to_owned();
    let answer = client.check(HealthCheckRequest { service }).await;
    answer.map(drop).map_err(failed)
}

/// What disagrees with the policyd whose configuration lies in the same folder.
fn beside(doctor: &mut Doctor<'_>, answers: bool, common: &Common) {
    let folder = common.config.parent().unwrap_or(Path::new(""));
    let file = folder.join("policyd.toml");
    if !file.exists() {
        return;
    }
    let theirs = Layers::read(&file, environment().into_iter(), "POLICYD_", &[]);
    let (Ok(theirs), Ok(ours)) = (theirs, common.layers()) else {
        return doctor.note(&format!(
            "{} cannot be read: policyd doctor",
            file.display()
        ));
    };
    let authority = |of: &Layers| std::fs::read(folder.join(of.text("tls.ca")?)).ok();
    let (left, right) = (authority(&theirs), authority(&ours));
    let policyd = Side {
        text: &|path| theirs.text(path),
        authority: left.as_deref(),
    };
    let connectord = Side {
        text: &|path| ours.text(path),
        authority: right.as_deref(),
    };
    let found = disagreements(policyd, connectord);
    if found.is_empty() {
        doctor.ok("policyd.toml in the same folder agrees with this configuration");
    }
    // Something may stand between an address and a port: who answers is reached.
    for found in found.iter().filter(|one| one.certain || !answers) {
        doctor.bad(&found.what);
    }
}
