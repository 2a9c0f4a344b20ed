//! Puts the daemon together: configuration to listener to services, until told to stop.
//! `open` only reads, so that `doctor` may run beside a daemon; `bind` takes over its journal.

use std::fs::File;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use writ_proto::Reason;
use writ_proto::host::serve::connections::{Door, mutual_tls};
use writ_proto::host::serve::grpc::PacedServer;
use writ_proto::host::serve::health;
use writ_proto::host::serve::paced::Refusals;
use writ_proto::host::store::alone::{AloneError, alone};
use writ_proto::host::store::disk::Reserve;
use writ_proto::host::store::postgres::without_password;
use writ_proto::limits::MESSAGE_BYTES_MAX;
use writ_proto::pb::connector_service_server::{self, ConnectorServiceServer};
use writ_proto::pb::halt_service_server::HaltServiceServer;

use crate::access::Access;
use crate::app::catalog::{Catalog, Connection};
use crate::app::long::Long;
use crate::app::work::Work;
use crate::app::{App, Rules, Settling, SharedApp};
use crate::catalog::Files;
use crate::config::Config;
use crate::error::AppError;
use crate::grpc::authn::Authn;
use crate::grpc::client::{self, ClientFiles};
use crate::grpc::status::{over_rate, status};
use crate::grpc::{connector::Connector, facts::Facts, halt::Halts};
use crate::halt::{HaltStore, Place};
use crate::http::port::Port;
use crate::marks::{MarkFile, check_journal};
use crate::private_file::read_private;
use crate::store::Journal;
use crate::task;
use crate::trust::Trust;

const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const HEALTH_PERIOD: Duration = Duration::from_millis(500);
/// How far the clock may be behind what an earlier process saw, in milliseconds: time stands still for so
/// long at most.
const BEHIND_MS_MAX: i64 = 60_000;

/// A daemon that listens but does not serve yet.
#[derive(Debug)]
pub struct Bound {
    app: SharedApp,
    files: Files,
    listener: TcpListener,
    port: Option<Port>,
    door: Door,
    config: Config,
    /// Held as long as the journal is ours.
    _own: Option<File>,
}

fn fail(reason: Reason, why: impl core::fmt::Display) -> AppError {
    AppError::new(reason, why.to_string())
}

/// The halt store of a configuration.
///
/// # Errors
/// When it can never be used.
pub async fn open_halts(config: &Config) -> Result<HaltStore, AppError> {
    // One that goes while we run is not known until it is back; one that never was is misspelt.
    if let Place::Folder(folder) = &config.halt.place {
        is_folder(folder)?;
    }
    let opened = HaltStore::open(&config.halt.place).await;
    opened.map_err(|error| fail(Reason::HaltUnknown, error))
}

/// What is no folder, or none that is there, is a path that was misspelt.
fn is_folder(path: &Path) -> Result<(), AppError> {
    let shown = path.display();
    let (why, fix) = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => (
            format!("halt.store: there is no folder {shown}"),
            format!("correct halt.store, or, if nothing was ever halted there: mkdir -p {shown}"),
        ),
        Ok(found) if !found.is_dir() => (
            format!("halt.store: {shown} is no folder"),
            "correct halt.store; policyd init writes file://state/halt".to_owned(),
        ),
        _ => return Ok(()),
    };
    Err(fail(Reason::HaltUnknown, why).with_fix(fix))
}

/// Opens keys, cards, systems, credentials and the journal. Nothing is changed.
///
/// # Errors
/// Whatever is wrong with one of them, with its code.
pub async fn open(config: &Config) -> Result<SharedApp, AppError> {
    Ok(opened(config).await?.0)
}

/// The same with what was read, which is read again: each connection has one driver, and one issuer of tokens.
async fn opened(config: &Config) -> Result<(SharedApp, Files), AppError> {
    let (app, files) = open_with_files(config).await?;
    check_catalog(&app.catalog.load())?;
    Ok((app, files))
}

/// The same where no card or no connection can be used: what else is wrong is still to be seen.
pub(crate) async fn open_as_it_is(config: &Config) -> Result<SharedApp, AppError> {
    Ok(open_with_files(config).await?.0)
}

