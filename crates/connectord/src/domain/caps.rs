//! connectord's own ceilings: what a call adds to which count, and how far each may go. The
//! counts themselves are kept by the database, in the transaction that spends the token.

use chrono::{DateTime, Days};
use chrono_tz::Tz;
use writ_proto::Reason;
use writ_proto::card::{Card, Pilot, RecordCeiling, Rollout};
use writ_proto::money::{Money, minor_digits};
use writ_proto::token::Mode;
use writ_proto::value::{Value, minor_units};

use super::gate::{Call, Permit, Refusal};
use super::image::Image;
use super::plan::{Plan, written};

/// A day of few executions says nothing about the next one.
const SPIKE_FLOOR: i64 = 20;
/// Days a spike is measured against.
pub const SPIKE_DAYS: u64 = 7;
/// What a spike is called.
const SPIKE: &str = "far more records today than on a usual day";
/// Stands for every action of a tenant.
const ANY_ACTION: &str = "*";

/// What a call adds to one count of its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Name of the action, or `*`.
    pub action: String,
    /// What is counted together, such as `2026-11-21` or `run/triage/r-1`.
    pub bucket: String,
    /// How much this call adds.
    pub add: i64,
    /// Whether it is money: what was not paid for certain is taken back. That a call was made counts.
    pub is_amount: bool,
    /// How far the count may go.
    pub cap: i64,
    /// The ceiling, for people.
    pub what: String,
}

impl Count {
    /// What takes this count back, when it is certain that nothing was executed. Nothing stops it.
    #[must_use]
    pub fn back(&self) -> Self {
        Self {
            add: self.add.saturating_neg(),
            cap: i64::MAX,
            ..self.clone()
        }
    }
}

/// A ceiling that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// The ceiling, for people; no figure of it.
    pub what: String,
    /// Whether the run is halted: it reached a ceiling of its own, or is part of a spike.
    pub halts_run: bool,
}

impl Over {
    /// The ceiling of a count.
    #[must_use]
    pub fn of(count: &Count) -> Self {
        Self {
            what: count.what.clone(),
            halts_run: count.bucket.starts_with(RUN) || count.what == SPIKE,
        }
    }
}

impl core::fmt::Display for Over {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.what)
    }
}

/// How the buckets of runs begin.
const RUN: &str = "run/";

/// How the buckets of looks begin.
const LOOK: &str = "look/";

/// A name as part of a bucket: one that holds a slash cannot be read as two.
fn part(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn bucket_of_run(call: &Call) -> String {
    format!("{RUN}{}/{}", part(&call.agent), part(&call.run_id))
}

/// The bucket of a day, in the zone of the tenant's policy set.
#[must_use]
pub fn day(now: DateTime<Tz>) -> String {
    now.format("%Y-%m-%d").to_string()
}

/// The buckets of the days a spike is measured against.
#[must_use]
pub fn days_before(now: DateTime<Tz>) -> Vec<String> {
    let before = (1..=SPIKE_DAYS).filter_map(|days| now.checked_sub_days(Days::new(days)));
    before.map(day).collect()
}

/// Most executions of a day where the days before had so many.
#[must_use]
pub fn spike_cap(factor: u32, mut earlier: Vec<i64>) -> i64 {
    earlier.sort_unstable();
    let median = earlier.get(earlier.len() / 2).copied().unwrap_or_default();
    median.saturating_mul(i64::from(factor)).max(SPIKE_FLOOR)
}

/// Counts where the one of the day is also held to the days before.
#[must_use]
pub fn with_spike(
    mut counts: Vec<Count>,
    day: &str,
    (factor, earlier): (u32, Vec<i64>),
) -> Vec<Count> {
    let cap = spike_cap(factor, earlier);
    for count in counts.iter_mut().filter(|count| count.bucket == day) {
        if cap < count.cap {
            count.cap = cap;
            SPIKE.clone_into(&mut count.what);
        }
    }
    counts
}

struct Counts<'a> {
    card: &'a Card,
    list: Vec<Count>,
}

