//! Delivers the halts that policyd orders to connectord, one after another, until each stands.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use writ_proto::host::channel::Peer;
use writ_proto::ids::TenantId;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::scope::Part;
use writ_proto::{Reason, pb};

use crate::app::SharedApp;
use crate::app::containment::halting::{HaltQueue, Wanted};

type Client = HaltServiceClient<Channel>;

/// A day.
const RUN_HALT: prost_types::Duration = prost_types::Duration {
    seconds: 24 * 3_600,
    nanos: 0,
};
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long an order rests that connectord refuses: its cards or its configuration must change first.
const REFUSED_REST: Duration = Duration::from_secs(10);
/// How long one rests whose tenant has no room for halts.
const FULL_REST: Duration = Duration::from_secs(1);

/// How an order ended.
enum Ended {
    /// It stands.
    Done,
    /// Its tenant has no room; it rests, and the others go on.
    Full,
    /// connectord refuses it, with this code. It is asked for again later, and meanwhile policyd
    /// itself denies whom it concerns.
    Refused(String),
}

/// Orders that rest, the next one first, and the tenants that have no room.
#[derive(Default)]
struct Resting {
    orders: BTreeMap<Instant, Vec<Wanted>>,
    full: BTreeMap<Option<TenantId>, Instant>,
    /// Whether the last order had rested: the next one is a new one, if there is any.
    rested: bool,
}

impl Resting {
    /// Until when nothing of a tenant is asked for.
    fn full(&mut self, wanted: &Wanted) -> Option<Instant> {
        let now = Instant::now();
        self.full.retain(|_, until| *until > now);
        self.full.get(&wanted.scope.tenant().cloned()).copied()
    }

    /// One whose rest is over.
    fn due(&mut self) -> Option<Wanted> {
        let first = self.orders.first_entry();
        let mut first = first.filter(|entry| *entry.key() <= Instant::now())?;
        let order = first.get_mut().pop();
        if first.get().is_empty() {
            first.remove();
        }
        order
    }

    /// The next order: new ones and rested ones take turns, so that many of one kind hold up none of the
    /// other.
    async fn next(&mut self, queue: &mut HaltQueue) -> Option<Wanted> {
        loop {
            let fresh = if self.rested { queue.next_now() } else { None };
            if let Some(order) = fresh {
                self.rested = false;
                return Some(order);
            }
            if let Some(order) = self.due() {
                self.rested = true;
                return Some(order);
            }
            self.rested = false;
            let Some(due) = self.orders.keys().next().copied() else {
                return queue.next().await;
            };
            if let Ok(order) = tokio::time::timeout_at(due, queue.next()).await {
                return order;
            }
        }
    }
}

/// Delivers until the process ends.
pub async fn deliver(app: SharedApp, mut queue: HaltQueue, connectord: Peer) {
    let mut client = HaltServiceClient::new(connectord.connect_lazy());
    let mut resting = Resting::default();
    while let Some(wanted) = resting.next(&mut queue).await {
        // One question a second tells whether a tenant has room again, however many orders it has.
        if let Some(until) = resting.full(&wanted) {
            resting.orders.entry(until).or_default().push(wanted);
            continue;
        }
        // An incident that was closed meanwhile wants no halt any more.
        if !app.still_wants(&wanted).await {
            queue.done(&wanted.scope);
            continue;
        }
        let rest = match set(&mut client, &wanted).await {
            Ended::Done => {
                queue.stands(&wanted);
                // Whoever ordered it for a limit takes note before anybody can clear it again.
                app.trips.notify_one();
                continue;
            }
            Ended::Full => {
                let tenant = wanted.scope.tenant().cloned();
                resting.full.insert(tenant, Instant::now() + FULL_REST);
                FULL_REST
            }
            Ended::Refused(code) => {
                if let Err(error) = app.tell_halt_refused(&wanted.scope, &code).await {
                    tracing::warn!(%error, "nobody is told that a halt was refused");
                }
                REFUSED_REST
            }
        };
        let due = Instant::now() + rest;
        resting.orders.entry(due).or_default().push(wanted);
    }
}

/// Asks until there is an answer.
async fn set(client: &mut Client, wanted: &Wanted) -> Ended {
    let request = pb::SetHaltRequest {
        scope: wanted.scope.to_string(),
        reason: wanted.reason.clone(),
        duration: match wanted.scope.part() {
            // A run is over one day; an agent stays halted until somebody looked.
            Part::Run(_) => Some(RUN_HALT),
            _ => None,
        },
        cause: wanted.by.name().to_owned(),
    };
    let mut pause = PAUSE;
    loop {
        let Err(status) = client.set_halt(request.clone()).await else {
            return Ended::Done;
        };
        if is_final(&status) {
            tracing::error!(scope = request.scope, %status, "connectord refuses a halt");
            let info = status.get_details_error_info();
            return Ended::Refused(info.map_or_else(String::new, |info| info.reason));
        }
        tracing::warn!(scope = request.scope, %status, "a halt is not set yet");
        if is_full(&status) {
            return Ended::Full;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether only this tenant has no room: halts of the others must not wait for it.
fn is_full(status: &tonic::Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason == Reason::RateLimited.code())
}

/// Whether asking again would be refused again.
fn is_final(status: &tonic::Status) -> bool {
    let info = status.get_details_error_info();
    let reason = info.and_then(|info| Reason::from_code(&info.reason));
    matches!(
        reason,
        Some(
            Reason::RequestMalformed
                | Reason::RequestTooLarge
                | Reason::OperatorRequired
                | Reason::UnknownTenant
        )
    )
}

#[cfg(test)]
mod tests {
    use writ_proto::scope::Scope;

    use super::*;
    use crate::app::containment::halting::{Cause, channel};

    fn order(tenant: &str, name: &str) -> Wanted {
        let tenant = TenantId::parse(tenant).unwrap();
        Wanted {
            scope: Scope::new(Some(tenant), Part::Run(name.to_owned())),
            reason: String::new(),
            by: Cause::Budget,
            agent: String::new(),
        }
    }

    #[tokio::test]
    async fn orders_that_rest_and_new_ones_take_turns() {
        let (client, mut queue) = channel();
        let mut resting = Resting::default();
        let now = Instant::now();
        resting.orders.insert(
            now,
            (0..5).map(|n| order("acme", &format!("old-{n}"))).collect(),
        );
        let globex = TenantId::parse("globex").unwrap();
        for number in 0..3 {
            let part = Part::Run(format!("new-{number}"));
            client.set(&globex, part, "", (Cause::Budget, "")).unwrap();
        }
        let mut taken = Vec::new();
        for _ in 0..8 {
            let next = resting.next(&mut queue).await.unwrap();
            taken.push(next.scope.to_string().contains("new-"));
        }
        assert_eq!(
            &taken[..6],
            [false, true, false, true, false, true],
            "{taken:?}"
        );
    }

    #[test]
    fn a_full_tenant_is_asked_for_nothing_and_others_are() {
        let mut resting = Resting::default();
        let (acme, globex) = (order("acme", "r"), order("globex", "r"));
        let until = Instant::now() + FULL_REST;
        resting.full.insert(acme.scope.tenant().cloned(), until);
        assert_eq!(resting.full(&acme), Some(until));
        assert_eq!(resting.full(&globex), None);
    }
}