async fn open_with_files(config: &Config) -> Result<(SharedApp, Files), AppError> {
    let trust = Trust::configured(config.trust.keys_file.clone(), &config.trust.root_key)?;
    let mut files = Files::new(config.clone());
    files.ask_vault().await;
    let catalog = files.load(&Catalog::default(), 0)?;
    let journal = Journal::open(&config.store.url).await.map_err(|error| {
        let public = format!("{}: {error}", without_password(&config.store.url));
        AppError {
            public,
            ..AppError::from(error)
        }
    })?;
    let signed = client::signed("connectord", &own_files(config))?;
    let journal = journal.signed_by(signed, &config.server.audience);
    let rules = Rules {
        audience: config.server.audience.clone(),
        leeway_seconds: config.trust.leeway_seconds,
        ttl_seconds_max: config.trust.ttl_seconds_max,
    };
    let halts = open_halts(config).await?;
    let app = Arc::new(App {
        catalog: ArcSwap::from_pointee(catalog),
        journal,
        halts,
        halt_changes: tokio::sync::watch::Sender::new(None),
        instance: crate::ids::new_id().to_string(),
        global_operators: config.halt.global_operators.clone(),
        work: Work::default(),
        settling: Settling::default(),
        alike: crate::app::alike::refusals(),
        reserve: Arc::new(Reserve::new(&config.store.url, config.store.reserve_mb)),
        marks: Arc::new(MarkFile::open(config)?),
        trust,
        rules,
        long: Long::on(tokio::runtime::Handle::current()),
    });
    Ok((app, files))
}

/// The certificate of this connectord.
pub(crate) fn own_files(config: &Config) -> ClientFiles<'_> {
    ClientFiles {
        ca: &config.tls.ca,
        cert: &config.tls.cert,
        key: &config.tls.key_file,
    }
}

/// One tenant's bad file stops nobody; but where nothing at all can be done, the start says so.
pub(crate) fn check_catalog(catalog: &Catalog) -> Result<(), AppError> {
    let first = |other: Reason, none: &str| match catalog.problems.first() {
        Some(problem) => fail(problem.reason, &problem.what),
        None => fail(other, none),
    };
    if catalog.cards.is_empty() {
        return Err(first(Reason::CardMissing, "there are no cards"));
    }
    let usable = |connection: &Connection| connection.system.is_ok();
    if !catalog.connections.is_empty() && !catalog.connections.values().any(usable) {
        let why = "no connection can be used";
        return Err(first(Reason::SystemFileInvalid, why));
    }
    for problem in &catalog.problems {
        let tenant = problem.tenant.as_deref().unwrap_or("*");
        tracing::error!(tenant, "{}", problem.what);
    }
    Ok(())
}

/// Makes sure that no other process uses a journal in a file: at the start, what has not ended
/// is taken for the work of a process that is gone, and is settled.
pub(crate) fn own_journal(url: &str) -> Result<Option<File>, AppError> {
    alone(url).map_err(|error| {
        let reason = match error {
            AloneError::Taken(_) => Reason::JournalInUse,
            AloneError::Failed(_) => Reason::StoreUnavailable,
        };
        fail(reason, error)
    })
}

/// Marks what an earlier process left, where the journal is ours alone: over a server others may be sending now.
async fn take_over(app: &App, own: Option<&File>) -> Result<(), AppError> {
    if own.is_none() {
        return Ok(());
    }
    let marked = app.take_over().await?;
    if marked > 0 {
        tracing::warn!(
            marked,
            "executions of an earlier process have not ended; they are being settled"
        );
    }
    Ok(())
}

/// Opens everything, binds the port, and settles what a crash left. Nothing is served yet.
///
/// # Errors
/// Whatever is wrong with keys, cards, systems, credentials, journal or port, with its code.
pub async fn bind(config: Config) -> Result<Bound, AppError> {
    // Before the schema of a file that another process has is touched.
    let own = own_journal(&config.store.url)?;
    let (app, files) = opened(&config).await?;
    check_marks(&app).await?;
    // Before anybody is told that it is ready.
    let door = door(&config)?;
    let addr = config.server.grpc_addr;
    let listener = TcpListener::bind(addr).await.map_err(|error| {
        let message = format!("{addr}: {error}; choose another with --set server.grpc_addr=...");
        fail(Reason::PortInUse, message)
    })?;
    let port = Port::bind(&config).await?;
    // What was being sent is marked as in doubt here; that is looked into in the background, because
    // a system that hangs must not hold up the start.
    take_over(&app, own.as_ref()).await?;
    app.start_new_actions(&app.catalog.load_full()).await?;
    Ok(Bound {
        app,
        files,
        listener,
        port,
        door,
        config,
        _own: own,
    })
}