impl Counts<'_> {
    fn add(&mut self, bucket: String, cap: Option<u32>, what: &str) {
        if let Some(cap) = cap {
            self.add_many(
                (bucket, 1),
                i64::from(cap),
                format!("the ceiling of {what} is reached"),
            );
        }
    }

    fn add_many(&mut self, (bucket, add): (String, i64), cap: i64, what: String) {
        self.list.push(Count {
            action: self.card.name.as_str().to_owned(),
            bucket,
            add,
            is_amount: false,
            cap,
            what,
        });
    }

    /// One more call of a run, of whatever action.
    fn follow_up(&mut self, run: &str) {
        if let Some(most) = self.card.caps.follow_ups_per_run {
            self.list.push(Count {
                action: ANY_ACTION.to_owned(),
                bucket: format!("{run}/calls"),
                add: 1,
                is_amount: false,
                cap: i64::from(most).saturating_add(1),
                what: "the ceiling of calls after the first of a run is reached".to_owned(),
            });
        }
    }

    /// An amount against a ceiling in the same currency.
    fn amount(&mut self, bucket: &str, money: &Money, cap: Option<&Value>, per: &str) {
        let Some(cap) = cap else { return };
        let code = money.currency();
        let most = minor_digits(code).and_then(|digits| minor_units(cap, digits));
        // A ceiling that says nothing in this currency allows nothing.
        let what = format!("the ceiling of {code} {per} is reached");
        let bucket = format!("{bucket}/{code}");
        self.add_money((bucket, money), most.unwrap_or_default(), what);
    }

    fn add_money(&mut self, (bucket, money): (String, &Money), cap: i64, what: String) {
        self.add_many((bucket, money.minor()), cap, what);
        if let Some(last) = self.list.last_mut() {
            last.is_amount = true;
        }
    }
}

/// The pilot of a card whose action is in it.
fn piloted((card, rollout): (&Card, Rollout)) -> Option<Pilot> {
    card.pilot.filter(|_| rollout < Rollout::Live)
}

/// A pilot sees few fields at a time.
fn check_fields(permit: &Permit, card: &Card, pilot: Pilot) -> Result<(), Refusal> {
    let most = usize::try_from(pilot.fields_per_record).unwrap_or(usize::MAX);
    let named = written(card, permit.args().iter().map(|(name, _)| name)).count();
    if named <= most {
        return Ok(());
    }
    let detail = format!("{named} fields at once, the pilot takes {most}");
    Err(Refusal::new(Reason::PilotLimit, detail))
}

/// What an execution counts when its token is spent.
///
/// # Errors
/// `RUN_REQUIRED` when the card counts runs and the writ names none; `PILOT_LIMIT` when it writes
/// more fields than a pilot takes.
pub fn at_claim(
    permit: &Permit,
    call: &Call,
    (card, rollout): (&Card, Rollout),
    now: DateTime<Tz>,
) -> Result<Vec<Count>, Refusal> {
    let day = &day(now);
    let caps = &card.caps;
    if caps.count_runs() && permit.claims().run.is_none() {
        return Err(Refusal::of(Reason::RunRequired));
    }
    // Also a search that finds nothing tells something.
    if card.verb.reads() {
        let mut counts = at_read(card, call, 1, now);
        let mut call_of_run = Counts {
            card,
            list: Vec::new(),
        };
        call_of_run.follow_up(&bucket_of_run(call));
        counts.extend(call_of_run.list);
        return Ok(counts);
    }
    // A dry run changes nothing in the system of record, but it looks at a record.
    if call.mode != Mode::Execute {
        return Ok(at_dry_look(card, call, now));
    }
    let mut counts = Counts {
        card,
        list: Vec::new(),
    };
    let run = bucket_of_run(call);
    match piloted((card, rollout)) {
        Some(pilot) => {
            check_fields(permit, card, pilot)?;
            let most = pilot.records_per_day.min(caps.records_per_day);
            counts.add(day.clone(), Some(most), "records a day in the pilot");
        }
        None => counts.add(day.clone(), Some(caps.records_per_day), "records a day"),
    }
    counts.add(
        format!("{day}/agent/{}", part(&call.agent)),
        caps.records_per_agent_per_day,
        "records a day and agent",
    );
    counts.add(run.clone(), caps.records_per_run, "records a run");
    if let Some(value) = card.money_arg().and_then(|name| permit.args().get(name)) {
        let money = Money::from_value(value).map_err(|_| Refusal::of(Reason::ArgsSchema))?;
        counts.amount(day, &money, caps.amount_per_day.as_ref(), "a day");
        counts.amount(&run, &money, caps.amount_per_run.as_ref(), "a run");
    }
    counts.follow_up(&run);
    Ok(counts.list)
}

