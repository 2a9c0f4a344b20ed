//! What a batch changes, computed without a database: the same for every driver.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::claim::counter;
use super::{Claim, Claimed, Counter, Promoted, Report, UndoWrit, Work, Written};
use crate::domain::caps::{Count, Over};
use crate::domain::execution::Execution;

/// Issuer and id of a token.
pub(super) type TokenKey = (String, Uuid);

/// A claim that the database holds.
#[derive(Debug, Clone)]
pub(super) struct Spent {
    pub(super) request_id: Uuid,
    pub(super) request_hash: Vec<u8>,
    pub(super) caller: String,
    pub(super) execution: Execution,
}

/// What the database holds of all that a batch touches, read inside its transaction.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Tokens of the batch that are spent.
    pub(super) spent: BTreeMap<TokenKey, Spent>,
    /// Counts of the batch.
    pub(super) used: BTreeMap<Counter, i64>,
    /// Revisions of the executions of the batch; absent means not stored.
    pub(super) revisions: BTreeMap<String, i64>,
    /// Revisions of the rollouts of the batch; 0 means not stored.
    pub(super) rollouts: BTreeMap<(String, String), i64>,
}

/// What to write, and what to answer.
#[derive(Debug, Default)]
pub(super) struct Planned<'a> {
    /// Tokens to spend.
    pub(super) claims: Vec<&'a Claim>,
    /// Executions, each with its new revision.
    pub(super) executions: BTreeMap<String, Execution>,
    /// Counts that changed.
    pub(super) used: BTreeMap<Counter, i64>,
    pub(super) reports: Vec<&'a Report>,
    pub(super) rollouts: BTreeMap<(&'a str, &'a str), &'a Promoted>,
    pub(super) delivered: Vec<Uuid>,
    pub(super) undo_writs: Vec<&'a UndoWrit>,
    pub(super) answers: Vec<Written>,
}

impl<'a> Planned<'a> {
    fn claim(&mut self, claim: &'a Claim, known: &mut Known) -> Claimed {
        let key = (claim.presented.issuer.clone(), claim.presented.cti);
        if let Some(spent) = known.spent.get(&key) {
            if claim
                .presented
                .repeats(spent.request_id, &spent.request_hash, &spent.caller)
            {
                return Claimed::Repeated(Box::new(spent.execution.clone()));
            }
            // Another agent learns nothing of it.
            let own = spent.caller == claim.presented.caller;
            return Claimed::Replayed(own.then(|| spent.execution.id.clone()));
        }
        if let Err(what) = self.count(&claim.execution.tenant, &claim.counts, known) {
            return Claimed::OverCap(what);
        }
        let mut execution = claim.execution.clone();
        execution.revision = 1;
        let spent = Spent {
            request_id: claim.presented.request_id,
            request_hash: claim.presented.request_hash.to_vec(),
            caller: claim.presented.caller.clone(),
            execution: execution.clone(),
        };
        known.spent.insert(key, spent);
        self.claims.push(claim);
        self.put(execution.clone(), known);
        Claimed::Fresh(Box::new(execution))
    }

    /// All counts or none; the error names the ceiling that is reached.
    fn count(&mut self, tenant: &str, counts: &[Count], known: &mut Known) -> Result<(), Over> {
        let mut then = Vec::with_capacity(counts.len());
        for count in counts {
            let counter = counter(tenant, count);
            let used = known.used.get(&counter).copied().unwrap_or_default();
            let after = used.checked_add(count.add);
            // What is taken back is never refused, and never goes below nothing.
            let after = match after {
                Some(after) if count.add < 0 && count.cap == i64::MAX => Some(after.max(0)),
                Some(after) => Some(after).filter(|after| count.add >= 0 && *after <= count.cap),
                None => None,
            };
            then.push((counter, after.ok_or_else(|| Over::of(count))?));
        }
        known.used.extend(then.iter().cloned());
        self.used.extend(then);
        Ok(())
    }

