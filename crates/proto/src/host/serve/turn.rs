//! Calls that cost more than others, such as lists: so many of one caller run at once, and what they cost is owed by
//! calls of the same kind alone. Beyond the one call that each takes of its rate, no other call waits for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::host::serve::rate::{Pace, Quota};

/// A kind of calls that take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What reads much.
    Lists,
    /// What shows the cards of a tenant: an agent asks for nothing without it.
    Cards,
    /// Undos of many, and of agents, which may wait for their system.
    Undos,
    /// What is synced to the disk several times.
    Halts,
}

const KINDS: usize = 4;

/// Longest time that such a call waits for its turn.
pub const TURN_MAX: Duration = Duration::from_secs(10);
/// Most of them that one caller has under way, and those who share a rate with it.
const OWN_MAX: usize = 2;
const SHARED_MAX: usize = 4;
/// Most that wait; one more is refused at once.
const WAITING_MAX: usize = 64;
/// What is told at least to whoever has to come again.
const WAIT_LEAST: Duration = Duration::from_secs(1);
/// Most that can be owed: a caller that makes one call after the other is never refused.
const OWED_MAX: Duration = TURN_MAX;

/// What the calls of one kind and allowance have under way, and what they owe.
#[derive(Debug)]
pub(super) struct Lane {
    quota: Quota,
    places: Arc<Semaphore>,
    line: Arc<Semaphore>,
    /// When what they cost is paid.
    paid: Mutex<Instant>,
}

impl Lane {
    fn new(quota: Quota, is_own: bool, now: Instant) -> Self {
        let places = if is_own { OWN_MAX } else { SHARED_MAX };
        Self {
            quota,
            places: Arc::new(Semaphore::new(places)),
            line: Arc::new(Semaphore::new(WAITING_MAX)),
            paid: Mutex::new(now),
        }
    }

    fn owe(&self, calls: u32, now: Instant) {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = (*paid).max(now) + self.quota.time_of(calls);
        *paid = owed.min(now + OWED_MAX);
    }

    /// Whether nothing of it is under way or owed.
    fn is_free(&self, now: Instant) -> bool {
        let paid = *self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        paid <= now && Arc::strong_count(&self.places) == 1
    }

    /// How long the next one has to wait.
    fn due(&self, now: Instant) -> Duration {
        let paid = *self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        paid.saturating_duration_since(now + self.quota.time_of(self.quota.burst))
    }
}

/// The lanes of one allowance, one a kind.
#[derive(Debug)]
pub(super) struct Lanes([Arc<Lane>; KINDS]);

impl Lanes {
    pub(super) fn new(quota: Quota, is_own: bool, now: Instant) -> Self {
        Self([(); KINDS].map(|()| Arc::new(Lane::new(quota, is_own, now))))
    }

    pub(super) fn of(&self, kind: Kind) -> Arc<Lane> {
        let [lists, cards, undos, halts] = &self.0;
        let lane = match kind {
            Kind::Lists => lists,
            Kind::Cards => cards,
            Kind::Undos => undos,
            Kind::Halts => halts,
        };
        Arc::clone(lane)
    }

    /// Whether nothing of any kind is under way or owed.
    pub(super) fn are_free(&self, now: Instant) -> bool {
        self.0.iter().all(|lane| lane.is_free(now))
    }
}

/// The turn of one call. What it cost is owed when it ends, however it ends.
#[derive(Debug)]
pub struct Turn {
    lanes: Vec<Arc<Lane>>,
    calls: u32,
    _places: Vec<OwnedSemaphorePermit>,
}

impl Turn {
    /// Adds what it costs, in calls.
    pub fn cost(&mut self, calls: u32) {
        self.calls = self.calls.saturating_add(calls);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = Instant::now();
        for lane in &self.lanes {
            lane.owe(self.calls, now);
        }
    }
}

impl Pace {
    /// Waits for the turn of a call.
    ///
    /// # Errors
    /// How long to wait, where too many are under way or too much is owed.
    pub async fn turn(&self, kind: Kind) -> Result<Turn, Duration> {
        self.turn_within(kind, TURN_MAX).await
    }

