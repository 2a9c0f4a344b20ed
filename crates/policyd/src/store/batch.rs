//! What a batch changes, computed without a database: the same for every driver.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use writ_proto::ids::TenantId;

use super::budget::{Raising, Trip};
use super::{
    Append, Appended, DecisionRow, Head, HoldRow, PolicyRow, StoreError, UndoRow, corrupt,
};
use crate::domain::budget::{
    Counter, Hold, HoldState, Key, RAISES_MAX, Raise, SettledAs, Takes, fits, report,
};
use crate::domain::incident::notice::{DEDUP_WINDOW_MS, Notice};
use crate::domain::incident::{Denial, Incident, Tally};
use crate::domain::log::merkle::{Hash, leaf_hash};
use crate::domain::record::{Draft, Kind, Place};

/// What the database holds of all that a batch touches, read inside its transaction.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Heads of the tenants; absent means an empty log.
    pub(super) heads: BTreeMap<TenantId, Head>,
    /// Decisions under the `request_id`s of the batch.
    pub(super) decisions: BTreeMap<(TenantId, Uuid), DecisionRow>,
    /// Outcomes of the batch that are known.
    pub(super) outcomes: BTreeSet<Uuid>,
    /// The counters of the batch, of its settled holds, and of the days that spikes are told from.
    pub(super) budgets: BTreeMap<(TenantId, Key), Counter>,
    /// Raises that have not ended.
    pub(super) raises: BTreeMap<TenantId, Vec<Raise>>,
    /// Holds of the decisions that the batch settles.
    pub(super) holds: BTreeMap<Uuid, Vec<HoldRow>>,
    /// Tallies of the denials of the batch.
    pub(super) tallies: BTreeMap<(TenantId, String), Tally>,
    /// The newest version of each record that the batch goes on with.
    pub(super) versions: BTreeMap<(TenantId, Uuid), Latest>,
}

/// The newest version of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Latest {
    pub(super) version: u32,
    /// Hash of its leaf.
    pub(super) hash: Hash,
}

impl Latest {
    /// Reads it from its own row, or from the leaf of the first version.
    pub(super) fn from_columns(
        version: i64,
        hash: Option<Vec<u8>>,
        leaf: Option<Vec<u8>>,
    ) -> Result<Self, StoreError> {
        let wrong = || corrupt("the version of a record");
        let hash = match (hash, leaf) {
            (Some(hash), _) => hash.try_into().map_err(|_| wrong())?,
            (None, Some(leaf)) => leaf_hash(&leaf),
            (None, None) => return Err(wrong()),
        };
        let version = u32::try_from(version).map_err(|_| wrong())?;
        Ok(Self { version, hash })
    }
}

/// The records that a batch goes on with.
pub(super) fn later(batch: &[Append]) -> Vec<(TenantId, Uuid)> {
    let drafts = batch.iter().filter(|append| append.draft.later);
    let keys: BTreeSet<_> = drafts
        .map(|append| (append.tenant.clone(), append.draft.record_id))
        .collect();
    keys.into_iter().collect()
}

/// One record with its place.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) draft: Cow<'a, Draft>,
    /// The append whose own record it is; an incident has none.
    pub(super) append: Option<&'a Append>,
    pub(super) seq: u64,
    pub(super) leaf: Vec<u8>,
}

/// What to write, and what to answer.
#[derive(Debug, Default)]
pub(super) struct Planned<'a> {
    pub(super) rows: Vec<Row<'a>>,
    /// Heads that moved.
    pub(super) heads: BTreeMap<TenantId, Head>,
    /// Counters that changed.
    pub(super) budgets: BTreeMap<(TenantId, Key), Counter>,
    /// Holds that are new or changed their state.
    pub(super) holds: BTreeMap<(Uuid, Key), HoldRow>,
    /// Raises to insert.
    pub(super) raises: Vec<(TenantId, Raise)>,
    /// Limits that fired and halt somebody.
    pub(super) trips: Vec<(&'a TenantId, &'a Trip)>,
    /// What people are told: once a key, with how often it was said again in this batch.
    pub(super) notices: Vec<(Notice, i64)>,
    /// Tallies that changed.
    pub(super) tallies: BTreeMap<(TenantId, String), Tally>,
    /// Incidents to insert.
    pub(super) opened: Vec<Incident>,
    /// Newest versions of records that have, or will have, several.
    pub(super) versions: BTreeMap<(TenantId, Uuid), Latest>,
    pub(super) answers: Vec<Appended>,
}

