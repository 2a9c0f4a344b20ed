//! The record, the two connectords over it, and the way between one of them and the system.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Value as Toml;
use writ_proto::Reason;
use writ_proto::card::Card;
use writ_proto::token::Mode;
use writ_proto::value::Map;

use crate::config::{Config, ConnectionConfig};
use crate::domain::execution::{Change, Execution, State};
use crate::error::AppError;
use crate::lab::conform::proxy::Proxy;
use crate::lab::conform::stage::{Folder, Side, Subject};
use crate::lab::conform::translator::Translator;
use crate::lab::conform::way::{Fault, Moment, Way};
use crate::lab::conform::{ConformArgs, fail, map, tap};
use crate::system::file::{Bound, Driver, Object, Verb};
use crate::system::http::{Plugin, base_url};

/// What the way does late is done within this time, and so long a doubt is believed in at least.
pub(crate) const SETTLE_AFTER: Duration = Duration::from_secs(2);
/// Longest call.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a doubt to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

/// Everything that a case needs.
pub(crate) struct World {
    /// Behind the way that fails.
    pub(crate) ours: Side,
    /// Somebody else, who reaches the system as it is.
    pub(crate) other: Side,
    pub(crate) way: Way,
    pub(crate) bound: Bound,
    pub(crate) card: Arc<Card>,
    pub(crate) target: (String, String),
    pub(crate) missing: String,
    /// What is written, what stands before, what somebody else writes, and what is too much.
    pub(crate) args: Map,
    pub(crate) from: Option<Map>,
    pub(crate) edit: Option<Map>,
    pub(crate) over: Option<Map>,
    _folder: Folder,
}

/// A card whose action is live and whose ceilings hold nothing up.
fn unbound(text: &str) -> Result<(Card, String), AppError> {
    let mut card: toml::Table = toml::from_str(text).map_err(fail)?;
    for key in ["hours", "pilot", "demote", "intent"] {
        card.remove(key);
    }
    card.insert("rollout".into(), Toml::String("live".into()));
    card.insert("rollout_max".into(), Toml::String("live".into()));
    let caps = toml::Table::from_iter([("records_per_day".to_owned(), Toml::Integer(1_000_000))]);
    card.insert("caps".into(), Toml::Table(caps));
    let text = toml::to_string(&card).map_err(fail)?;
    Ok((Card::parse(&text).map_err(fail)?, text))
}

/// The system file with short times: here nothing is late but what the way makes late.
fn hurried(text: &str) -> Result<String, AppError> {
    let mut file: toml::Table = toml::from_str(text).map_err(fail)?;
    let seconds = |span: Duration| Toml::String(format!("{}s", span.as_secs()));
    file.insert("settle_after".into(), seconds(SETTLE_AFTER));
    file.insert("timeout".into(), seconds(TIMEOUT));
    toml::to_string(&file).map_err(fail)
}

/// The same file as if the system itself spoke as the plug-in makes it: the way translates then, and fails in every manner
/// between connectord and the plug-in.
fn untranslated(text: &str) -> Result<String, AppError> {
    let mut file: toml::Table = toml::from_str(text).map_err(fail)?;
    if file.remove("plugin").is_some() {
        file.insert("driver".into(), Toml::String("http".into()));
        file.insert("encode".into(), Toml::String("json".into()));
    }
    toml::to_string(&file).map_err(fail)
}

/// The name of that file.
fn untranslated_name(name: &str) -> String {
    format!("{name}-untranslated")
}

fn written(path: &Path, text: &str) -> Result<(), AppError> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(fail)?;
    std::fs::write(path, text).map_err(fail)
}

/// Puts the way before a connection; gives the address of its other end.
async fn behind(
    way: &Way,
    bound: &Bound,
    connection: &ConnectionConfig,
) -> Result<String, AppError> {
    let base = &connection.base_url;
    if bound.driver == Driver::Postgres {
        let at = base.split_once('@').map(|(_, rest)| rest);
        let at = at.ok_or_else(|| fail("base_url is postgres://USER@HOST/DATABASE"))?;
        let host = at.split(['/', '?']).next().unwrap_or(at);
        let named = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:5432")
        };
        let addr = tap::start(way, named).await?;
        return Ok(base.replacen(&format!("@{host}"), &format!("@{addr}"), 1));
    }
    let upstream = base_url(base, connection.private).map_err(fail)?;
    let socket = connection.plugin.as_deref();
    let plugin = socket.and_then(|socket| Plugin::new(bound, socket));
    let translator = plugin.map(|plugin| Translator::new(plugin, bound, &upstream));
    let proxy = Proxy::start(way, (upstream, translator), &bound.auth).await?;
    Ok(proxy.base_url())
}

/// Puts card and system file into the throw-away folder, and a configuration onto them.
fn staged(
    config: &mut Config,
    args: &ConformArgs,
    folder: &Folder,
    card: &str,
    system: &(String, String),
) -> Result<(), AppError> {
    let at = folder.path();
    let (tenant, action) = (&args.tenant, &args.action);
    let place = at.join(format!("cards/{tenant}/actions/{action}.toml"));
    written(&place, card)?;
    let (name, text) = system;
    written(&at.join(format!("systems/{name}.toml")), text)?;
    let other = untranslated_name(name);
    written(
        &at.join(format!("systems/{other}.toml")),
        &untranslated(text)?,
    )?;
    config.cards.dir = at.join("cards");
    config.systems.dir = at.join("systems");
    Ok(())
}

/// The connection of a card.
fn connection_of(config: &Config, card: &Card) -> Result<ConnectionConfig, AppError> {
    let mut all = config.connection.iter();
    let found = all.find(|one| one.name == card.connection.as_str());
    let found = found.ok_or_else(|| AppError::of(Reason::UnknownConnection))?;
    if found.folder.is_some() {
        let why = "a folder of templates has no system file";
        return Err(AppError::new(Reason::RequestMalformed, why));
    }
    Ok(found.clone())
}

