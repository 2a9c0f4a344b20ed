//! Whatever is held, captured, captured in part, doubted, given back and expired, in whatever
//! order and batches: no counter passes its cap but by what was executed late, and sums add up.
//! The reference counts everything again from a list of what happened.

use std::cell::RefCell;

use proptest::prelude::*;

use super::*;
use crate::domain::budget::{Limits, SettledAs, Settlement, Subject};

const CAP: i64 = 20;
const COUNTERS: usize = 2;
const CURRENCIES: [&str; COUNTERS] = ["EUR", "USD"];

/// One thing that happens to the ledger.
#[derive(Debug, Clone)]
enum Step {
    /// A decision holds amounts of both counters.
    Hold([i64; COUNTERS]),
    /// A report about the n-th decision so far.
    Report(usize, SettledAs, Option<(usize, i64)>),
    /// The n-th decision expires.
    Expire(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let to = prop_oneof![
        Just(SettledAs::Captured),
        Just(SettledAs::Void),
        Just(SettledAs::Doubtful),
    ];
    let part = proptest::option::of((0..COUNTERS, -3..15_i64));
    prop_oneof![
        3 => (-2..9_i64, -2..9_i64).prop_map(|(one, two)| Step::Hold([one, two])),
        3 => (0..12_usize, to, part).prop_map(|(at, to, part)| Step::Report(at, to, part)),
        1 => (0..12_usize).prop_map(Step::Expire),
    ]
}

/// How the reference remembers one amount.
#[derive(Debug, Clone, Copy)]
struct Entry {
    counter: usize,
    amount: i64,
    state: HoldState,
}

/// Decisions with what they hold, and what was executed although it had been given back.
#[derive(Debug, Default)]
struct Reference {
    decisions: Vec<Vec<Entry>>,
    late: [i64; COUNTERS],
}

impl Reference {
    fn used(&self, counter: usize) -> i64 {
        let all = self.decisions.iter().flatten();
        all.filter(|entry| entry.counter == counter && entry.state != HoldState::Void)
            .map(|entry| entry.amount)
            .sum()
    }

    fn held(&self, counter: usize) -> i64 {
        let open = [HoldState::Held, HoldState::Doubtful];
        let all = self.decisions.iter().flatten();
        all.filter(|entry| entry.counter == counter && open.contains(&entry.state))
            .map(|entry| entry.amount)
            .sum()
    }

    fn hold(&mut self, amounts: [i64; COUNTERS]) -> bool {
        let fits =
            |counter: usize| amounts[counter] > 0 && self.used(counter) + amounts[counter] <= CAP;
        let all = (0..COUNTERS).all(fits);
        if all {
            let entries = (0..COUNTERS).map(|counter| Entry {
                counter,
                amount: amounts[counter],
                state: HoldState::Held,
            });
            self.decisions.push(entries.collect());
        }
        all
    }

