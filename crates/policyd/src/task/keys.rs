//! Takes keys that were rotated or revoked into use, without a restart, and finishes a rotation that was cut off.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::app::SharedApp;
use crate::config::Config;
use crate::error::AppError;

const PERIOD: Duration = Duration::from_secs(1);
/// What it means that a rotation cannot be finished.
pub(crate) const UNFINISHED: &str =
    "a rotation that was cut off cannot be finished here, and the old key signs on";

/// What one look came to.
struct Looked {
    unfinished: Option<AppError>,
    taken: Result<bool, AppError>,
    believed: bool,
}

fn look(app: &SharedApp, config: &Config) -> Looked {
    let finished = app.finish_rotations(config);
    let (unfinished, taken) = match finished {
        Ok(unfinished) => (unfinished, app.take_keys(config)),
        Err(error) => (None, Err(error)),
    };
    let believed = taken.is_ok() || app.is_believed(config);
    Looked {
        unfinished,
        taken,
        believed,
    }
}

/// What was told of refused documents, and whether a taken one is still to be told of.
#[derive(Default)]
struct Told {
    unfinished: Option<String>,
    refused: String,
    untold: bool,
}

impl Told {
    /// Why a rotation cannot be finished, told once.
    fn unfinished(&mut self, why: Option<String>) {
        if let Some(why) = why.as_ref().filter(|_| self.unfinished != why) {
            tracing::error!(why, "{UNFINISHED}");
        }
        self.unfinished = why;
    }

    fn note(&mut self, app: &SharedApp, looked: Looked) {
        let Looked {
            unfinished,
            taken,
            believed,
        } = looked;
        app.believed.store(believed, Ordering::Relaxed);
        self.unfinished(unfinished.map(|error| error.public));
        match taken {
            Ok(taken) => {
                self.refused.clear();
                if taken {
                    let version = app.signer.load().keys.version;
                    tracing::info!(version, "another trust document is in force");
                    self.untold = true;
                }
            }
            Err(error) if error.public != self.refused => {
                let why = error.public;
                tracing::error!(
                    why,
                    believed,
                    "the trust document or its keys are refused; those in use stay"
                );
                self.refused = why;
            }
            Err(_) => {}
        }
    }
}

/// Looks until the process ends. What is refused is told once.
pub async fn follow(app: SharedApp, config: Config) {
    let mut told = Told::default();
    loop {
        tokio::time::sleep(PERIOD).await;
        let (looking, files) = (SharedApp::clone(&app), config.clone());
        let looked = tokio::task::spawn_blocking(move || look(&looking, &files)).await;
        match looked {
            Ok(looked) => told.note(&app, looked),
            Err(_) => tracing::error!(
                "looking at the trust document failed; it is tried again in a second"
            ),
        }
        if told.untold {
            told.untold = !tell(&app).await;
        }
    }
}

/// The log of each tenant says which keys came and went; true where each has it.
async fn tell(app: &SharedApp) -> bool {
    let tenants: Vec<_> = app.policies.load().keys().cloned().collect();
    let mut all = true;
    for tenant in tenants {
        if let Err(error) = app.tell_changes(&tenant).await {
            all = false;
            tracing::error!(%tenant, %error, "changed keys are not in the log yet; it is tried again in a second");
        }
    }
    all
}
