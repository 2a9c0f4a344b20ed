//! Puts the daemon together: configuration to listener to services, until told to stop.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use writ_proto::Reason;
use writ_proto::host::channel::Peer;
use writ_proto::host::serve::connections::{Door, mutual_tls};
use writ_proto::host::serve::grpc::PacedRouter;
use writ_proto::host::serve::health;
use writ_proto::host::serve::paced::{Refusals, Unread};
use writ_proto::host::store::alone::{AloneError, alone};
use writ_proto::host::store::disk::Reserve;
use writ_proto::host::store::postgres::without_password;
use writ_proto::limits::MESSAGE_BYTES_MAX;
use writ_proto::pb::authorization_service_server::{self, AuthorizationServiceServer};
use writ_proto::pb::budget_service_server::BudgetServiceServer;
use writ_proto::pb::incident_service_server::IncidentServiceServer;
use writ_proto::pb::key_service_server::KeyServiceServer;
use writ_proto::pb::notice_service_server::NoticeServiceServer;
use writ_proto::pb::record_service_server::{self, RecordServiceServer};

use crate::app::ask::known::{self, Systems};
use crate::app::ask::offers::Searches;
use crate::app::containment::alike::denials;
use crate::app::containment::denials::Stopped;
use crate::app::containment::halting;
use crate::app::containment::halting::{HaltClient, HaltQueue};
use crate::app::evidence::signer::Signer;
use crate::app::policies::{Loaded, PolicyTable, Watched};
use crate::app::{Admission, App, Identity, SharedApp, are_halts_known, policies};
use crate::config::Config;
use crate::domain::allowance::Allowance;
use crate::domain::decide::facts::HaltView;
use crate::domain::policy::PolicyErrors;
use crate::error::AppError;
use crate::grpc::client::{self, ClientFiles};
use crate::grpc::status::{over_rate, status};
use crate::grpc::{
    authorization::Authorization, budgets::Budgets, exports::Exports, facts, incidents::Incidents,
    keys::Keys, records::Records,
};
use crate::http::authzen;
use crate::identity::Authn;
use crate::marks::{self, MarkFile};
use crate::store::{Ledger, Writer};
use crate::task::notify::Notifier;
use crate::{clock, ids, keys, task};

const HEALTH_PERIOD: Duration = Duration::from_millis(500);
/// How often something is written to see whether that is possible.
const PROBE_PERIOD: Duration = Duration::from_secs(5);

/// A daemon that listens but does not serve yet.
#[derive(Debug)]
pub struct Bound {
    app: SharedApp,
    watched: Watched,
    refused: BTreeMap<String, PolicyErrors>,
    notifier: Notifier,
    halt_queue: HaltQueue,
    listener: TcpListener,
    door: Door,
    config: Config,
    /// Whose halts are followed.
    connectord: Option<Peer>,
    /// Held as long as the database is ours.
    _own: Option<File>,
}

fn fail(reason: Reason, why: impl core::fmt::Display) -> AppError {
    AppError::new(reason, why.to_string())
}

fn identity(config: &Config) -> Identity {
    Identity {
        issuer: config.token.issuer.clone(),
        audience: config.token.audience.clone(),
        log: config.records.log.clone(),
        writer: format!("policyd-{}", ids::new_id()),
        ttl_seconds: config.token.ttl_seconds,
    }
}

fn refused(errors: &PolicyErrors) -> AppError {
    let first = errors.0.first();
    let reason = first.map_or(Reason::PolicyInvalid, |first| first.reason);
    fail(reason, errors)
}

/// Policies, where at least one tenant has some.
fn policies_of(config: &Config) -> Result<Loaded, AppError> {
    let dir = &config.policy.dir;
    if !dir.is_dir() {
        let why = format!("policy.dir: there is no folder {}", dir.display());
        return Err(fail(Reason::ConfigInvalid, why));
    }
    let loaded = policies::load(dir).map_err(|errors| refused(&errors))?;
    if loaded.table.is_empty() {
        return Err(refused(&loaded.errors()));
    }
    Ok(loaded)
}