    fn settle(&mut self, at: usize, to: SettledAs, part: Option<(usize, i64)>) {
        for entry in &mut self.decisions[at] {
            let before = entry.state;
            let after = match to {
                _ if before == HoldState::Captured => HoldState::Captured,
                SettledAs::Captured => HoldState::Captured,
                SettledAs::Void => HoldState::Void,
                SettledAs::Doubtful => HoldState::Doubtful,
            };
            if before == after {
                continue;
            }
            entry.state = after;
            if let (SettledAs::Captured, Some((counter, amount))) = (to, part)
                && counter == entry.counter
            {
                entry.amount = amount.max(0).min(entry.amount);
            }
            if before == HoldState::Void {
                self.late[entry.counter] += entry.amount;
            }
        }
    }
}

fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn key(counter: usize) -> Key {
    Key::new(CURRENCIES[counter], &Subject::Tenant, "day")
}

fn record(kind: Kind) -> Append {
    Append::record(tenant(), crate::store::conformance::draft("acme", kind))
}

fn holding(id: u128, amounts: [i64; COUNTERS]) -> Append {
    let hold = |counter: usize| Hold {
        key: key(counter),
        amount: amounts[counter],
        currency: CURRENCIES[counter].into(),
        takes: Takes::Settled,
        limits: Limits {
            cap: CAP,
            max: None,
            free: 0,
            spike: None,
            age_ms_max: None,
            report_ms_max: None,
        },
        at_ms: 0,
        expires_ms: 0,
    };
    Append {
        decision: Some(DecisionRow {
            id: Uuid::from_u128(id),
            request_id: Uuid::from_u128(id),
            fingerprint: [0; 32],
            body: Vec::new(),
        }),
        holds: (0..COUNTERS).map(hold).collect(),
        ..record(Kind::Evaluated)
    }
}

fn settling(
    outcome: u128,
    (kind, decision): (Kind, Uuid),
    to: SettledAs,
    part: Option<(usize, i64)>,
) -> Append {
    let part = part.map(|(counter, amount)| (CURRENCIES[counter].to_owned(), amount));
    Append {
        outcome_id: Some(Uuid::from_u128(outcome)),
        settles: Some(Settlement { decision, to, part }),
        ..record(kind)
    }
}

/// A ledger in memory: what a database would give to a plan, and what it keeps of one.
#[derive(Debug, Default)]
struct Memory {
    heads: BTreeMap<TenantId, Head>,
    budgets: BTreeMap<(TenantId, Key), Counter>,
    holds: BTreeMap<(Uuid, Key), HoldRow>,
    outcomes: BTreeSet<Uuid>,
}

impl Memory {
    fn commit(&mut self, batch: &[Append]) -> Vec<Appended> {
        let mut known = Known {
            heads: self.heads.clone(),
            budgets: self.budgets.clone(),
            outcomes: self.outcomes.clone(),
            ..Known::default()
        };
        for hold in self.holds.values() {
            known
                .holds
                .entry(hold.decision)
                .or_default()
                .push(hold.clone());
        }
        let planned = plan(batch, known);
        self.outcomes.extend(planned.outcomes());
        self.heads.extend(planned.heads);
        self.budgets.extend(planned.budgets);
        self.holds.extend(planned.holds);
        planned.answers
    }

    fn counter(&self, counter: usize) -> Counter {
        let place = (tenant(), key(counter));
        self.budgets.get(&place).copied().unwrap_or_default()
    }
}

/// Turns steps into a batch and tells the reference; gives what must be answered to holds.
fn play(
    steps: &[Step],
    reference: &mut Reference,
    (ids, next): (&RefCell<Vec<Uuid>>, &mut u128),
) -> (Vec<Append>, Vec<Option<bool>>) {
    let (mut batch, mut wanted) = (Vec::new(), Vec::new());
    for step in steps {
        *next += 1;
        let settled = |at: &usize| {
            let ids = ids.borrow();
            (!ids.is_empty()).then(|| (at % ids.len(), ids[at % ids.len()]))
        };
        match step {
            Step::Hold(amounts) => {
                let stored = reference.hold(*amounts);
                if stored {
                    ids.borrow_mut().push(Uuid::from_u128(*next));
                }
                batch.push(holding(*next, *amounts));
                wanted.push(Some(stored));
            }
            Step::Report(at, to, part) => {
                let Some((at, decision)) = settled(at) else {
                    continue;
                };
                reference.settle(at, *to, *part);
                batch.push(settling(*next, (Kind::Result, decision), *to, *part));
                wanted.push(None);
            }
            Step::Expire(at) => {
                let Some((at, decision)) = settled(at) else {
                    continue;
                };
                // What is sent and unknown does not expire.
                let held = |entry: &Entry| entry.state == HoldState::Held;
                if reference.decisions[at].iter().any(held) {
                    reference.settle(at, SettledAs::Void, None);
                }
                let void = (Kind::BudgetChanged, decision);
                batch.push(settling(*next, void, SettledAs::Void, None));
                wanted.push(None);
            }
        }
    }
    (batch, wanted)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_passes_a_cap_or_loses_an_amount(
        batches in prop::collection::vec(prop::collection::vec(step(), 1..6), 1..12)
    ) {
        let (mut memory, mut reference) = (Memory::default(), Reference::default());
        let (ids, mut next) = (RefCell::new(Vec::new()), 0);
        for steps in &batches {
            let (batch, wanted) = play(steps, &mut reference, (&ids, &mut next));
            let answers = memory.commit(&batch);
            for (answer, wanted) in answers.iter().zip(wanted) {
                if let Some(stored) = wanted {
                    prop_assert_eq!(matches!(answer, Appended::Stored { .. }), stored);
                }
            }
            for counter in 0..COUNTERS {
                let found = memory.counter(counter);
                prop_assert_eq!(found.used, reference.used(counter));
                prop_assert_eq!(found.held, reference.held(counter));
                prop_assert!(found.used <= CAP + reference.late[counter]);
                prop_assert!(found.held >= 0 && found.held <= found.used);
                let rows = memory.holds.values().filter(|hold| hold.key == key(counter));
                let sum: i64 = rows
                    .filter(|hold| hold.state.counts())
                    .map(|hold| hold.amount)
                    .sum();
                prop_assert_eq!(found.used, sum, "the rows add up to the counter");
            }
        }
    }
}

#[test]
fn a_late_execution_counts_above_the_cap_and_nothing_more_fits() {
    let mut memory = Memory::default();
    let late = Uuid::from_u128(1);
    let expired = settling(11, (Kind::BudgetChanged, late), SettledAs::Void, None);
    let executed = settling(12, (Kind::Result, late), SettledAs::Captured, None);
    let batch = [
        holding(1, [CAP, 1]),
        expired,
        holding(2, [CAP, 1]),
        executed,
    ];
    let answers = memory.commit(&batch);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Appended::Stored { .. }))
    );
    assert_eq!(memory.counter(0).used, 2 * CAP);
    let over = memory.commit(&[holding(3, [1, 1])]);
    assert!(matches!(over[0], Appended::OverBudget { hold: 0, over } if over.used == 2 * CAP));
}