    async fn turn_within(&self, kind: Kind, most: Duration) -> Result<Turn, Duration> {
        let (lanes, began) = (self.lanes(kind), Instant::now());
        let due = || {
            let due = lanes.iter().map(|lane| lane.due(Instant::now()));
            due.max().unwrap_or_default().max(WAIT_LEAST)
        };
        let own = lanes.first().map(|lane| Arc::clone(&lane.line));
        let line = own.map(Semaphore::try_acquire_owned).transpose();
        let _line = line.map_err(|_| due())?;
        let mut places = Vec::new();
        let turn = async {
            // Always in this order, so that no two wait for each other.
            for lane in &lanes {
                places.extend(Arc::clone(&lane.places).acquire_owned().await);
                // Whoever waits for its own debt holds no place that others share.
                loop {
                    let due = lane.due(Instant::now());
                    if due.is_zero() {
                        break;
                    }
                    tokio::time::sleep(due).await;
                }
            }
        };
        let waited = tokio::time::timeout(most, turn).await;
        waited.map_err(|_| due())?;
        // A process that stood still meanwhile: nobody waits for this call any more.
        if began.elapsed() > most {
            return Err(due());
        }
        Ok(Turn {
            lanes,
            calls: 0,
            _places: places,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::serve::rate::Rates;

    const OWN: Quota = Quota::of(100);

    fn pace(rates: &Rates, name: &str) -> Pace {
        rates.pace(&[(name.to_owned(), OWN), ("all".to_owned(), Quota::of(1_000))])
    }

    const MOMENT: Duration = Duration::from_millis(5);

    async fn waits(pace: &Pace) -> bool {
        pace.turn_within(Kind::Lists, MOMENT).await.is_err()
    }

    /// Polls once; whether it waits.
    async fn is_waiting<T>(mut one: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(one.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn so_many_run_at_once_of_one_caller_and_of_those_beside_it() {
        let rates = Rates::default();
        let (first, second, third) = (pace(&rates, "a"), pace(&rates, "b"), pace(&rates, "c"));
        let _running = [
            first.turn(Kind::Lists).await.unwrap(),
            first.turn(Kind::Lists).await.unwrap(),
        ];
        assert!(waits(&first).await);
        let others = [
            second.turn(Kind::Lists).await.unwrap(),
            second.turn(Kind::Lists).await.unwrap(),
        ];
        assert!(waits(&third).await, "all places that they share are taken");
        // Nothing else of theirs waits for it.
        assert_eq!(first.spend(1).await, Ok(()));
        for kind in [Kind::Halts, Kind::Cards, Kind::Undos] {
            drop(first.turn(kind).await.unwrap());
        }
        drop(others);
        drop(third.turn(Kind::Lists).await.unwrap());
        // Who comes to a line that is full is told at once.
        let mut line: Vec<_> = (0..WAITING_MAX)
            .map(|_| Box::pin(first.turn(Kind::Lists)))
            .collect();
        for one in &mut line {
            assert!(is_waiting(one.as_mut()).await);
        }
        let mut late = Box::pin(first.turn(Kind::Lists));
        assert!(!is_waiting(late.as_mut()).await);
        drop(line);
        assert!(is_waiting(Box::pin(first.turn(Kind::Lists)).as_mut()).await);
        let nobody = Pace::default();
        drop(nobody.turn(Kind::Lists).await.unwrap());
    }

    #[tokio::test]
    async fn who_waits_for_its_own_debt_takes_no_place_of_others() {
        let rates = Rates::default();
        let (debtor, first, second) = (pace(&rates, "d"), pace(&rates, "a"), pace(&rates, "b"));
        let own = &debtor.lanes(Kind::Lists)[0];
        own.owe(u32::MAX, Instant::now());
        let due = own.due(Instant::now());
        assert!(
            due > TURN_MAX / 2 && due < TURN_MAX,
            "alone it gets through"
        );
        let mut waiting = [0, 1].map(|_| Box::pin(debtor.turn(Kind::Lists)));
        for one in &mut waiting {
            assert!(is_waiting(one.as_mut()).await);
        }
        for other in [&first, &first, &second, &second].map(|other| other.turn(Kind::Lists)) {
            let mut other = Box::pin(other);
            assert!(!is_waiting(other.as_mut()).await);
        }
    }

    #[tokio::test]
    async fn a_call_whose_turn_came_while_the_process_stood_still_is_over() {
        let rates = Rates::default();
        let pace = pace(&rates, "a");
        pace.lanes(Kind::Halts)[0].owe(OWN.burst + 2, Instant::now());
        let most = OWN.time_of(6);
        let mut late = Box::pin(pace.turn_within(Kind::Halts, most));
        assert!(is_waiting(late.as_mut()).await);
        std::thread::sleep(most * 2);
        assert_eq!(late.await.map(drop), Err(WAIT_LEAST));
    }

    #[test]
    fn what_a_call_cost_is_owed_by_the_next_long_ones_and_paid_with_time() {
        let now = Instant::now();
        let lane = Lane::new(OWN, true, now);
        lane.owe(OWN.burst, now);
        assert_eq!(lane.due(now), Duration::ZERO, "the burst is free");
        lane.owe(50, now);
        assert_eq!(lane.due(now), OWN.time_of(50));
        assert_eq!(lane.due(now + OWN.time_of(50)), Duration::ZERO);
        lane.owe(u32::MAX, now);
        assert!(lane.due(now) <= OWED_MAX);
    }

    #[tokio::test]
    async fn a_call_owes_what_it_cost_however_it_ends() {
        let rates = Rates::default();
        let lists = pace(&rates, "lists");
        for calls in [OWN.burst, 100] {
            let mut turn = lists.turn(Kind::Lists).await.unwrap();
            turn.cost(calls);
            let given_up = async move {
                let _turn = turn;
                std::future::pending::<()>().await;
            };
            drop(tokio::time::timeout(Duration::from_millis(1), given_up).await);
        }
        let lanes = lists.lanes(Kind::Lists);
        assert!(lanes[0].due(Instant::now()) > OWN.time_of(50));
        assert!(lanes[1].due(Instant::now()).is_zero());
        assert_eq!(lists.spend(1).await, Ok(()));
    }
}