impl<'a> Planned<'a> {
    /// Decisions to insert.
    pub(super) fn decisions(&self) -> Vec<(&'a TenantId, &'a DecisionRow)> {
        let rows = self.rows.iter().filter_map(|row| row.append);
        rows.filter_map(|append| Some((&append.tenant, append.decision.as_ref()?)))
            .collect()
    }

    /// Where the record of each decision to insert stands.
    pub(super) fn decision_seqs(&self) -> Vec<u64> {
        let with = |row: &&Row<'_>| row.append.is_some_and(|append| append.decision.is_some());
        self.rows.iter().filter(with).map(|row| row.seq).collect()
    }

    /// Policy sets to keep, each with its record and where that stands.
    pub(super) fn policies(&self) -> Vec<(&'a TenantId, (Uuid, u64), &'a PolicyRow)> {
        let rows = self.rows.iter();
        rows.filter_map(|row| {
            let policy = row.append?.policy.as_ref()?;
            Some((row.tenant, (row.draft.record_id, row.seq), policy))
        })
        .collect()
    }

    /// Outcomes to insert.
    pub(super) fn outcomes(&self) -> Vec<Uuid> {
        let rows = self.rows.iter().filter_map(|row| row.append);
        rows.filter_map(|append| append.outcome_id).collect()
    }

    /// Undo writs to insert where their decision has none.
    pub(super) fn undos(&self) -> Vec<(&'a TenantId, &'a UndoRow)> {
        let rows = self.rows.iter().filter_map(|row| row.append);
        rows.filter_map(|append| Some((&append.tenant, append.undo.as_ref()?)))
            .collect()
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.tallies.is_empty()
    }