/// Whether a store was put back while this connectord was down: what it remembers is newer then.
///
/// # Errors
/// `STORE_RESTORED`, `TRUST_INVALID`, or the journal is away. Halts that went back are not known.
pub async fn check_marks(app: &SharedApp) -> Result<(), AppError> {
    let marks = app.marks.held();
    check_journal(&app.marks.journal(), &app.journal.mark().await?)?;
    let version = app.trust.keys().version;
    let other = !marks.trust_digest.is_empty()
        && marks.trust_digest != hex::encode(app.trust.keys().digest());
    if version < marks.trust || version == marks.trust && other {
        let message = format!(
            "the trust document has version {version}, and another one of version {} was in force here: put the \
             newest one back",
            marks.trust
        );
        return Err(fail(Reason::TrustInvalid, message));
    }
    app.halts.remember(app.marks.halts()).await;
    let behind = marks
        .clock_ms
        .saturating_sub(crate::clock::of_machine().timestamp_millis());
    if behind > BEHIND_MS_MAX {
        let message = format!(
            "the clock is {} s behind what this connectord saw; set it right, or, if it ran ahead once: \
             connectord journal accept --reason WHY",
            behind / 1_000
        );
        return Err(fail(Reason::StoreRestored, message));
    }
    crate::clock::not_before(marks.clock_ms);
    if behind > 0 {
        tracing::error!(
            behind_ms = behind,
            "the clock is behind what an earlier process saw; time stands still until it is not"
        );
    }
    Ok(())
}

/// What is in force, in one line.
#[must_use]
pub fn summary(app: &SharedApp) -> String {
    let (catalog, version) = (app.catalog.load().told(), app.trust.keys().version);
    format!("{catalog}  trust document v{version}")
}

/// A server with its limits.
#[must_use]
pub fn builder() -> PacedServer {
    let malformed = |why| status(&AppError::new(Reason::RequestMalformed, why));
    let refusals = Refusals {
        early: over_rate,
        unread: Arc::new(move |_, why: String| Box::pin(async move { malformed(why) })),
    };
    writ_proto::host::serve::grpc::server(CALL_TIMEOUT, refusals)
}

impl Bound {
    /// Where it listens.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn addr(&self) -> Result<SocketAddr, AppError> {
        self.listener
            .local_addr()
            .map_err(|error| fail(Reason::Internal, error))
    }

    /// Where the halt page is; none if there is none.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn http_addr(&self) -> Result<Option<SocketAddr>, AppError> {
        self.port.as_ref().map(Port::addr).transpose()
    }

    /// One line about what is in force.
    #[must_use]
    pub fn summary(&self) -> String {
        summary(&self.app)
    }

    /// Serves until `stop` is done.
    ///
    /// # Errors
    /// When the certificates are unusable or the listener fails.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        let Self {
            app,
            files,
            listener,
            port,
            door,
            config,
            _own,
        } = self;
        let access = Access::new(&config.halt.place);
        let access = access.map_err(|error| fail(Reason::HaltUnknown, error))?;
        let page = port.map(|port| port.serve(&app, access));
        if let Some(peer) = &config.policyd {
            let files = own_files(&config);
            let policyd = client::peer((&peer.addr, "policyd"), &files, Duration::from_secs(10))?;
            tokio::spawn(task::outbox::deliver(SharedApp::clone(&app), policyd));
        }
        begin(&app, files);
        let member = tokio::spawn(task::member::answer(SharedApp::clone(&app)));
        let enrolled = SharedApp::clone(&app);
        let authn = Authn::new(&config.tls.trust_domain);
        let (reporter, health) = tonic_health::server::health_reporter();
        tokio::spawn(watch_health(reporter, SharedApp::clone(&app)));
        let connector = ConnectorServiceServer::new(Connector {
            app: SharedApp::clone(&app),
            authn: authn.clone(),
        })
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let facts = Facts::new(SharedApp::clone(&app), authn.clone()).server();
        // A stream has no end of its own: the stop of the server is its end.
        let (ending, stopping) = tokio::sync::watch::channel(false);
        let stop = async move {
            stop.await;
            ending.send_replace(true);
        };
        let halts = HaltServiceServer::new(Halts::new(app, authn, stopping))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut router = builder()
            .add_service(health)
            .add_service(connector)
            .add_service(facts)
            .add_service(halts);
        if config.server.reflection {
            let v1 = reflection()
                .build_v1()
                .map_err(|error| fail(Reason::Internal, error))?;
            let v1alpha = reflection()
                .build_v1alpha()
                .map_err(|error| fail(Reason::Internal, error))?;
            router = router.add_service(v1).add_service(v1alpha);
        }
        let served = writ_proto::host::serve::grpc::serve(router, listener, door, stop).await;
        let page_ended = match page {
            Some(page) => page.end().await,
            None => Ok(()),
        };
        // Nobody waits for what is left, and the journal is still ours.
        enrolled.long.end().await;
        // While the journal is still ours and this process still counts: what waits for a token may write.
        crate::system::http::settled().await;
        member.abort();
        // Who is gone does not answer drills, and is not waited for.
        drop(member.await);
        drop(enrolled.halts.leave(&enrolled.instance).await);
        if let Err(error) = enrolled.report_counts(true).await {
            tracing::error!(%error, "how often alike refusals were counted is not reported");
        }
        page_ended?;
        served.map_err(|error| fail(Reason::Internal, error))
    }
}

