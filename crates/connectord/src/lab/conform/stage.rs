//! Two connectords in this process over one record: one behind the proxy, and one that stands for
//! somebody else. Each has a journal, halts and keys of its own in a throw-away folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use writ_proto::card::Card;
use writ_proto::digest::sha256;
use writ_proto::ids::{DecisionId, TokenId};
use writ_proto::keyset::{KeyEntry, KeySet, KeyUse};
use writ_proto::token::{Claims, Mode, mint};
use writ_proto::value::Map;

use crate::app::SharedApp;
use crate::app::order::Order;
use crate::app::undo::Undone;
use crate::config::Config;
use crate::domain::execution::{Execution, State};
use crate::domain::gate::Call;
use crate::error::AppError;
use crate::halt::Place;
use crate::lab::conform::fail;
use crate::{clock, ids, server};

/// The agent of every call, and who undoes.
const NAME: &str = "conform";
const LIFE_SECONDS: u32 = 120;
/// How often a doubt is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The throw-away folder; it goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn below(parent: &Path) -> Result<Self, AppError> {
        let folder = parent.join(format!(".connectord-conform-{}", ids::new_id()));
        std::fs::create_dir_all(&folder).map_err(fail)?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays; there is nobody left to tell.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What every call is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) tenant: String,
    pub(crate) card: Arc<Card>,
    pub(crate) target: (String, String),
}

/// One connectord.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) app: SharedApp,
    key: SigningKey,
    subject: Subject,
}

/// A call and its writ, to make once or again.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) token: Vec<u8>,
    pub(crate) call: Call,
}

impl Side {
    /// Opens one in a folder of its own; `config` names cards, systems and the connection.
    pub(crate) async fn open(
        mut config: Config,
        folder: &Path,
        subject: &Subject,
    ) -> Result<Self, AppError> {
        let halts = folder.join("halt");
        std::fs::create_dir_all(&halts).map_err(fail)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(fail)?;
        let key = SigningKey::from_bytes(&seed);
        let listed = KeyEntry::new(key.verifying_key(), NAME, KeyUse::Decision);
        let keys = KeySet::new(1, vec![listed]).map_err(fail)?;
        let file = folder.join("public.json");
        std::fs::write(&file, keys.sign_document(&key)).map_err(fail)?;
        config.trust.keys_file = file;
        config.trust.root_key = hex::encode(key.verifying_key().as_bytes());
        config.store.url = format!("sqlite://{}", folder.join("journal.db").display());
        config.halt.place = Place::Folder(halts);
        // What is signed here is signed for no real pool.
        NAME.clone_into(&mut config.server.audience);
        let app = server::open(&config).await?;
        app.start_new_actions(&app.catalog.load_full()).await?;
        Ok(Self {
            app,
            key,
            subject: subject.clone(),
        })
    }

    pub(crate) fn tenant(&self) -> &str {
        &self.subject.tenant
    }

    /// A fresh writ for one call, to the target or to another record of its type.
    pub(crate) fn ask(&self, args: &Map, mode: Mode, id: Option<&str>) -> Result<Asked, AppError> {
        let subject = &self.subject;
        let kind = subject.target.0.clone();
        let id = id.unwrap_or(&subject.target.1).to_owned();
        let run = ids::new_id().to_string();
        let call = Call {
            tenant: subject.tenant.clone(),
            caller_tenant: subject.tenant.clone(),
            agent: NAME.to_owned(),
            connection: subject.card.connection.to_string(),
            action: subject.card.name.to_string(),
            target: Some((kind, id)),
            args_cbor: args.encode(),
            precondition: None,
            mode,
            request_id: ids::new_id(),
            run_id: run.clone(),
        };
        let iat = u32::try_from(clock::now().timestamp()).map_err(fail)?;
        let epoch = self.app.halt_state()?.epoch;
        let claims = Claims {
            iss: NAME.to_owned(),
            sub: NAME.to_owned(),
            aud: self.app.rules.audience.clone(),
            exp: iat.saturating_add(LIFE_SECONDS.min(self.app.rules.ttl_seconds_max)),
            iat,
            cti: TokenId::new(ids::new_id()),
            cnf: Some(certificate()),
            tenant: call.tenant.clone(),
            agent: call.agent.clone(),
            connection: call.connection.clone(),
            action: call.action.clone(),
            target: call.target.clone(),
            request_hash: call.request_hash(),
            mode,
            decision_id: DecisionId::new(ids::new_id()),
            record_version: 1,
            policy_digest: [0; 32],
            epoch,
            approval: None,
            limits: None,
            trace_id: None,
            card_digest: subject.card.digest(),
            run: Some(run),
        };
        let token = mint(&claims, &self.key);
        Ok(Asked { token, call })
    }

    /// Makes a call.
    pub(crate) async fn present(&self, asked: &Asked) -> Result<Execution, AppError> {
        let app = SharedApp::clone(&self.app);
        let done = app.execute(&asked.token, asked.call.clone(), certificate());
        Ok(done.await?.execution)
    }

    /// Asks for a call and makes it.
    pub(crate) async fn execute(&self, args: &Map) -> Result<Execution, AppError> {
        self.present(&self.ask(args, Mode::Execute, None)?).await
    }

    /// The dry run of a call.
    pub(crate) async fn rehearse(&self, args: &Map) -> Result<Execution, AppError> {
        self.present(&self.ask(args, Mode::DryRun, None)?).await
    }

    /// Undoes a write, as an operator.
    pub(crate) async fn undo(&self, id: &str) -> Result<Undone, AppError> {
        let order = Order {
            tenant: self.subject.tenant.clone(),
            by: NAME.to_owned(),
            agent: None,
            reason: NAME.to_owned(),
            dry_run: false,
            unsigned: true,
            request: String::new(),
        };
        self.app.undo(&order, id).await
    }

    /// Settles until a doubt has ended or the time is over; the execution as it stands then.
    pub(crate) async fn settled(&self, id: &str, within: Duration) -> Result<Execution, AppError> {
        let begun = Instant::now();
        loop {
            let found = self.app.journal.execution(&self.subject.tenant, id).await?;
            let found = found.ok_or_else(|| fail("an execution is gone"))?;
            if found.state != State::InDoubt || begun.elapsed() > within {
                return Ok(found);
            }
            self.app.reconcile(within).await?;
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The certificate that every writ is bound to.
fn certificate() -> [u8; 32] {
    sha256(NAME.as_bytes())
}
