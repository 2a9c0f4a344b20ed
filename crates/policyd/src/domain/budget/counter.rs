//! One counter of a budget, and whether one more hold fits. Integers only, checked; whatever
//! cannot be told does not fit.

use writ_proto::Reason;

use super::{Hold, Key, Takes, Usage};

/// How a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counter {
    /// Held and captured together.
    pub used: i64,
    /// What of it is held.
    pub held: i64,
    /// When it was first used, Unix milliseconds.
    pub since_ms: i64,
    /// The first call whose usage nobody has reported, Unix milliseconds.
    pub unreported_ms: Option<i64>,
}

/// What a hold must fit under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most that may be used.
    pub cap: i64,
    /// Most that a raise may make of the cap.
    pub max: Option<i64>,
    /// What is free: the first call of a run is no follow-up.
    pub free: i64,
    /// Most against the days before.
    pub spike: Option<Spike>,
    /// How old the counter may be, in milliseconds.
    pub age_ms_max: Option<i64>,
    /// How long usage may be unknown, in milliseconds; only for reported usage.
    pub report_ms_max: Option<i64>,
}

/// A multiple of the median of the days before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spike {
    /// How many times the median.
    pub factor: i64,
    /// What is never a spike.
    pub floor: i64,
    /// The counters of the days before.
    pub days: Vec<Key>,
}

/// Which kind of limit fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// The cap.
    Cap,
    /// Unusually much today.
    Spike,
    /// The run is too old.
    Age,
    /// Usage was not reported for too long.
    Unreported,
}

impl Fired {
    /// Why a request is denied by it.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Cap | Self::Spike | Self::Age => Reason::BudgetExceeded,
            Self::Unreported => Reason::UsageUnknown,
        }
    }

    /// Its name in records and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::Spike => "spike",
            Self::Age => "age",
            Self::Unreported => "unreported",
        }
    }
}

/// Why a hold does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// What fired.
    pub fired: Fired,
    /// What is used.
    pub used: i64,
    /// What may be used.
    pub limit: i64,
}

/// The limit that counts: the cap with its raises, or the spike where that is less. `days` holds
/// what was used on the days before.
#[must_use]
pub fn limit(limits: &Limits, raised: i64, days: &[i64]) -> (i64, Fired) {
    let raised = raised.max(0);
    let mut cap = limits.cap.saturating_add(raised);
    if let Some(max) = limits.max {
        // A raise made under another set never passes the one in force.
        cap = cap.min(max.max(limits.cap));
    }
    let Some(spike) = &limits.spike else {
        return (cap, Fired::Cap);
    };
    let usual = median(days).saturating_mul(spike.factor).max(spike.floor);
    let usual = usual.saturating_add(raised);
    if usual < cap {
        (usual, Fired::Spike)
    } else {
        (cap, Fired::Cap)
    }
}

/// The middle one; of an even number the lower, so that it is never rounded up.
fn median(days: &[i64]) -> i64 {
    let mut days = days.to_vec();
    days.sort_unstable();
    let middle = days.len().saturating_sub(1) / 2;
    days.get(middle).copied().unwrap_or_default()
}

/// The counter with one more hold, if that fits.
///
/// # Errors
/// What fired.
pub fn fits(
    before: Option<&Counter>,
    hold: &Hold,
    raised: i64,
    days: &[i64],
) -> Result<Counter, Over> {
    let limits = &hold.limits;
    let (limit, by) = limit(limits, raised, days);
    let mut counter = before.copied().unwrap_or(Counter {
        since_ms: hold.at_ms,
        ..Counter::default()
    });
    let used = counter.used;
    let over = |fired| Over {
        fired,
        used: used.saturating_sub(limits.free).max(0),
        limit,
    };
    let late = |since: i64, most: Option<i64>| {
        most.is_some_and(|most| hold.at_ms.saturating_sub(since) > most)
    };
    if late(counter.since_ms, limits.age_ms_max) {
        return Err(over(Fired::Age));
    }
    if hold.takes == Takes::Nothing {
        let since = counter.unreported_ms.unwrap_or(hold.at_ms);
        if late(since, limits.report_ms_max) {
            return Err(over(Fired::Unreported));
        }
        if used >= limit {
            return Err(over(by));
        }
        counter.unreported_ms = Some(since);
        return Ok(counter);
    }
    let room = limit.saturating_add(limits.free);
    let then = used.checked_add(hold.amount);
    let then = then.filter(|then| hold.amount > 0 && *then <= room);
    counter.used = then.ok_or_else(|| over(by))?;
    if hold.takes == Takes::Settled {
        counter.held = counter.held.saturating_add(hold.amount);
    }
    Ok(counter)
}

/// The counter after a report of usage. It only ever grows; what would overflow stays at the most
/// there is, which no cap allows.
#[must_use]
pub fn report(before: Option<&Counter>, usage: &Usage) -> Counter {
    let mut counter = before.copied().unwrap_or(Counter {
        since_ms: usage.at_ms,
        ..Counter::default()
    });
    counter.used = counter.used.saturating_add(usage.amount.max(0));
    if usage.complete {
        counter.unreported_ms = None;
    }
    counter
}

#[cfg(test)]
mod tests;