/// What an execution counts once its record was seen, before anything is sent.
///
/// # Errors
/// `BUDGET_EXCEEDED` when customers are counted and the record names none.
pub fn at_look(
    card: &Card,
    call: &Call,
    plan: &Plan,
    before: &Image,
    now: DateTime<Tz>,
) -> Result<Vec<Count>, Refusal> {
    let mut counts = Counts {
        card,
        list: Vec::new(),
    };
    if card.caps.records_per_customer_per_day.is_some() {
        let customer = card
            .customer
            .as_ref()
            .and_then(|field| before.name_at(field));
        let customer = customer.ok_or_else(|| {
            let why = "the record names no customer, so nothing can be counted for one";
            Refusal::new(Reason::BudgetExceeded, why)
        })?;
        counts.add(
            format!("{}/customer/{}", day(now), part(&customer)),
            card.caps.records_per_customer_per_day,
            "records a day and customer",
        );
    }
    if let Some(ceiling) = &card.caps.amount_per_record {
        per_record(&mut counts, call, plan, (ceiling, before))?;
    }
    if let Some(most) = card.caps.fields_per_run {
        let bucket = format!("{}/fields", bucket_of_run(call));
        // A verb that adds a record of its own writes one thing.
        let add = i64::try_from(plan.fields.len()).unwrap_or(i64::MAX).max(1);
        let what = "the ceiling of fields a run is reached".to_owned();
        counts.add_many((bucket, add), i64::from(most), what);
    }
    Ok(counts.list)
}

/// The amount on this one record, over all executions that were done or may be: several parts of a
/// refund are held to the order together.
fn per_record(
    counts: &mut Counts<'_>,
    call: &Call,
    plan: &Plan,
    (ceiling, before): (&RecordCeiling, &Image),
) -> Result<(), Refusal> {
    let named = counts.card.money_arg().and_then(|name| plan.args.get(name));
    let Some(asked) = named else { return Ok(()) };
    let asked = Money::from_value(asked).map_err(|_| Refusal::of(Reason::ArgsSchema))?;
    let most = match ceiling {
        RecordCeiling::Amount(value) => Money::new(asked.currency(), value).ok(),
        RecordCeiling::Field(field) => match before.value(field) {
            Some(value @ Value::Map(_)) => Money::from_value(value).ok(),
            Some(number) => Money::new(asked.currency(), number).ok(),
            None => None,
        },
    };
    let code = asked.currency();
    let most = most.filter(|most| most.currency() == code);
    let most = most.ok_or_else(|| {
        let why = format!("the record says nothing in {code} that this amount could be held to");
        Refusal::new(Reason::BudgetExceeded, why)
    })?;
    let (object, id) = call.target.clone().unwrap_or_default();
    let connection = part(&call.connection);
    let bucket = format!("record/{connection}/{}/{}/{code}", part(&object), part(&id));
    let what = format!("the ceiling of {code} on this record is reached");
    counts.add_money((bucket, &asked), most.minor(), what);
    Ok(())
}

/// The counts of two cards: of one bucket the lower ceiling.
#[must_use]
pub fn narrower(mut counts: Vec<Count>, others: Vec<Count>) -> Vec<Count> {
    for other in others {
        match counts
            .iter_mut()
            .find(|count| count.bucket == other.bucket && count.action == other.action)
        {
            Some(count) if count.cap <= other.cap => {}
            Some(count) => *count = other,
            None => counts.push(other),
        }
    }
    counts
}

/// What a look at a record counts that changes nothing, of a card that writes: dry runs and previews
/// are held to as many records as the card may change, apart from those that it changes.
#[must_use]
pub fn at_dry_look(card: &Card, call: &Call, now: DateTime<Tz>) -> Vec<Count> {
    let mut counts = at_read(card, call, 1, now);
    for count in &mut counts {
        count.bucket = format!("{LOOK}{}", count.bucket);
        count.what.push_str(" for dry runs");
    }
    counts
}

/// What records that are shown count.
#[must_use]
pub fn at_read(card: &Card, call: &Call, records: usize, now: DateTime<Tz>) -> Vec<Count> {
    let (caps, day) = (&card.caps, day(now));
    let add = i64::try_from(records).unwrap_or(i64::MAX);
    let run = bucket_of_run(call);
    let agent = format!("{day}/agent/{}", part(&call.agent));
    let mut counts = Counts {
        card,
        list: Vec::new(),
    };
    for (bucket, cap, per) in [
        (day, Some(caps.records_per_day), "a day"),
        (agent, caps.records_per_agent_per_day, "a day and agent"),
        (run.clone(), caps.records_per_run, "a run"),
    ] {
        if let Some(cap) = cap {
            let what = format!("the ceiling of records {per} is reached");
            counts.add_many((bucket, add), i64::from(cap), what);
        }
    }
    counts.list
}

#[cfg(test)]
pub(crate) mod tests;