    /// Incidents to close.
    pub(super) fn closed(&self) -> Vec<&'a Incident> {
        let rows = self.rows.iter().filter_map(|row| row.append);
        rows.filter_map(|append| append.incidents.closes.as_ref())
            .collect()
    }

    /// Who is let go after an incident is counted anew.
    fn rest(&mut self, known: &mut Known, tenant: &'a TenantId, incident: &Incident) {
        let key = (tenant.clone(), incident.key());
        known.tallies.insert(key.clone(), Tally::default());
        self.tallies.insert(key, Tally::default());
    }

    /// Gives a record its place.
    fn place(
        &mut self,
        known: &mut Known,
        tenant: &'a TenantId,
        draft: Cow<'a, Draft>,
        append: Option<&'a Append>,
    ) -> u64 {
        let head = known.heads.entry(tenant.clone()).or_default();
        let seq = head.frontier.size();
        let key = (tenant.clone(), draft.record_id);
        let before = known.versions.get(&key).filter(|_| draft.later).copied();
        let version = before.map_or(1, |latest| latest.version.saturating_add(1));
        let leaf = draft.leaf(&Place {
            seq,
            prev: head.last.as_ref(),
            version,
            previous: before.as_ref().map(|latest| &latest.hash),
        });
        let hash = leaf_hash(&leaf);
        let latest = Latest { version, hash };
        known.versions.insert(key.clone(), latest);
        // The first version of a decision is found by the decision.
        if draft.later || draft.kind == Kind::IncidentOpened {
            self.versions.insert(key, latest);
        }
        head.frontier.push(hash);
        head.last = Some(hash);
        self.heads.insert(tenant.clone(), head.clone());
        self.rows.push(Row {
            tenant,
            draft,
            append,
            seq,
            leaf,
        });
        seq
    }

    /// Counts a denial, and opens the incident that it makes.
    fn count(&mut self, known: &mut Known, tenant: &'a TenantId, denial: &'a Denial) {
        let key = (tenant.clone(), denial.key.clone());
        let tally = known.tallies.entry(key.clone()).or_default();
        let wanted = usize::try_from(denial.incident.count).unwrap_or(usize::MAX);
        let window_ms = i64::from(denial.incident.window_seconds).saturating_mul(1_000);
        let trips = tally.count((denial.at_ms, &denial.code), wanted, window_ms);
        let codes = tally.codes();
        self.tallies.insert(key, tally.clone());
        if !trips {
            return;
        }
        let mut draft = denial.record.clone();
        draft.reasons.clone_from(&codes);
        self.place(known, tenant, Cow::Owned(draft), None);
        if let Some(notice) = &denial.notice {
            let mut notice = notice.clone();
            notice.fields.push(("codes".to_owned(), codes.join(", ")));
            self.tell(&notice);
        }
        self.opened.push(Incident {
            codes,
            ..denial.incident.clone()
        });
    }

    fn tell(&mut self, notice: &Notice) {
        let notice = notice.bounded();
        let since = notice.time_ms.saturating_sub(DEDUP_WINDOW_MS);
        let same = |(other, _): &&mut (Notice, i64)| {
            other.tenant == notice.tenant
                && other.dedup_key == notice.dedup_key
                && other.time_ms > since
        };
        match self.notices.iter_mut().find(same) {
            Some((_, repeats)) => *repeats = repeats.saturating_add(1),
            None => self.notices.push((notice, 0)),
        }
    }

    fn reserve(&mut self, append: &Append, known: &mut Known) -> Result<(), Appended> {
        let mut counters = BTreeMap::new();
        for (place, hold) in append.holds.iter().enumerate() {
            let key = (append.tenant.clone(), hold.key.clone());
            let before = counters.get(&key).or_else(|| known.budgets.get(&key));
            let raised = known.raised(&append.tenant, hold);
            let then = fits(before, hold, raised, &known.days(&append.tenant, hold));
            let then = then.map_err(|over| Appended::OverBudget { hold: place, over })?;
            counters.insert(key, then);
        }
        for (key, then) in counters {
            known.budgets.insert(key.clone(), then);
            self.budgets.insert(key, then);
        }
        let Some(decision) = append.decision.as_ref().map(|row| row.id) else {
            return Ok(());
        };
        for hold in &append.holds {
            let state = match hold.takes {
                Takes::Settled => HoldState::Held,
                Takes::AtOnce => HoldState::Captured,
                Takes::Nothing => continue,
            };
            let row = HoldRow {
                decision,
                tenant: append.tenant.clone(),
                key: hold.key.clone(),
                amount: hold.amount,
                currency: hold.currency.clone(),
                expires_ms: hold.expires_ms,
                state,
            };
            known.holds.entry(decision).or_default().push(row.clone());
            self.holds.insert((decision, hold.key.clone()), row);
        }
        Ok(())
    }

    fn settle(&mut self, append: &Append, known: &mut Known) {
        let Some(settlement) = &append.settles else {
            return;
        };
        let Some(holds) = known.holds.get_mut(&settlement.decision) else {
            return;
        };
        for hold in holds.iter_mut().filter(|hold| hold.tenant == append.tenant) {
            let before = (hold.state, hold.amount);
            hold.state = hold.state.settle(settlement.to);
            if hold.state == before.0 {
                continue;
            }
            if let (SettledAs::Captured, Some((currency, part))) = (settlement.to, &settlement.part)
                && *currency == hold.currency
            {
                // More than was held was never authorised; the record says what was reported.
                hold.amount = (*part).clamp(0, hold.amount);
            }
            let key = (hold.tenant.clone(), hold.key.clone());
            let counter = known.budgets.entry(key.clone()).or_default();
            let figure = |counts: bool, amount| if counts { amount } else { 0_i64 };
            let used = |(state, amount): (HoldState, i64)| figure(state.counts(), amount);
            let open = |(state, amount): (HoldState, i64)| figure(state.is_open(), amount);
            let after = (hold.state, hold.amount);
            let change = |now: i64, was: i64| now.saturating_sub(was);
            let (by, held) = (
                change(used(after), used(before)),
                change(open(after), open(before)),
            );
            counter.used = counter.used.saturating_add(by);
            counter.held = counter.held.saturating_add(held);
            self.budgets.insert(key, *counter);
            let place = (hold.decision, hold.key.clone());
            self.holds.insert(place, hold.clone());
        }
    }

    fn report(&mut self, append: &Append, known: &mut Known) {
        for usage in &append.usage {
            let key = (append.tenant.clone(), usage.key.clone());
            let counter = report(known.budgets.get(&key), usage);
            known.budgets.insert(key.clone(), counter);
            self.budgets.insert(key, counter);
        }
    }

    fn raise(&mut self, append: &Append, known: &mut Known) -> Result<(), Appended> {
        let Some(Raising { raise, room, at_ms }) = &append.raise else {
            return Ok(());
        };
        let all = known.raises.entry(append.tenant.clone()).or_default();
        let open = || all.iter().filter(|other| other.is_open(*at_ms));
        let same = open().filter(|other| other.budget == raise.budget);
        // Whoever it is for: the sum of all is never more than any one may have.
        let sum = same.fold(raise.amount, |sum, other| sum.saturating_add(other.amount));
        if open().count() >= RAISES_MAX || room.is_some_and(|room| sum > room) {
            return Err(Appended::RaiseRefused);
        }
        all.push(raise.clone());
        self.raises.push((append.tenant.clone(), raise.clone()));
        Ok(())
    }
}