#[test]
fn a_capture_in_part_gives_the_rest_back_and_never_takes_more() {
    let table = [
        (Some((0, 5)), 5),
        (Some((0, 99)), 9),
        (Some((0, -1)), 0),
        (Some((1, 1)), 9),
        (None, 9),
    ];
    for (part, used) in table {
        let mut memory = Memory::default();
        let report = settling(
            11,
            (Kind::Result, Uuid::from_u128(1)),
            SettledAs::Captured,
            part,
        );
        memory.commit(&[holding(1, [9, 3]), report]);
        assert_eq!(
            (memory.counter(0).used, memory.counter(0).held),
            (used, 0),
            "{part:?}"
        );
    }
}

#[test]
fn what_waits_ends_once_taken_back_or_out_of_time() {
    let end = |id, kind| settling(id, (kind, Uuid::from_u128(1)), SettledAs::Void, None);
    let (taken, late) = (Kind::Cancelled, Kind::ApprovalExpired);
    for (first, second) in [(taken, late), (late, taken)] {
        let mut memory = Memory::default();
        memory.commit(&[holding(1, [1, 1])]);
        let ended = memory.commit(&[end(11, first)]);
        assert!(matches!(ended[0], Appended::Stored { .. }), "{first:?}");
        let again = memory.commit(&[end(12, second)]);
        assert_eq!(again[0], Appended::DuplicateOutcome, "{second:?}");
    }
    // What was decided before places were counted holds none, and is taken back all the same.
    let ended = Memory::default().commit(&[end(11, taken)]);
    assert!(matches!(ended[0], Appended::Stored { .. }));
}

#[test]
fn another_tenant_gives_nothing_back_and_writes_no_record_of_it() {
    let mut memory = Memory::default();
    memory.commit(&[holding(1, [5, 1])]);
    let mut foreign = settling(
        11,
        (Kind::BudgetChanged, Uuid::from_u128(1)),
        SettledAs::Void,
        None,
    );
    foreign.tenant = TenantId::parse("globex").unwrap();
    assert_eq!(memory.commit(&[foreign])[0], Appended::DuplicateOutcome);
    assert_eq!(memory.counter(0).used, 5);
}