/// What runs beside the calls.
fn begin(app: &SharedApp, files: Files) {
    tokio::spawn(task::alike::report(SharedApp::clone(app)));
    tokio::spawn(task::settle::settle(SharedApp::clone(app)));
    if let Some((vault, period)) = files.vault() {
        tokio::spawn(task::vault::ask(vault, period));
    }
    tokio::spawn(task::reload::watch(SharedApp::clone(app), files));
    tokio::spawn(task::reload::watch_trust(SharedApp::clone(app)));
    tokio::spawn(task::halt_watch::watch(SharedApp::clone(app)));
    tokio::spawn(task::marks::keep(SharedApp::clone(app)));
    tokio::spawn(task::probe::ask(SharedApp::clone(app)));
    tokio::spawn(Reserve::watch(Arc::clone(&app.reserve)));
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(writ_proto::pb::FILE_DESCRIPTOR_SET)
}

/// Who may come in: callers with a certificate of our CA, each with a share of the connections.
///
/// # Errors
/// When the certificates are unusable.
pub fn door(config: &Config) -> Result<Door, AppError> {
    let key = read_private(&config.tls.key_file)?;
    let tls = mutual_tls(&config.tls.cert, key.as_str(), &config.tls.ca);
    let tls = tls.map_err(|why| fail(Reason::TlsInvalid, why))?;
    let authn = Authn::new(&config.tls.trust_domain);
    authn.check_own(&config.tls.cert, "connectord")?;
    Ok(Door::new(tls, authn.reads(config.limits)))
}

/// What health is said of, beside the daemon as a whole.
const SERVICES: [&str; 1] = [connector_service_server::SERVICE_NAME];

/// Says SERVING while the journal answers.
async fn watch_health(reporter: tonic_health::server::HealthReporter, app: SharedApp) {
    health::say(&reporter, &SERVICES, false).await;
    let mut ticks = tokio::time::interval(HEALTH_PERIOD);
    loop {
        ticks.tick().await;
        let is_serving = app.journal.ping().await.is_ok() && !app.reserve.is_short();
        health::say(&reporter, &SERVICES, is_serving).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{app, journal_of};
    use crate::config::Layers;
    use crate::domain::execution::{Execution, State, tests::execution};

    #[tokio::test]
    async fn a_folder_of_halts_that_never_was_is_misspelt() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("connectord.toml");
        let text = include_str!("../../../deploy/connectord.example.toml");
        std::fs::write(&file, text).unwrap();
        let layers = Layers::read(&file, std::iter::empty(), "X_", &[]).unwrap();
        let mut config = Config::from_layers(&layers, &file).unwrap();
        config.halt.place = Place::Folder(folder.path().join("hlat"));
        let refused = open_halts(&config).await.unwrap_err();
        assert_eq!(refused.reason, Reason::HaltUnknown);
        assert!(refused.fix().contains("mkdir -p"), "{refused:?}");
        std::fs::create_dir(folder.path().join("hlat")).unwrap();
        open_halts(&config).await.unwrap();
    }

    #[tokio::test]
    async fn only_over_a_journal_of_its_own_is_what_is_being_sent_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path()).await;
        let mut sending = Execution {
            state: State::Sending,
            ..execution(1)
        };
        app.journal.save(&mut [&mut sending], vec![]).await.unwrap();
        let file = journal_of(folder.path());
        for (url, state) in [
            ("postgres://h/d", State::Sending),
            (file.as_str(), State::InDoubt),
        ] {
            let own = own_journal(url).unwrap();
            take_over(&app, own.as_ref()).await.unwrap();
            let found = app.journal.execution("acme", &sending.id).await.unwrap();
            assert_eq!(found.unwrap().state, state, "{url}");
        }
    }
}