    fn put(&mut self, execution: Execution, known: &mut Known) {
        let id = execution.id.clone();
        known.revisions.insert(id.clone(), execution.revision);
        self.executions.insert(id, execution);
    }

    fn save(
        &mut self,
        tenant: &str,
        (executions, counts): (&[Execution], &[Count]),
        known: &mut Known,
    ) -> Written {
        let follows = |own: &Execution| {
            known.revisions.get(&own.id).copied().unwrap_or_default() == own.revision
        };
        if !executions.iter().all(follows) {
            return Written::Conflict;
        }
        if let Err(what) = self.count(tenant, counts, known) {
            return Written::OverCap(what);
        }
        for execution in executions {
            let mut execution = execution.clone();
            execution.revision = execution.revision.saturating_add(1);
            self.put(execution, known);
        }
        Written::Saved
    }

    /// Whether nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.executions.is_empty()
            && self.reports.is_empty()
            && self.rollouts.is_empty()
            && self.delivered.is_empty()
            && self.undo_writs.is_empty()
    }
}

/// Goes through a batch in order, as if each write had been alone.
pub(super) fn plan(batch: &[Work], mut known: Known) -> Planned<'_> {
    let mut planned = Planned::default();
    for work in batch {
        let answer = match work {
            Work::Claim(claim) => Written::Claimed(planned.claim(claim, &mut known)),
            Work::Save {
                tenant,
                executions,
                reports,
                rollout,
                counts,
            } => {
                if let Some(to) = rollout {
                    let key = (to.tenant.clone(), to.action.clone());
                    let now = known.rollouts.entry(key).or_default();
                    if *now != to.revision {
                        planned.answers.push(Written::Conflict);
                        continue;
                    }
                    *now = now.saturating_add(1);
                }
                let written = planned.save(tenant, (executions, counts), &mut known);
                if written == Written::Saved {
                    planned.reports.extend(reports);
                    let set = rollout.iter();
                    let set = set.map(|to| ((&*to.tenant, &*to.action), to));
                    planned.rollouts.extend(set);
                }
                written
            }
            Work::Delivered {
                reports,
                undo_writs,
            } => {
                planned.delivered.extend(reports);
                planned.undo_writs.extend(undo_writs);
                Written::Saved
            }
        };
        planned.answers.push(answer);
    }
    planned
}

/// The tokens that a batch wants to spend.
pub(super) fn claims(batch: &[Work]) -> impl Iterator<Item = &Claim> {
    batch.iter().filter_map(|work| match work {
        Work::Claim(claim) => Some(&**claim),
        Work::Save { .. } | Work::Delivered { .. } => None,
    })
}

/// The executions that a batch writes over, or makes outside a claim.
pub(super) fn followed(batch: &[Work]) -> impl Iterator<Item = &Execution> {
    batch.iter().flat_map(|work| match work {
        Work::Save { executions, .. } => executions.as_slice(),
        Work::Claim(_) | Work::Delivered { .. } => &[],
    })
}

/// Tenant and action of the rollouts that a batch sets, sorted.
pub(super) fn rollouts(batch: &[Work]) -> BTreeSet<(&str, &str)> {
    let set = batch.iter().filter_map(|work| match work {
        Work::Save { rollout, .. } => rollout.as_ref(),
        Work::Claim(_) | Work::Delivered { .. } => None,
    });
    set.map(|to| (to.tenant.as_str(), to.action.as_str()))
        .collect()
}

/// The counts that a batch looks at.
pub(super) fn counters(batch: &[Work]) -> BTreeSet<Counter> {
    let counted = batch.iter().flat_map(|work| {
        let (tenant, counts): (&str, &[Count]) = match work {
            Work::Claim(claim) => (&claim.execution.tenant, &claim.counts),
            Work::Save { tenant, counts, .. } => (tenant, counts),
            Work::Delivered { .. } => ("", &[]),
        };
        counts.iter().map(move |count| counter(tenant, count))
    });
    counted.collect()
}

#[cfg(test)]
mod tests;