/// The use cases over an opened ledger; what orders halts is given apart.
fn app(
    config: &Config,
    table: PolicyTable,
    (ledger, halting): (Ledger, HaltClient),
) -> Result<SharedApp, AppError> {
    let signer = Signer::read(config).map_err(|error| fail(error.reason, error.detail))?;
    let deadline = Duration::from_secs(config.server.timeout_seconds.into());
    let writer = Writer::new(&ledger, deadline);
    Ok(Arc::new(App {
        policies: ArcSwap::from_pointee(table),
        halts: ArcSwap::from_pointee(HaltView::default()),
        halts_asked_ms: AtomicI64::new(0),
        stopped: ArcSwap::from_pointee(Stopped::default()),
        refreshing: tokio::sync::Mutex::new(()),
        escalate: Notify::new(),
        alike: denials(),
        believed: AtomicBool::new(true),
        marked: AtomicBool::new(true),
        admission: Admission::default(),
        offers: Mutex::new(Allowance::default()),
        searches: Searches::default(),
        systems: Systems::default(),
        reserve: Arc::new(Reserve::new(&config.store.url, config.store.reserve_mb)),
        halting,
        trips: Notify::new(),
        ledger,
        writer,
        signer: ArcSwap::from_pointee(signer),
        identity: identity(config),
        marks: MarkFile::open(config)?,
        deciding: config.deciding(),
    }))
}

/// The use cases for a command that runs while policyd does not.
///
/// # Errors
/// Whatever is wrong with keys or policies.
pub fn offline(config: &Config, ledger: Ledger) -> Result<SharedApp, AppError> {
    let (halting, _nobody) = halting::channel();
    app(config, policies_of(config)?.table, (ledger, halting))
}

/// How connectord is reached, where halts are followed.
fn connectord_of(config: &Config, timeout: Duration) -> Result<Option<Peer>, AppError> {
    let Some(peer) = &config.connectord else {
        return Ok(None);
    };
    let files = ClientFiles {
        ca: &config.tls.ca,
        cert: &config.tls.cert,
        key: &config.tls.key_file,
    };
    let named = (peer.addr.as_str(), "connectord");
    client::peer(named, &files, timeout).map(Some)
}

/// Makes sure that no other policyd uses a database in a file: each would count and contain without the other.
pub(crate) fn own_store(url: &str) -> Result<Option<File>, AppError> {
    alone(url).map_err(|error| {
        let reason = match error {
            AloneError::Taken(_) => Reason::StoreInUse,
            AloneError::Failed(_) => Reason::StoreUnavailable,
        };
        fail(reason, error)
    })
}