impl Known {
    fn raised(&self, tenant: &TenantId, hold: &Hold) -> i64 {
        let all = self.raises.get(tenant).into_iter().flatten();
        all.filter(|raise| raise.lifts(&hold.key, hold.at_ms))
            .fold(0, |sum, raise| sum.saturating_add(raise.amount))
    }

    /// What was used on the days before; a day without any counts as none.
    fn days(&self, tenant: &TenantId, hold: &Hold) -> Vec<i64> {
        let days = hold.limits.spike.iter().flat_map(|spike| &spike.days);
        let used = |day: &Key| {
            let counter = self.budgets.get(&(tenant.clone(), day.clone()));
            counter.map_or(0, |counter| counter.used)
        };
        days.map(used).collect()
    }
}

/// Goes through a batch in order, as if each append had been alone.
pub(super) fn plan(batch: &[Append], mut known: Known) -> Planned<'_> {
    let mut planned = Planned::default();
    for append in batch {
        let answer = one(append, &mut known, &mut planned);
        planned.answers.push(answer);
    }
    planned
}

fn is_held(append: &Append, known: &Known) -> bool {
    let settlement = append.settles.as_ref();
    let holds = settlement.and_then(|settlement| known.holds.get(&settlement.decision));
    let held = |hold: &HoldRow| hold.state == HoldState::Held && hold.tenant == append.tenant;
    holds.is_some_and(|holds| holds.iter().any(held))
}

fn one<'a>(append: &'a Append, known: &mut Known, planned: &mut Planned<'a>) -> Appended {
    if append.incidents.counts_only {
        for denial in &append.incidents.denials {
            planned.count(known, &append.tenant, denial);
        }
        return Appended::Counted;
    }
    let request = append
        .decision
        .as_ref()
        .map(|row| (append.tenant.clone(), row.request_id));
    if let Some(row) = request.as_ref().and_then(|key| known.decisions.get(key)) {
        return Appended::DuplicateDecision(row.clone());
    }
    if append
        .outcome_id
        .is_some_and(|id| known.outcomes.contains(&id))
    {
        return Appended::DuplicateOutcome;
    }
    let kind = append.draft.kind;
    // What was decided before places were counted holds none and can still be taken back.
    let placed = || {
        append
            .settles
            .as_ref()
            .is_some_and(|to| known.holds.contains_key(&to.decision))
    };
    let releases = match kind {
        Kind::BudgetChanged | Kind::ApprovalExpired => append.settles.is_some(),
        Kind::Cancelled => placed(),
        _ => false,
    };
    if releases && !is_held(append, known) {
        // It ended in the meantime in another way: there is nothing to give back.
        return Appended::DuplicateOutcome;
    }
    if let Err(over) = planned.reserve(append, known) {
        return over;
    }
    if let Err(refused) = planned.raise(append, known) {
        return refused;
    }
    planned.settle(append, known);
    planned.report(append, known);
    let trip = append.trip.as_ref();
    planned
        .trips
        .extend(trip.map(|trip| (&append.tenant, trip)));
    if let Some((key, row)) = request.zip(append.decision.clone()) {
        known.decisions.insert(key, row);
    }
    known.outcomes.extend(append.outcome_id);
    let draft = Cow::Borrowed(&append.draft);
    let seq = planned.place(known, &append.tenant, draft, Some(append));
    for notice in &append.notices {
        planned.tell(notice);
    }
    for denial in &append.incidents.denials {
        planned.count(known, &append.tenant, denial);
    }
    if let Some(incident) = &append.incidents.closes {
        planned.rest(known, &append.tenant, incident);
    }
    Appended::Stored { seq }
}

#[cfg(test)]
mod tests;
