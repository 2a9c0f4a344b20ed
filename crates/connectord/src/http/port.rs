//! The HTTP port of a whole connectord: the halt page over its own halts, with the names of its
//! cards to choose from, ready while its journal answers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use writ_proto::Reason;
use writ_proto::host::serve::http;

use super::{Names, PutBack, Rules, Site, Undoes, bind, router};
use crate::access::Access;
use crate::app::SharedApp;
use crate::app::order::Order;
use crate::app::undo::Totals;
use crate::clock;
use crate::config::Config;
use crate::config::page::{HttpConfig, page_tls};
use crate::error::AppError;

const PING_PERIOD: Duration = Duration::from_millis(500);
/// So long a page waits for an undo; a request has 15 s in all.
const UNDO_ANSWER_MAX: Duration = Duration::from_secs(12);

/// A port that is bound and not served yet.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    config: HttpConfig,
}

/// A port that is served until it is ended.
#[derive(Debug)]
pub struct Serving {
    ending: watch::Sender<bool>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Port {
    /// Binds the port of a configuration; none if it names none.
    ///
    /// # Errors
    /// When the address is taken, or the certificate cannot be used.
    pub async fn bind(config: &Config) -> Result<Option<Self>, AppError> {
        let Some(http) = config.http()? else {
            return Ok(None);
        };
        let tls = if http.plaintext {
            None
        } else {
            Some(page_tls(&config.tls.cert, &config.tls.key_file)?)
        };
        Ok(Some(Self {
            listener: bind(http.addr).await?,
            tls,
            config: http,
        }))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn addr(&self) -> Result<SocketAddr, AppError> {
        let addr = self.listener.local_addr();
        addr.map_err(|error| AppError::new(Reason::Internal, error.to_string()))
    }

    /// Serves the page over the halts of a connectord.
    #[must_use]
    pub fn serve(self, app: &SharedApp, access: Access) -> Serving {
        let rules = Rules {
            plaintext: self.config.plaintext,
            hosts: self.config.hosts,
        };
        let answers = Arc::new(AtomicBool::new(false));
        tokio::spawn(ping(SharedApp::clone(app), Arc::clone(&answers)));
        let site = Site {
            names: names(app),
            ready: Arc::new(move || answers.load(Ordering::Acquire)),
            undoes: Some(undoes(app)),
            ..Site::new(app.halts.clone(), access, rules)
        };
        let (ending, mut ended) = watch::channel(false);
        let stop = async move {
            // A sender that is gone means the same.
            drop(ended.wait_for(|ended| *ended).await);
        };
        let router = router(Arc::new(site));
        let served = http::serve(self.listener, self.tls, router, http::Limits::PAGES, stop);
        Serving {
            ending,
            served: tokio::spawn(served),
        }
    }
}

impl Serving {
    /// Ends it, after the requests in flight.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub async fn end(self) -> Result<(), AppError> {
        let _gone = self.ending.send(true);
        let wrong =
            |error: &dyn core::fmt::Display| AppError::new(Reason::Internal, error.to_string());
        let served = self.served.await.map_err(|error| wrong(&error))?;
        served.map_err(|error| wrong(&error))
    }
}

/// A tenant whose last minutes are being undone, until this is dropped.
struct Turn {
    busy: Arc<Mutex<BTreeSet<String>>>,
    tenant: String,
}

impl Turn {
    fn take(busy: &Arc<Mutex<BTreeSet<String>>>, tenant: &str) -> Option<Self> {
        let mut tenants = busy.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.insert(tenant.to_owned()).then(|| Self {
            busy: Arc::clone(busy),
            tenant: tenant.to_owned(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut tenants = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.remove(&self.tenant);
    }
}

/// Undoes by the journal of a connectord, also when the phone hangs up in between.
fn undoes(app: &SharedApp) -> Undoes {
    let (app, busy) = (SharedApp::clone(app), Arc::default());
    Arc::new(move |wanted: PutBack| {
        let turn = Turn::take(&busy, &wanted.tenant);
        let app = SharedApp::clone(&app);
        Box::pin(async move {
            let turn = turn.ok_or(Reason::RateLimited)?;
            let work = put_back(SharedApp::clone(&app), wanted, turn);
            match timeout(UNDO_ANSWER_MAX, app.long.run(work)).await {
                Ok(Some(done)) => done,
                // Whatever it had done by then is in the journal.
                Ok(None) | Err(_) => Err(Reason::OutcomeUnknown),
            }
        })
    })
}

async fn put_back(app: SharedApp, wanted: PutBack, _turn: Turn) -> Result<Totals, Reason> {
    let order = Order {
        tenant: wanted.tenant,
        by: wanted.by,
        agent: None,
        reason: wanted.reason,
        dry_run: false,
        unsigned: false,
        request: String::new(),
    };
    tracing::warn!(
        tenant = order.tenant,
        by = order.by,
        "an undo from the page begins"
    );
    let span = (wanted.since_ms, clock::now().timestamp_millis());
    let done = app.undo_recent(&order, span).await;
    tracing::warn!(
        tenant = order.tenant,
        by = order.by,
        ?done,
        "undone from the page"
    );
    done.map_err(|error| match error.reason {
        Reason::RateLimited => error.reason,
        _ => Reason::StoreUnavailable,
    })
}

/// Looks whether the journal answers, until the process ends.
async fn ping(app: SharedApp, answers: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(PING_PERIOD);
    loop {
        ticks.tick().await;
        answers.store(app.journal.ping().await.is_ok(), Ordering::Release);
    }
}

fn names(app: &SharedApp) -> Names {
    let catalog = app.catalog.load();
    let actions: Vec<(String, String)> = catalog.cards.keys().cloned().collect();
    let mut tenants: Vec<String> = actions.iter().map(|(tenant, _)| tenant.clone()).collect();
    tenants.dedup();
    Names {
        tenants,
        actions,
        connections: catalog.connections.keys().cloned().collect(),
    }
}