impl World {
    pub(crate) async fn open(mut config: Config, args: &ConformArgs) -> Result<Self, AppError> {
        let wrong = |why: &str| AppError::new(Reason::RequestMalformed, why);
        let target = args.target.split_once('/');
        let (kind, id) = target.ok_or_else(|| wrong("--target is TYPE/ID"))?;
        let catalog = crate::catalog::Files::new(config.clone()).load(&Default::default(), 0)?;
        let held = catalog.held(&args.tenant, &args.action)?;
        let (card, card_text) = unbound(&held.text)?;
        let connection = connection_of(&config, &card)?;
        let name = connection.system.clone();
        let file = config.systems.dir.join(format!("{name}.toml"));
        let system = hurried(&std::fs::read_to_string(&file).map_err(fail)?)?;
        let bound = Bound::compile(&system).map_err(fail)?;
        let folder = Folder::below(&args.dir)?;
        staged(&mut config, args, &folder, &card_text, &(name, system))?;
        let subject = Subject {
            tenant: args.tenant.clone(),
            card: Arc::new(card),
            target: (kind.to_owned(), id.to_owned()),
        };
        let side = async |name: &str, connection: ConnectionConfig| {
            let mut config = config.clone();
            config.connection = vec![connection];
            Box::pin(Side::open(config, &folder.path().join(name), &subject)).await
        };
        let other = Box::pin(side("other", connection.clone())).await?;
        let way = Way::default();
        let base_url = behind(&way, &bound, &connection).await?;
        let behind = ConnectionConfig {
            base_url,
            system: untranslated_name(&connection.system),
            plugin: None,
            ..connection
        };
        let ours = Box::pin(side("ours", behind)).await?;
        let optional = |json: &Option<String>| json.as_deref().map(map).transpose();
        Ok(Self {
            ours,
            other,
            way,
            bound,
            card: subject.card,
            target: subject.target,
            missing: args.missing.clone(),
            args: map(&args.args)?,
            from: optional(&args.from)?,
            edit: optional(&args.edit)?,
            over: optional(&args.over)?,
            _folder: folder,
        })
    }

    /// Whether the call can be made at all: what is no fault of the system file is said before.
    pub(crate) async fn ready(&self) -> Result<(), AppError> {
        for args in [Some(&self.args), self.from.as_ref(), self.edit.as_ref()] {
            let Some(args) = args else { continue };
            let seen = self.other.rehearse(args).await?;
            if seen.state != State::Done {
                let reason = Reason::from_code(&seen.reason_code).unwrap_or(Reason::Internal);
                let why = format!("{}: {}", args.to_json(), seen.message);
                return Err(AppError::new(reason, why));
            }
        }
        Ok(())
    }

    /// What the system file says of the object and of the verb.
    pub(crate) fn said(&self) -> Result<(&Object, &Verb), AppError> {
        let object = self.bound.objects.get(&self.target.0);
        let verb = object.and_then(|object| object.verbs.get(self.card.verb.name()));
        object
            .zip(verb)
            .ok_or_else(|| fail("the system file has no such object or verb"))
    }

    /// Whether fields of the target are written, and what for that must be given.
    pub(crate) fn fields(&self) -> Option<(&Map, &Map)> {
        self.from
            .as_ref()
            .zip(self.edit.as_ref())
            .filter(|_| self.card.verb.sets_fields())
    }

    /// Begins a case: the record as it is to stand before, and the way as it is to fail.
    pub(crate) async fn begin(&self, fault: Fault, moment: Moment) -> Result<(), AppError> {
        if let Some((from, _)) = self.fields() {
            self.put(from).await?;
        }
        self.way.set(fault, moment);
        // What counts is the last step.
        self.way.held().at = self.said()?.1.steps.len();
        Ok(())
    }

    /// The same, and the first step is the one that fails.
    pub(crate) async fn begin_first(&self, fault: Fault) -> Result<(), AppError> {
        self.begin(fault, Moment::Never).await?;
        self.way.held().at = 1;
        Ok(())
    }

    /// Somebody else writes the record.
    pub(crate) async fn put(&self, args: &Map) -> Result<(), AppError> {
        let done = self.other.execute(args).await?;
        if done.state == State::Done {
            return Ok(());
        }
        Err(fail(format!(
            "the record could not be prepared: {}",
            told(&done)
        )))
    }

    /// Whether the record shows what a call would write.
    pub(crate) async fn shows(&self, args: &Map) -> Result<bool, AppError> {
        let seen = self.other.rehearse(args).await?;
        if seen.state != State::Done {
            return Err(fail(format!(
                "the record could not be looked at: {}",
                told(&seen)
            )));
        }
        let idle = |change: &Change| change.before_json == change.after_json;
        Ok(!seen.changes.is_empty() && seen.changes.iter().all(idle))
    }

    /// Our call, with somebody else's edit at the moment that the way was set to.
    pub(crate) async fn execute_beside(&self, edit: &Map) -> Result<Execution, AppError> {
        let asked = self.ours.ask(&self.args, Mode::Execute, None)?;
        let edits = async {
            self.way.reached.notified().await;
            let put = self.put(edit).await;
            self.way.edited.notify_one();
            put
        };
        let (done, put) = tokio::join!(self.ours.present(&asked), edits);
        put?;
        done
    }
}

/// An execution in a few words.
pub(crate) fn told(execution: &Execution) -> String {
    format!(
        "{} {} {}",
        execution.state.name(),
        execution.reason_code,
        execution.message
    )
}
