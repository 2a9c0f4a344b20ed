//! How much a caller may ask for: so many calls a second and a burst. What comes on top waits for a
//! moment and is refused then; and a caller that goes on is read from more slowly, so that refusals
//! cost those beside it little. The rate is the generic cell rate algorithm: one point in time a caller.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::host::serve::turn::{Kind, Lane, Lanes};

/// Longest time that a call waits for its turn.
pub const WAIT_MAX: Duration = Duration::from_secs(1);
/// For so long a refused call keeps the connections of its caller from being read.
const PAUSE: Duration = Duration::from_millis(2);
/// Longest time that a connection is not read.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// So many bytes that were read cost as much as one call.
const BYTES_A_CALL: usize = 4_096;
/// Callers that are remembered before those whose allowance is whole again are forgotten.
const CALLERS_MAX: usize = 4_096;

/// So many calls a second for ever, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Calls a second; at least one.
    pub per_second: u32,
    /// Calls at once.
    pub burst: u32,
}

impl Quota {
    /// So many calls a second, and at once what two seconds bring.
    #[must_use]
    pub const fn of(per_second: u32) -> Self {
        Self {
            per_second,
            burst: per_second.saturating_mul(2),
        }
    }

    /// Nanoseconds of so many calls.
    pub(super) fn time_of(self, calls: u32) -> Duration {
        let second = Duration::from_secs(1);
        let one = second.checked_div(self.per_second).unwrap_or(second);
        one.saturating_mul(calls)
    }
}

#[derive(Debug)]
struct Bucket {
    quota: Quota,
    state: Mutex<State>,
    lanes: Lanes,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// When the allowance is whole again.
    whole: Instant,
    /// Until when its connections are read more slowly, because calls were refused or too much was sent.
    slow_until: Instant,
    /// When the next of its connections may be read, while they are read slowly.
    turn: Instant,
}

impl Bucket {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was read already, up to all that there is.
    fn spend_read(&self, calls: u32, now: Instant) {
        let mut state = self.state();
        let whole = state.whole.max(now) + self.quota.time_of(calls);
        let most = now + self.quota.time_of(self.quota.burst) + WAIT_MAX;
        state.whole = whole.min(most);
        if whole > most {
            state.slow(now, PAUSE.saturating_mul(calls));
        }
    }

    fn next_read(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        if state.slow_until <= now {
            return None;
        }
        let turn = state.slow_until.max(state.turn);
        state.turn = (turn + PAUSE).min(now + PAUSE_MAX);
        Some(turn.min(now + PAUSE_MAX))
    }
}

impl State {
    /// Reads more slowly, for a while longer.
    fn slow(&mut self, now: Instant, longer: Duration) {
        self.slow_until = (self.slow_until.max(now) + longer).min(now + PAUSE_MAX);
    }
}

/// The allowances of all callers of one server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates(Arc<Mutex<BTreeMap<String, Arc<Bucket>>>>);

impl Rates {
    /// The allowances that one caller draws on.
    pub(crate) fn pace(&self, quotas: &[(String, Quota)]) -> Pace {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CALLERS_MAX {
            // Who comes again finds a whole allowance, which is what it had.
            all.retain(|_, bucket| {
                Arc::strong_count(bucket) > 1
                    || !bucket.lanes.are_free(now)
                    || bucket.state().whole > now
            });
        }
        let bucket = |(place, (name, quota)): (usize, &(String, Quota))| {
            let fresh = || {
                let state = State {
                    whole: now,
                    slow_until: now,
                    turn: now,
                };
                Arc::new(Bucket {
                    quota: *quota,
                    state: Mutex::new(state),
                    lanes: Lanes::new(*quota, place == 0, now),
                })
            };
            Arc::clone(all.entry(name.clone()).or_insert_with(fresh))
        };
        Pace(quotas.iter().enumerate().map(bucket).collect())
    }
}

/// What one caller may do, shared by its connections. A caller without any quota is not counted.
#[derive(Debug, Clone, Default)]
pub struct Pace(Vec<Arc<Bucket>>);

impl Pace {
    /// What a caller may do that shares its allowance with nobody.
    #[must_use]
    pub fn alone(quota: Quota) -> Self {
        Rates::default().pace(&[(String::new(), quota)])
    }

    pub(super) fn lanes(&self, kind: Kind) -> Vec<Arc<Lane>> {
        self.0.iter().map(|bucket| bucket.lanes.of(kind)).collect()
    }

