//! Which connectords obey a halt store, and whether they answer.

use core::time::Duration;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{HaltError, HaltStore};

/// A connectord that has not been seen for so long is gone.
pub const GONE_MS: i64 = 60_000;
/// A process that writes no entry for so long and does not exist on this machine is gone.
pub(super) const SILENT_MS: i64 = 3_000;
const POLL: Duration = Duration::from_millis(10);

/// A question to every connectord.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Fresh text.
    pub nonce: String,
    /// Unix milliseconds at which it was asked.
    pub at_ms: i64,
}

/// One connectord as it last described itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Member {
    /// Differs for each process.
    pub instance: String,
    /// Name of its machine.
    #[serde(default)]
    pub host: String,
    /// Process id there.
    #[serde(default)]
    pub pid: u32,
    /// Unix milliseconds of this entry.
    #[serde(default)]
    pub seen_ms: i64,
    /// Whether it knows the halt state. If not, it refuses every write.
    #[serde(default)]
    pub known: bool,
    /// Halt epoch that it read last.
    #[serde(default)]
    pub epoch: u64,
    /// Generation that it read last.
    #[serde(default)]
    pub generation: u64,
    /// How many halts it read last.
    #[serde(default)]
    pub flags: usize,
    /// The nonce it answered last; it read the state after it read the nonce.
    #[serde(default)]
    pub nonce: String,
    /// When that was asked, as the question says.
    #[serde(default)]
    pub asked_ms: i64,
    /// Unix milliseconds at which it answered.
    #[serde(default)]
    pub answered_ms: i64,
    /// Unix milliseconds of its last live write; 0 if it made none.
    #[serde(default)]
    pub last_write_ms: i64,
    /// Action of that write.
    #[serde(default)]
    pub last_action: String,
    /// Executions in flight.
    #[serde(default)]
    pub open: u32,
    /// How many of those that were in flight at the last change of the halts have ended since.
    #[serde(default)]
    pub finished: u32,
}

/// What a question came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drill {
    /// The question.
    pub probe: Probe,
    /// Everyone, sorted by instance.
    pub members: Vec<Member>,
    /// From the question to the last answer, or to giving up.
    pub took: Duration,
}

impl Drill {
    /// Whether a member answered, this question or one that replaced it.
    #[must_use]
    pub fn answered_by(&self, member: &Member) -> bool {
        let (asked, at) = (member.asked_ms, self.probe.at_ms);
        asked > at || asked == at && member.nonce == self.probe.nonce
    }

    /// How many answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        let answered = |member: &&Member| self.answered_by(member);
        self.members.iter().filter(answered).count()
    }

    /// Whether there is anybody, and everybody answered.
    #[must_use]
    pub fn complete(&self) -> bool {
        !self.members.is_empty() && self.answered() == self.members.len()
    }
}

pub(super) async fn drill(
    store: &HaltStore,
    nonce: &str,
    now_ms: fn() -> i64,
    patience: Duration,
) -> Result<Drill, HaltError> {
    let start = Instant::now();
    // Later than every question before it, whatever the clocks say.
    let before = store.asked().await?.map_or(0, |probe| probe.at_ms);
    let probe = Probe {
        nonce: nonce.to_owned(),
        at_ms: now_ms().max(before.saturating_add(1)),
    };
    store.probe(&probe).await?;
    loop {
        let drill = Drill {
            probe: probe.clone(),
            members: store.roster(now_ms()).await?,
            took: start.elapsed(),
        };
        if drill.complete() || drill.took >= patience {
            return Ok(drill);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether a process of this machine is there.
pub(super) fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// The name of this machine, as the kernel has it.
#[must_use]
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests;
