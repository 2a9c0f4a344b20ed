//! A closed loop that keeps so many calls in flight. Each call brings a request of its own,
//! minted before the clock starts, and every answer is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tonic::transport::Channel;
use writ_proto::host::machine::cpu_ns;
use writ_proto::pb;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;

use super::stage::fail;
use crate::app::AppError;
use crate::cli::remote::failed;

/// The server under load.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) pid: u32,
    pub(super) channels: Vec<Channel>,
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

/// Asks once and insists on an execution that was not refused.
pub(super) async fn ask(
    client: &mut ConnectorServiceClient<Channel>,
    request: pb::ExecuteRequest,
) -> Result<pb::ExecuteResponse, AppError> {
    let answer = client.execute(request).await.map_err(failed)?.into_inner();
    let fine = answer.execution.as_ref().is_some_and(|execution| {
        execution.reason_code.is_empty() && execution.state == i32::from(pb::ExecutionState::Done)
    });
    if fine && !answer.replayed {
        Ok(answer)
    } else {
        Err(fail("an answer that is not a fresh execution"))
    }
}

/// Sends each request once, `callers` at a time, until all are sent or the time is up.
pub(super) async fn closed(
    target: &Target,
    callers: usize,
    requests: Vec<pb::ExecuteRequest>,
    limit: Duration,
) -> Result<Sample, AppError> {
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let before = cpu_ns(target.pid);
    let start = Instant::now();
    let mut running = Vec::with_capacity(callers);
    for channel in target.channels.iter().cycle().take(callers) {
        let mut client = ConnectorServiceClient::new(channel.clone());
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        running.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            while start.elapsed() < limit {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(at) else {
                    break;
                };
                let begun = Instant::now();
                ask(&mut client, request.clone()).await?;
                taken.push(begun.elapsed());
            }
            Ok::<_, AppError>(taken)
        }));
    }
    let mut taken = Vec::new();
    for task in running {
        taken.extend(task.await.map_err(fail)??);
    }
    let wall = start.elapsed();
    let used = cpu_ns(target.pid)
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));
    let used = used.ok_or_else(|| fail("the processor time of the server cannot be read"))?;
    sample(taken, used, wall)
}

fn sample(mut taken: Vec<Duration>, used_ns: u64, wall: Duration) -> Result<Sample, AppError> {
    taken.sort();
    let calls = u64::try_from(taken.len()).unwrap_or(u64::MAX);
    let millis = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX).max(1);
    let cpu_ns = used_ns.checked_div(calls);
    Ok(Sample {
        calls,
        rate: calls.saturating_mul(1_000) / millis,
        cpu_ns: cpu_ns.ok_or_else(|| fail("no call was made in the time given"))?,
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
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_list_and_never_outside_it() {
        let list: Vec<Duration> = (0..=100).rev().map(Duration::from_millis).collect();
        let sample = sample(list, 1_010, Duration::from_secs(1)).unwrap();
        assert_eq!((sample.calls, sample.rate, sample.cpu_ns), (101, 101, 10));
        assert_eq!(sample.p50, Duration::from_millis(50));
        assert_eq!(sample.p99, Duration::from_millis(99));
        assert_eq!(sample.p999, Duration::from_millis(100));
        assert_eq!(quantile(&[], 500), Duration::ZERO);
    }

    #[test]
    fn a_run_without_calls_has_no_figure() {
        assert!(sample(Vec::new(), 5, Duration::from_secs(1)).is_err());
    }
}
