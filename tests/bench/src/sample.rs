//! What a run of calls took, and how long a piece of work in this process takes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::fail;

const BATCHES: usize = 5;
const BATCH_TIME: Duration = Duration::from_millis(80);
const LOOK_EVERY: u32 = 16;

/// What a run of calls took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Calls made.
    pub(crate) calls: u64,
    /// Calls in a second.
    pub(crate) rate: u64,
    /// Nanoseconds of server processor time for one call.
    pub(crate) cpu_ns: u64,
    /// Median latency.
    pub(crate) p50: Duration,
    /// Latency of the slowest in a hundred.
    pub(crate) p99: Duration,
    /// Latency of the slowest in a thousand.
    pub(crate) p999: Duration,
}

impl Sample {
    /// Of the latencies, the processor time used for all of them, and the time all of it took.
    pub(crate) fn of(
        mut taken: Vec<Duration>,
        used_ns: u64,
        wall: Duration,
    ) -> anyhow::Result<Self> {
        taken.sort();
        let calls = u64::try_from(taken.len()).unwrap_or(u64::MAX);
        let millis = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX).max(1);
        let cpu_ns = used_ns.checked_div(calls);
        Ok(Self {
            calls,
            rate: calls.saturating_mul(1_000) / millis,
            cpu_ns: cpu_ns.ok_or_else(|| fail("no call was made in the time given"))?,
            p50: quantile(&taken, 500),
            p99: quantile(&taken, 990),
            p999: quantile(&taken, 999),
        })
    }

    /// The run of median processor time.
    pub(crate) fn median(mut samples: Vec<Self>) -> anyhow::Result<Self> {
        samples.sort_by_key(|sample| sample.cpu_ns);
        let middle = samples.len() / 2;
        let sample = samples.into_iter().nth(middle);
        sample.ok_or_else(|| fail("nothing was measured"))
    }
}

/// Processor time since an earlier look.
pub(crate) fn used(pid: u32, before: Option<u64>) -> anyhow::Result<u64> {
    let used = crate::machine::cpu_ns(pid)
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));
    used.ok_or_else(|| fail("the processor time of the server cannot be read"))
}

/// The value below which so many in a thousand lie; the list is sorted.
pub(crate) fn quantile<T: Copy + Default>(sorted: &[T], per_mille: usize) -> T {
    let at = sorted.len().saturating_sub(1).saturating_mul(per_mille);
    sorted.get(at.div_ceil(1_000)).copied().unwrap_or_default()
}

/// Nanoseconds of one piece of work: the median of a few batches. Work says whether it came out right.
pub(crate) fn time(mut work: impl FnMut() -> bool) -> anyhow::Result<u64> {
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < BATCH_TIME {
            for _ in 0..LOOK_EVERY {
                if !black_box(work()) {
                    return Err(fail("a measured piece of work came out wrong"));
                }
                count = count.saturating_add(1);
            }
        }
        batches.push(start.elapsed().checked_div(count).unwrap_or_default());
    }
    batches.sort();
    let median = batches.get(BATCHES / 2).copied().unwrap_or_default();
    Ok(u64::try_from(median.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_list_and_never_outside_it() {
        let list: Vec<Duration> = (0..=100).rev().map(Duration::from_millis).collect();
        let sample = Sample::of(list, 1_010, Duration::from_secs(1)).unwrap();
        assert_eq!((sample.calls, sample.rate, sample.cpu_ns), (101, 101, 10));
        assert_eq!(sample.p50, Duration::from_millis(50));
        assert_eq!(sample.p99, Duration::from_millis(99));
        assert_eq!(sample.p999, Duration::from_millis(100));
        assert_eq!(quantile::<Duration>(&[], 500), Duration::ZERO);
        assert_eq!(quantile(&[1, 2, 30], 990), 30);
    }

    #[test]
    fn a_run_without_calls_has_no_figure() {
        assert!(Sample::of(Vec::new(), 5, Duration::from_secs(1)).is_err());
    }

    #[test]
    fn work_that_comes_out_wrong_is_not_measured() {
        assert!(time(|| false).is_err());
        assert!(time(|| true).is_ok());
    }
}
