//! A closed loop that keeps so many calls in flight. Each call brings a request of its own,
//! minted before the clock starts, and every answer is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::machine::cpu_ns;
use tonic::transport::Channel;
use writ_proto::pb;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;

use crate::fail;
use crate::sample::{Sample, used};

/// The server under load.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) pid: u32,
    pub(crate) channels: Vec<Channel>,
}

/// Asks once and insists on an execution that was not refused.
pub(crate) async fn ask(
    client: &mut ConnectorServiceClient<Channel>,
    request: pb::ExecuteRequest,
) -> anyhow::Result<pb::ExecuteResponse> {
    let answer = client.execute(request).await.map_err(fail)?.into_inner();
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
pub(crate) async fn closed(
    target: &Target,
    callers: usize,
    requests: Vec<pb::ExecuteRequest>,
    limit: Duration,
) -> anyhow::Result<Sample> {
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
            Ok::<_, anyhow::Error>(taken)
        }));
    }
    let mut taken = Vec::new();
    for task in running {
        taken.extend(task.await.map_err(fail)??);
    }
    let wall = start.elapsed();
    Sample::of(taken, used(target.pid, before)?, wall)
}
