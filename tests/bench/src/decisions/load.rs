//! Callers: a closed loop that keeps so many calls in flight, and an open loop that calls on a
//! timetable and counts a late start as latency. Every answer is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::machine::cpu_ns;
use tonic::transport::Channel;
use writ_proto::pb;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;

use crate::fail;
use crate::sample::{Sample, used};
use policyd::ids;

/// The server under load, and what is asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) pid: u32,
    pub(crate) channels: Vec<Channel>,
    pub(crate) request: pb::AuthorizeRequest,
}

/// Asks once, under a fresh request id, and insists on a signed ALLOW.
pub(crate) async fn ask(
    client: &mut AuthorizationServiceClient<Channel>,
    request: &pb::AuthorizeRequest,
) -> anyhow::Result<pb::AuthorizeResponse> {
    let mut request = request.clone();
    request.request_id = ids::new_id().to_string();
    let answer = client.authorize(request).await.map_err(fail)?.into_inner();
    let signed = answer.decision.as_ref().is_some_and(|decision| {
        decision.verdict == i32::from(pb::Verdict::Allow) && !decision.token.is_empty()
    });
    if signed {
        Ok(answer)
    } else {
        Err(fail("an answer that is not a signed ALLOW"))
    }
}

/// Keeps `callers` calls in flight until so many are made or the time is up.
pub(crate) async fn closed(
    target: &Target,
    callers: usize,
    calls: u64,
    limit: Duration,
) -> anyhow::Result<Sample> {
    let left = Arc::new(AtomicU64::new(calls));
    let before = cpu_ns(target.pid);
    let start = Instant::now();
    let mut running = Vec::with_capacity(callers);
    for channel in target.channels.iter().cycle().take(callers) {
        let mut client = AuthorizationServiceClient::new(channel.clone());
        let (request, left) = (target.request.clone(), Arc::clone(&left));
        running.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            let one = |count: u64| count.checked_sub(1);
            while start.elapsed() < limit
                && left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one)
                    .is_ok()
            {
                let begun = Instant::now();
                ask(&mut client, &request).await?;
                taken.push(begun.elapsed());
            }
            Ok::<_, anyhow::Error>(taken)
        }));
    }
    finish(running, target.pid, before, start).await
}

/// Calls `rate` times a second for a while, whether earlier calls have come back or not.
pub(crate) async fn open(
    target: &Target,
    callers: u32,
    rate: u64,
    lasting: Duration,
) -> anyhow::Result<Sample> {
    let period = Duration::from_secs(1)
        .saturating_mul(callers)
        .checked_div(u32::try_from(rate.max(1)).unwrap_or(u32::MAX))
        .unwrap_or(lasting);
    let before = cpu_ns(target.pid);
    let start = Instant::now();
    let mut running = Vec::new();
    for (index, channel) in (0..callers).zip(target.channels.iter().cycle()) {
        let mut client = AuthorizationServiceClient::new(channel.clone());
        let request = target.request.clone();
        let offset = period
            .saturating_mul(index)
            .checked_div(callers)
            .unwrap_or_default();
        running.push(tokio::spawn(async move {
            let (mut taken, mut due) = (Vec::new(), offset);
            while due < lasting {
                let planned = start.checked_add(due).unwrap_or(start);
                tokio::time::sleep_until(planned.into()).await;
                ask(&mut client, &request).await?;
                taken.push(planned.elapsed());
                due = due.saturating_add(period);
            }
            Ok::<_, anyhow::Error>(taken)
        }));
    }
    finish(running, target.pid, before, start).await
}

type Calling = tokio::task::JoinHandle<anyhow::Result<Vec<Duration>>>;

async fn finish(
    running: Vec<Calling>,
    pid: u32,
    before: Option<u64>,
    start: Instant,
) -> anyhow::Result<Sample> {
    let mut taken = Vec::new();
    for task in running {
        taken.extend(task.await.map_err(fail)??);
    }
    let wall = start.elapsed();
    Sample::of(taken, used(pid, before)?, wall)
}
