//! How the way to a system fails in a case, and what was seen on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use serde_json::Value as Json;
use tokio::sync::Notify;

/// Longest wait for somebody else's edit.
const EDIT_TIMEOUT: Duration = Duration::from_secs(20);

/// How the way to the system fails.
#[derive(Debug, Clone, Default)]
pub(crate) enum Fault {
    /// Not at all.
    #[default]
    None,
    /// A write is not passed on; this status, media type and body come instead.
    Instead(u16, &'static str, String),
    /// A write is not passed on; the caller is asked to wait so many seconds, if any.
    Limits(Option<u32>),
    /// A write is not passed on; the caller is sent elsewhere.
    Redirects,
    /// A write is passed on, and this status comes back.
    DoneBut(u16),
    /// A write is not passed on, and no answer comes.
    LostBefore,
    /// A write is passed on, and no answer comes.
    LostAfter,
    /// No answer comes, and a write is passed on after so long.
    Late(Duration),
    /// A write is not passed on, and is answered as the last one was.
    Pretends,
    /// A write is passed on, and answered after so long.
    Slow(Duration),
    /// A write is passed on, and answered with more bytes than anybody takes.
    Oversized,
    /// Reads lack what stands at this pointer.
    ReadLacks(String),
    /// Reads show this at this pointer.
    ReadShows(String, Json),
    /// The same, from the first write on.
    ReadShowsAfter(String, Json),
    /// No write is passed on and no answer comes; searches ignore every parameter.
    Unfiltered,
    /// A write is passed on and no answer comes; the next so many searches find nothing.
    Lag(u32),
}

/// When somebody else edits the record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Moment {
    #[default]
    Never,
    /// After the record was read for the first time.
    AfterLook,
    /// After it was written, before anybody knows.
    AfterWrite,
}

/// What the proxy keeps.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) fault: Fault,
    pub(crate) moment: Moment,
    /// Which write fails, from 1; 0 is each.
    pub(crate) at: usize,
    /// Every request line.
    pub(crate) lines: Vec<String>,
    /// What could change something and came: line and body.
    pub(crate) writes: Vec<(String, String)>,
    /// How many of them were passed on.
    pub(crate) passed: usize,
    pub(crate) last: Option<(u16, Bytes)>,
}

/// What stands between connectord and the system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    held: Arc<Mutex<Held>>,
    /// The moment has come.
    pub(crate) reached: Arc<Notify>,
    /// The edit is made.
    pub(crate) edited: Arc<Notify>,
}

impl Way {
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a case.
    pub(crate) fn set(&self, fault: Fault, moment: Moment) {
        let mut held = self.held();
        let last = held.last.take();
        *held = Held {
            fault,
            moment,
            last,
            ..Held::default()
        };
    }

    /// Waits until somebody else has edited the record, if this is the moment.
    pub(crate) async fn meanwhile(&self, moment: Moment) {
        let now = {
            let mut held = self.held();
            let now = held.moment == moment;
            if now {
                held.moment = Moment::Never;
            }
            now
        };
        if now {
            self.reached.notify_one();
            drop(tokio::time::timeout(EDIT_TIMEOUT, self.edited.notified()).await);
        }
    }
}
