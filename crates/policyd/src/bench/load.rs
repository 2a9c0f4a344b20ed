//! Callers: a closed loop that keeps so many calls in flight, and an open loop that calls on a
//! timetable and counts a late start as latency. Every answer is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tonic::transport::Channel;
use writ_proto::host::machine::cpu_ns;
use writ_proto::pb;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;

use super::stage::fail;
use crate::app::AppError;
use crate::cli::remote::failed;
use crate::ids;

/// The server under load, and what is asked of it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) pid: u32,
    pub(super) channels: Vec<Channel>,
    pub(super) request: pb::AuthorizeRequest,
}

/// What a run of calls took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Calls made.
    pub(super) calls: u64,
    /// Calls in a second.
    pub(super) rate: u64,
    /// Nanoseconds of server processor time for one call.
    pub(super) cpu_ns: u64,
    /// Median latency.
    pub(super) p50: Duration,
    /// Latency of the slowest in a hundred.
    pub(super) p99: Duration,
    /// Latency of the slowest in a thousand.
    pub(super) p999: Duration,
}

/// Asks once, under a fresh request id, and insists on a signed ALLOW.
pub(super) async fn ask(
    client: &mut AuthorizationServiceClient<Channel>,
    request: &pb::AuthorizeRequest,
) -> Result<pb::AuthorizeResponse, AppError> {
    let mut request = request.clone();
    request.request_id = ids::new_id().to_string();
    let answer = client
        .authorize(request)
        .await
        .map_err(failed)?
        .into_inner();
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
pub(super) async fn closed(
    target: &Target,
    callers: usize,
    calls: u64,
    limit: Duration,
) -> Result<Sample, AppError> {
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
            Ok::<_, AppError>(taken)
        }));
    }
    finish(running, target.pid, before, start).await
}

/// Calls `rate` times a second for a while, whether earlier calls have come back or not.
pub(super) async fn open(
    target: &Target,
    callers: u32,
    rate: u64,
    lasting: Duration,
) -> Result<Sample, AppError> {
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
            Ok::<_, AppError>(taken)
        }));
    }
    finish(running, target.pid, before, start).await
}

type Calling = tokio::task::JoinHandle<Result<Vec<Duration>, AppError>>;

async fn finish(
    running: Vec<Calling>,
    pid: u32,
    before: Option<u64>,
    start: Instant,
) -> Result<Sample, AppError> {
    let mut taken = Vec::new();
    for task in running {
        taken.extend(task.await.map_err(fail)??);
    }
    let wall = start.elapsed();
    let used = cpu_ns(pid)
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));
    let used = used.ok_or_else(|| fail("the processor time of the server cannot be read"))?;
    taken.sort();
    let calls = u64::try_from(taken.len()).unwrap_or(u64::MAX);
    if calls == 0 {
        return Err(fail("no call was made in the time given"));
    }
    let millis = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX).max(1);
    Ok(Sample {
        calls,
        rate: calls.saturating_mul(1_000) / millis,
        cpu_ns: used / calls,
        p50: quantile(&taken, 500),
        p99: quantile(&taken, 990),
        p999: quantile(&taken, 999),
    })
}

/// The value below which so many in a thousand lie; the list is sorted.
fn quantile(sorted: &[Duration], per_mille: usize) -> Duration {
    let at = sorted
        .len()
        .saturating_sub(1)
        .saturating_mul(per_mille)
        .div_ceil(1_000);
    sorted.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
