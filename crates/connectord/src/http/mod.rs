//! The HTTP port: the halt page, and what probes ask. A rim like `grpc`: it names axum, and shares
//! nothing with the rest but the halts, who may change them, and an order to undo.

pub mod guard;
pub mod halt;
pub mod notice;
pub mod page;
pub mod port;
mod post;
mod undo;
pub mod view;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use writ_proto::Reason;

use crate::access::Access;
use crate::access::attempts::Attempts;
use crate::app::undo::Totals;
use crate::halt::{Drill, HaltStore, Part, Scope};

/// Longest body of a form in bytes.
pub const BODY_BYTES_MAX: usize = 8 * 1_024;
/// Most sign-ins that are checked at once; each takes 19 MiB.
pub const SIGN_INS_AT_ONCE_MAX: usize = 2;

/// How the port is reached.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Plaintext on loopback, where TLS ends in front of us or nowhere.
    pub plaintext: bool,
    /// Names under which it is reached; empty takes any name, or in plaintext those of loopback.
    pub hosts: Vec<String>,
}

/// Names of this Writ, offered where one is typed: tenant, and name of an action or connection.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Tenants.
    pub tenants: Vec<String>,
    /// Actions, each with its tenant.
    pub actions: Vec<(String, String)>,
    /// Connections.
    pub connections: Vec<String>,
}

impl Names {
    /// Whether what a scope names is known, as far as anything is: a page server knows nothing, and
    /// nobody knows every agent, customer and run.
    fn know(&self, scope: &Scope) -> bool {
        let knows = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|known| known == name)
        };
        let tenant = scope.tenant().map(|tenant| tenant.as_str());
        let action = |name: &str| {
            let fits = |(of, known): &(String, String)| {
                known == name && tenant.is_none_or(|tenant| tenant == of)
            };
            self.actions.is_empty() || self.actions.iter().any(fits)
        };
        let part = match scope.part() {
            Part::Connection(name) => knows(&self.connections, name),
            Part::Action(name) => action(name),
            Part::All | Part::Agent(_) | Part::Customer(_) | Part::Run(_) => true,
        };
        part && tenant.is_none_or(|tenant| knows(&self.tenants, tenant))
    }
}

/// A check whether the daemon behind the page can work, such as that its journal answers.
pub type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

/// An order to put back what was written in the last minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutBack {
    /// Whose records.
    pub tenant: String,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// From when on, in Unix milliseconds.
    pub since_ms: i64,
}

/// What carries such an order out. It fails with `RATE_LIMITED` while another one of the tenant is
/// under way, `STORE_UNAVAILABLE` when nothing was done, and `OUTCOME_UNKNOWN` when it goes on
/// longer than a page can wait.
pub type Undoes = Arc<
    dyn Fn(PutBack) -> Pin<Box<dyn Future<Output = Result<Totals, Reason>> + Send>> + Send + Sync,
>;

/// Everything the pages share.
pub struct Site {
    /// The halts.
    pub halts: HaltStore,
    /// Who may change them.
    pub access: Access,
    /// How the port is reached.
    pub rules: Rules,
    /// What is offered where a name is typed.
    pub names: Names,
    /// Whether what is behind can work.
    pub ready: Ready,
    /// What undoes; none where there is no journal, as on a page server.
    pub undoes: Option<Undoes>,
    attempts: Mutex<Attempts>,
    sign_ins: Semaphore,
    drill: Mutex<Option<LastDrill>>,
    drilling: Semaphore,
}

/// A check of every connectord, when it began, and when it ended in Unix milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct LastDrill {
    pub(crate) drill: Drill,
    pub(crate) began: Instant,
    pub(crate) at_ms: i64,
}

impl core::fmt::Debug for Site {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Site")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Shared handle.
pub type SharedSite = Arc<Site>;

impl Site {
    /// A site over a halt store.
    #[must_use]
    pub fn new(halts: HaltStore, access: Access, rules: Rules) -> Self {
        Self {
            halts,
            access,
            rules,
            names: Names::default(),
            ready: Arc::new(|| true),
            undoes: None,
            attempts: Mutex::default(),
            sign_ins: Semaphore::new(SIGN_INS_AT_ONCE_MAX),
            drill: Mutex::default(),
            drilling: Semaphore::new(1),
        }
    }
}

/// The routes.
pub fn router(site: SharedSite) -> Router {
    Router::new()
        .route("/", get(halt::show))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/halt", get(halt::show))
        .route("/halt/live", get(halt::live))
        .route("/halt/set", post(post::set))
        .route("/halt/resume", get(halt::resume_form).post(post::resume))
        .route("/halt/undo", get(undo::form).post(undo::undo))
        .route("/halt/d/{secret}", get(halt::device_form))
        .route("/halt/device", post(post::device_link))
        .fallback(|| async { page::refused(StatusCode::NOT_FOUND, page::NOT_FOUND) })
        .method_not_allowed_fallback(|| async {
            page::refused(StatusCode::METHOD_NOT_ALLOWED, page::NOT_FOUND)
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(SharedSite::clone(&site), guard::guard))
        .with_state(site)
}

async fn readyz(State(site): State<SharedSite>) -> Response {
    let now = crate::clock::now().timestamp();
    if let Err(error) = site.halts.read(now) {
        tracing::warn!(%error, "not ready: the halt state is not known");
        return (StatusCode::SERVICE_UNAVAILABLE, "halt state not known\n").into_response();
    }
    if !(site.ready)() {
        return (StatusCode::SERVICE_UNAVAILABLE, "store away\n").into_response();
    }
    "ok\n".into_response()
}

/// Binds the port.
///
/// # Errors
/// `PORT_IN_USE` when the address cannot be bound.
pub async fn bind(addr: SocketAddr) -> Result<tokio::net::TcpListener, crate::error::AppError> {
    let bound = tokio::net::TcpListener::bind(addr).await;
    bound.map_err(|error| {
        let message = format!("{addr}: {error}; choose another with --set server.http_addr=...");
        crate::error::AppError::new(Reason::PortInUse, message)
    })
}
