//! Halts by the store itself: whoever can write it may halt and resume everything.

use std::collections::BTreeSet;

use writ_proto::Reason;

use super::{Answers, Ended, PATIENCE, Peer, Shown, malformed, wider};
use crate::app::halts::order::HALT_SECONDS_MAX;
use crate::catalog::tenants_of;
use crate::cli::Common;
use crate::error::AppError;
use crate::halt::{Act, Drill, Flag, HaltError, HaltMark, HaltState, HaltStore, Place, Scope};
use crate::marks::MarkFile;
use crate::{clock, ids};

/// The store, and the tenants that the configuration knows.
#[derive(Debug)]
pub(super) struct Direct {
    store: HaltStore,
    /// None where nobody can tell: a broken card must not keep anybody from halting.
    tenants: Option<BTreeSet<String>>,
    /// How far connectord saw the store: arming rises above it.
    seen: HaltMark,
}

fn unknown(error: &HaltError) -> AppError {
    AppError::new(Reason::HaltUnknown, error.to_string())
}

fn now_ms() -> i64 {
    clock::now().timestamp_millis()
}

/// Whoever sits at this machine.
fn user() -> String {
    crate::config::variable("USER").unwrap_or_else(|| "somebody without --cert".to_owned())
}

impl Direct {
    pub(super) async fn open(common: &Common, store: Option<&str>) -> Result<Self, AppError> {
        let (place, tenants, seen) = match store {
            Some(text) => {
                let place = Place::parse(text);
                let place = place.map_err(|error| malformed(error.to_string()))?;
                (place, None, HaltMark::default())
            }
            None => {
                let config = common.read()?;
                let names = tenants_of(&config.cards.dir).ok();
                let seen = MarkFile::open(&config).map(|marks| marks.halts());
                let place = config.halt.place.without_epoch_file();
                (place, names, seen.unwrap_or_default())
            }
        };
        let store = HaltStore::open(&place).await;
        let store = store.map_err(|error| unknown(&error))?;
        Ok(Self {
            store,
            tenants,
            seen,
        })
    }

    fn scope(&self, typed: &str) -> Result<Scope, AppError> {
        let scope: Scope = typed
            .parse()
            .map_err(|error: writ_proto::ids::IdError| malformed(error.to_string()))?;
        if let (Some(tenant), Some(known)) = (scope.tenant(), &self.tenants)
            && !known.iter().any(|name| name == tenant.as_str())
        {
            let message = format!("no tenant `{}` has cards here", tenant.as_str());
            return Err(AppError::new(Reason::UnknownTenant, message));
        }
        Ok(scope)
    }

    fn act(reason: &str) -> Act {
        Act {
            by: user(),
            reason: reason.to_owned(),
            at: clock::now().timestamp(),
        }
    }

    pub(super) async fn set(
        &self,
        typed: &str,
        reason: &str,
        seconds: u32,
    ) -> Result<(String, u64), AppError> {
        let (scope, act) = (self.scope(typed)?, Self::act(reason));
        let mut flag = Flag::new(scope, &act, ids::new_id().to_string());
        flag.at_ms = now_ms();
        if seconds > 0 {
            let seconds = i64::from(seconds);
            if seconds > HALT_SECONDS_MAX {
                return Err(malformed(format!(
                    "--for: at most {HALT_SECONDS_MAX} seconds"
                )));
            }
            flag.until = act.at.saturating_add(seconds);
        }
        let state = self.store.set(&flag).await;
        let state = state.map_err(|error| unknown(&error))?;
        Ok((flag.scope.to_string(), state.epoch))
    }

    pub(super) async fn clear(&self, typed: &str, reason: &str) -> Result<Ended, AppError> {
        let (scope, act) = (self.scope(typed)?, Self::act(reason));
        self.store.remember(self.seen).await;
        let seen = self.store.read(act.at).ok();
        let cleared = self.store.clear_standing(&scope, &act, seen).await;
        let (state, flag) = cleared.map_err(|error| unknown(&error))?;
        let others = state.flags.iter().map(|flag| &flag.scope);
        Ok(Ended {
            still: Some(wider(&scope, others)),
            scope: scope.to_string(),
            cleared: flag.is_some(),
            epoch: state.epoch,
        })
    }

    pub(super) async fn arm(&self, reason: &str) -> Result<HaltState, AppError> {
        if reason.trim().is_empty() {
            return Err(malformed("--reason is required to arm"));
        }
        self.store.remember(self.seen).await;
        let armed = self.store.arm(&Self::act(reason)).await;
        armed.map_err(|error| unknown(&error))
    }

    pub(super) async fn list(&self) -> Result<(Vec<Shown>, u64), AppError> {
        // What went back is not what is halted.
        self.store.remember(self.seen).await;
        let state = self.store.read(clock::now().timestamp());
        let state = state.map_err(|error| unknown(&error))?;
        let shown = state.flags.iter().map(|flag| Shown {
            scope: flag.scope.to_string(),
            by: flag.by.clone(),
            reason: flag.reason.clone(),
            since: flag.since,
            until: flag.until,
        });
        Ok((shown.collect(), state.epoch))
    }

    pub(super) async fn drill(&self, nonce: &str) -> Result<Answers, AppError> {
        let drill = self.store.drill(nonce, now_ms, PATIENCE).await;
        let drill = drill.map_err(|error| unknown(&error))?;
        Ok(Answers {
            nonce: nonce.to_owned(),
            peers: peers(&drill),
            took: drill.took,
        })
    }
}

fn peers(drill: &Drill) -> Vec<Peer> {
    let peer = |member: &crate::halt::Member| Peer {
        is_shared: false,
        name: format!("{}/{}", member.host, member.pid),
        answered: drill.answered_by(member),
        known: member.known,
        last: (member.last_write_ms > 0)
            .then(|| (member.last_write_ms, member.last_action.clone())),
        open: member.open,
        finished: member.finished,
    };
    drill.members.iter().map(peer).collect()
}