    /// Takes so many calls, and waits until they are due.
    ///
    /// # Errors
    /// How long they would have to wait, where that is too long. Nothing is taken then.
    pub async fn spend(&self, calls: u32) -> Result<(), Duration> {
        let wait = self.take(calls, Instant::now())?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    fn take(&self, calls: u32, now: Instant) -> Result<Duration, Duration> {
        // Always in the order of the quotas, so that no two callers wait for each other.
        let mut states: Vec<_> = self.0.iter().map(|bucket| bucket.state()).collect();
        let due = |(bucket, state): (&Arc<Bucket>, &State)| {
            let whole = state.whole.max(now) + bucket.quota.time_of(calls);
            let free = now + bucket.quota.time_of(bucket.quota.burst);
            (whole, whole.saturating_duration_since(free))
        };
        let dues: Vec<_> = (self.0.iter().zip(states.iter().map(|state| &**state)))
            .map(due)
            .collect();
        let wait = dues.iter().map(|(_, wait)| *wait).max().unwrap_or_default();
        if wait > WAIT_MAX {
            let longer = PAUSE.saturating_mul(calls);
            if let Some(own) = states.first_mut() {
                own.slow(now, longer);
            }
            return Err(wait);
        }
        for (state, (whole, _)) in states.iter_mut().zip(dues) {
            state.whole = whole;
        }
        Ok(wait)
    }

    /// Counts bytes that were read; what is left of a call's worth is handed back. They cost its own
    /// allowance only, and no more than that: who shares another one with it misses nothing.
    pub(crate) fn read(&self, bytes: usize) -> usize {
        let calls = u32::try_from(bytes / BYTES_A_CALL).unwrap_or(u32::MAX);
        if let Some(own) = self.0.first().filter(|_| calls > 0) {
            own.spend_read(calls, Instant::now());
        }
        bytes % BYTES_A_CALL
    }

    /// When a connection of this caller may be read; none where it may be read now. While it is slow, its
    /// connections are read one after the other.
    pub(crate) fn paused(&self) -> Option<Instant> {
        self.0.first()?.next_read(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Quota = Quota {
        per_second: 100,
        burst: 200,
    };
    const ALL: Quota = Quota {
        per_second: 1_000,
        burst: 300,
    };

    fn pace(rates: &Rates, name: &str) -> Pace {
        rates.pace(&[(name.to_owned(), OWN), ("all".to_owned(), ALL)])
    }

    #[test]
    fn a_burst_goes_through_then_calls_wait_then_they_are_refused() {
        let rates = Rates::default();
        let busy = pace(&rates, "busy");
        let now = Instant::now();
        for _ in 0..OWN.burst {
            assert_eq!(busy.take(1, now), Ok(Duration::ZERO));
        }
        for place in 1..=OWN.per_second {
            assert_eq!(busy.take(1, now), Ok(OWN.time_of(place)));
        }
        assert!(busy.paused().is_none());
        let refused = busy.take(1, now).unwrap_err();
        assert!(refused > WAIT_MAX && busy.paused().is_some());
        // A refusal takes nothing: a second later one more second's worth is free.
        let later = now + Duration::from_secs(1);
        assert_eq!(busy.take(1, later), Ok(OWN.time_of(1)));
        // The same caller on another connection has no fresh allowance.
        assert!(pace(&rates, "busy").take(200, now).is_err());
    }

    #[test]
    fn a_caller_that_is_slow_is_read_in_turns_and_is_fast_again_by_itself() {
        let rates = Rates::default();
        let busy = pace(&rates, "busy");
        let now = Instant::now();
        while busy.take(100, now).is_ok() {}
        let own = &busy.0[0];
        let first = own.next_read(now).unwrap();
        assert_eq!(first, now + PAUSE.saturating_mul(100));
        // Looking at it makes it no longer, only the turns of others later.
        for place in 1..10 {
            assert_eq!(own.next_read(now), Some(first + PAUSE * place));
        }
        assert_eq!(own.next_read(first), None);
        for _ in 0..10_000 {
            own.next_read(now).unwrap();
        }
        assert!(own.next_read(now).unwrap() <= now + PAUSE_MAX);
    }

    #[test]
    fn what_one_spends_is_not_missed_by_another_but_by_all_of_its_kind() {
        let rates = Rates::default();
        let (first, second) = (pace(&rates, "a"), pace(&rates, "b"));
        let other = rates.pace(&[("elsewhere".to_owned(), OWN)]);
        let now = Instant::now();
        assert_eq!(first.take(200, now), Ok(Duration::ZERO));
        assert_eq!(second.take(100, now), Ok(Duration::ZERO));
        let wait = second.take(100, now).unwrap();
        assert_eq!(wait, ALL.time_of(100), "the burst of all is spent");
        assert_eq!(other.take(200, now), Ok(Duration::ZERO));
        assert_eq!(Pace::default().take(u32::MAX, now), Ok(Duration::ZERO));
    }

    #[test]
    fn bytes_cost_too_and_a_whole_allowance_is_forgotten() {
        let rates = Rates::default();
        let sender = rates.pace(&[("sender".to_owned(), OWN)]);
        assert_eq!(sender.read(BYTES_A_CALL - 1), BYTES_A_CALL - 1);
        assert_eq!(sender.read(BYTES_A_CALL * 250 + 1), 1);
        assert!(sender.take(1, Instant::now()).unwrap() > Duration::ZERO);
        drop(sender);
        // Whoever shares with a sender of bytes has all that is left, and the sender gets out of its debt.
        let (loud, beside) = (pace(&rates, "loud"), pace(&rates, "beside"));
        for _ in 0..1_000 {
            assert_eq!(loud.read(BYTES_A_CALL * 100), 0);
        }
        assert_eq!(beside.take(200, Instant::now()), Ok(Duration::ZERO));
        assert!(loud.paused().is_some() && beside.paused().is_none());
        let later = Instant::now() + Duration::from_secs(2);
        assert!(loud.take(1, later).is_ok());
        drop((loud, beside));
        for index in 0..CALLERS_MAX {
            drop(rates.pace(&[(format!("caller {index}"), OWN)]));
        }
        let all = rates.0.lock().unwrap();
        assert!(all.len() < CALLERS_MAX && all.contains_key("sender"));
    }
}