/// Opens everything and binds the port. Nothing is served yet.
///
/// # Errors
/// Whatever is wrong with keys, policies, store or port, with its code.
pub async fn bind(config: Config) -> Result<Bound, AppError> {
    // Looked at before it is read: what changes in between is read again.
    let dir = config.policy.dir.clone();
    let waited = tokio::task::spawn_blocking(move || policies::wait_for_rest(&dir));
    waited
        .await
        .map_err(|error| fail(Reason::Internal, error))?;
    let mut watched = Watched::new(&config.policy.dir);
    let Loaded { table, mut refused } = policies_of(&config)?;
    let notifier = Notifier::open(&config.notify)?;
    // Before the schema of a file that another process has is touched.
    let own = own_store(&config.store.url)?;
    let ledger = Ledger::open(&config.store.url).await.map_err(|error| {
        let public = format!("{}: {error}", without_password(&config.store.url));
        AppError {
            public,
            ..AppError::from(error)
        }
    })?;
    let connectord = connectord_of(&config, Duration::from_secs(1))?;
    // Before anybody is told that it is ready.
    let door = door(&config)?;
    let addr = config.server.grpc_addr;
    let listener = TcpListener::bind(addr).await.map_err(|error| {
        let message = format!("{addr}: {error}; choose another with --set server.grpc_addr=...");
        fail(Reason::PortInUse, message)
    })?;
    let (halting, halt_queue) = halting::channel();
    let app = app(&config, table, (ledger, halting))?;
    if let Some(peer) = connectord_of(&config, known::DEADLINE)? {
        app.systems.ask_at(facts::asked_at(&peer));
    }
    app.marks.check_trust(&app.signer.load().keys)?;
    marks::check(&app.marks, &app.ledger).await?;
    let sets: Vec<_> = app.policies.load().values().cloned().collect();
    for set in sets {
        // Without its record a set decides nothing; that is the matter of its tenant alone.
        if let Err(error) = app.publish(&set).await {
            let why = format!("no record says that it is in force: {error}");
            refused.insert(set.tenant.to_string(), policies::finding("set.toml", why));
            watched.again(set.tenant.as_str());
            app.policies.rcu(|table| {
                let mut table = PolicyTable::clone(table);
                table.remove(&set.tenant);
                table
            });
        }
    }
    app.marks.trust(&app.signer.load().keys)?;
    if let Some(error) = app.finish_rotations(&config)? {
        tracing::error!(%error, "{}", task::keys::UNFINISHED);
    }
    app.take_keys(&config)?;
    // Whom incidents stop is known before anybody is served.
    app.refresh_stops().await?;
    if app.policies.load().is_empty() {
        let first = refused.into_values().next();
        return Err(first.map_or_else(
            || AppError::of(Reason::PolicyEmpty),
            |errors| self::refused(&errors),
        ));
    }
    Ok(Bound {
        app,
        watched,
        refused,
        notifier,
        halt_queue,
        listener,
        door,
        config,
        connectord,
        _own: own,
    })
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

    /// One line about what is in force.
    #[must_use]
    pub fn summary(&self) -> String {
        let table = self.app.policies.load();
        let sets = table.values().map(|set| {
            let short: String = hex::encode(set.digest).chars().take(8).collect();
            format!("{} {} (sha256:{short})", set.tenant, set.label)
        });
        let sets: Vec<String> = sets.collect();
        format!(
            "policies {}  trust document v{}",
            sets.join(", "),
            self.app.signer.load().keys.version
        )
    }

    /// Serves until `stop` is done.
    ///
    /// # Errors
    /// When the certificates are unusable or the listener fails.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        let Self {
            app,
            watched,
            refused,
            notifier,
            halt_queue,
            listener,
            door,
            config,
            connectord,
            _own,
        } = self;
        if config.policy.watch {
            tokio::spawn(task::reload::watch(SharedApp::clone(&app), watched));
        }
        tokio::spawn(task::reload::tell_refused(SharedApp::clone(&app), refused));
        if let Some(connectord) = connectord {
            tokio::spawn(task::halt_orders::deliver(
                SharedApp::clone(&app),
                halt_queue,
                connectord.clone(),
            ));
            tokio::spawn(task::halt_watch::follow(SharedApp::clone(&app), connectord));
            tokio::spawn(task::trips::deliver(SharedApp::clone(&app)));
        }
        tokio::spawn(task::keys::follow(SharedApp::clone(&app), config.clone()));
        tokio::spawn(task::marks::keep(SharedApp::clone(&app)));
        tokio::spawn(task::escalate::run(SharedApp::clone(&app)));
        tokio::spawn(Reserve::watch(Arc::clone(&app.reserve)));
        tokio::spawn(task::alike::record(SharedApp::clone(&app)));
        tokio::spawn(task::holds::release(SharedApp::clone(&app)));
        tokio::spawn(task::notify::deliver(SharedApp::clone(&app), notifier));
        let authn = Authn::new(&config.tls.trust_domain);
        let (reporter, health) = tonic_health::server::health_reporter();
        let asks = config.connectord.is_some();
        tokio::spawn(watch_health(reporter, SharedApp::clone(&app), asks));
        let router = router(&config, &app, &authn, health)?;
        let served = writ_proto::host::serve::grpc::serve(router, listener, door, stop).await;
        if let Err(error) = app.record_counts(true).await {
            tracing::error!(%error, "how often alike denials were counted is not in the log");
        }
        served.map_err(|error| fail(Reason::Internal, error))
    }
}

fn router(
    config: &Config,
    app: &SharedApp,
    authn: &Authn,
    health: HealthServer<impl Health>,
) -> Result<PacedRouter, AppError> {
    let authorization = Authorization {
        app: SharedApp::clone(app),
        authn: authn.clone(),
    };
    let records = RecordServiceServer::new(Records {
        app: SharedApp::clone(app),
        authn: authn.clone(),
        exports: Exports::default(),
    })
    .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let budgets = BudgetServiceServer::new(Budgets {
        app: SharedApp::clone(app),
        authn: authn.clone(),
        reporters: config.usage.reporters.iter().cloned().collect(),
    })
    .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let key_service = KeyServiceServer::new(Keys {
        app: SharedApp::clone(app),
        authn: authn.clone(),
    })
    .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let incidents = Incidents {
        app: SharedApp::clone(app),
        authn: authn.clone(),
    };
    let notices =
        NoticeServiceServer::new(incidents.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let incidents =
        IncidentServiceServer::new(incidents).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let call_timeout = Duration::from_secs(config.server.timeout_seconds.saturating_add(1).into());
    let mut routes = Routes::new(health)
        .add_service(
            AuthorizationServiceServer::new(authorization.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(records)
        .add_service(budgets)
        .add_service(key_service)
        .add_service(incidents)
        .add_service(notices);
    if config.server.reflection {
        let v1 = reflection()
            .build_v1()
            .map_err(|error| fail(Reason::Internal, error))?;
        let v1alpha = reflection()
            .build_v1alpha()
            .map_err(|error| fail(Reason::Internal, error))?;
        routes = routes.add_service(v1).add_service(v1alpha);
    }
    let all = routes
        .into_axum_router()
        .merge(authzen::routes(authorization.clone()));
    // JSON comes over HTTP/1.1 as well.
    let refusals = Refusals {
        early: over_rate,
        unread: unread_by(authorization),
    };
    let server = writ_proto::host::serve::grpc::server(call_timeout, refusals).accept_http1(true);
    Ok(server.clone().add_routes(Routes::from(all)))
}

/// A message of an agent that no service saw is a record like every other that cannot be read.
fn unread_by(authorization: Authorization) -> Unread {
    Arc::new(move |met, why| {
        let authorization = authorization.clone();
        Box::pin(async move {
            let error = AppError::new(Reason::RequestMalformed, why);
            let error = match authorization.authn.agent_of(&met) {
                Ok(agent) => authorization.unreadable_in_turn((&agent, ""), error).await,
                Err(_) => error,
            };
            status(&error)
        })
    })
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(writ_proto::pb::FILE_DESCRIPTOR_SET)
}

/// Who may come in: callers with a certificate of our CA, each with a share of the connections.
pub fn door(config: &Config) -> Result<Door, AppError> {
    let key = keys::read_private(&config.tls.key_file)
        .map_err(|error| fail(error.reason, error.detail))?;
    let tls = mutual_tls(&config.tls.cert, key.as_str(), &config.tls.ca);
    let tls = tls.map_err(|why| fail(Reason::TlsInvalid, why))?;
    let authn = Authn::new(&config.tls.trust_domain);
    authn.check_own(&config.tls.cert, "policyd")?;
    Ok(Door::new(tls, authn.reads(config.limits)))
}

/// What health is said of, beside the daemon as a whole.
const SERVICES: [&str; 2] = [
    authorization_service_server::SERVICE_NAME,
    record_service_server::SERVICE_NAME,
];

/// Says that it serves only while a decision could be recorded: there are policies, the database
/// answers, what is written to it stays, and connectord, where there is one, says which halts are set.
async fn watch_health(reporter: tonic_health::server::HealthReporter, app: SharedApp, asks: bool) {
    let began_ms = clock::now().timestamp_millis();
    health::say(&reporter, &SERVICES, false).await;
    let mut ticks = tokio::time::interval(HEALTH_PERIOD);
    let (mut writes, mut looked) = (false, None::<Instant>);
    loop {
        ticks.tick().await;
        let due = looked.is_none_or(|at| at.elapsed() >= PROBE_PERIOD);
        if due || !writes {
            let probed = app.ledger.probe(clock::now().timestamp_millis()).await;
            if let Err(error) = &probed
                && (writes || looked.is_none())
            {
                tracing::error!(%error, "not serving: nothing can be written to the database");
            }
            writes = probed.is_ok();
            looked = Some(Instant::now());
        }
        let has_policies = !app.policies.load().is_empty();
        let asked_ms = app.halts_asked_ms.load(Ordering::Relaxed);
        let now_ms = clock::now().timestamp_millis();
        let halts_known = !asks || are_halts_known(asked_ms, began_ms, now_ms);
        let stores = writes && app.writer.open().is_ok() && app.room().is_ok();
        let believed = app.believed.load(Ordering::Relaxed) && app.marked.load(Ordering::Relaxed);
        let is_serving =
            stores && believed && has_policies && halts_known && app.ledger.ping().await.is_ok();
        health::say(&reporter, &SERVICES, is_serving).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{STRICT, config, folder, opened};
    use crate::domain::decide::tests::refund;

    #[tokio::test]
    async fn whom_incidents_stop_is_known_before_anybody_is_served() {
        let folder = folder(STRICT);
        let mut config = config(&folder);
        config.server.grpc_addr.set_port(0);
        let request = refund("900.00");
        let before = opened(&config).await;
        before.authorize(&request).await.unwrap();
        let app = Box::pin(bind(config)).await.unwrap().app;
        assert!(app.is_stopped(&request.caller_tenant, &request.agent));
    }
}
