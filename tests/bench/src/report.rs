//! Figures as text: no floats, fixed decimals, and each goal beside what was found.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::sample::Sample;
use writ_proto::host::cli::printed::Format;

/// A quotient with two decimals; `-` where there is nothing to divide by.
pub(crate) fn ratio(over: u64, under: u64) -> String {
    hundredths(over, under).map_or_else(|| "-".to_owned(), fixed)
}

fn hundredths(over: u64, under: u64) -> Option<u64> {
    over.checked_mul(100)?
        .checked_add(under / 2)?
        .checked_div(under)
}

fn fixed(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Nanoseconds as microseconds with one decimal.
pub(crate) fn micros(nanos: u64) -> String {
    format!("{}.{}", nanos / 1_000, nanos % 1_000 / 100)
}

/// The machine, its disk, and what of ours is measured.
pub(crate) fn machine(what: &str, folder: &std::path::Path, output: Format) -> anyhow::Result<()> {
    let machine = crate::machine::Machine::read(folder)?;
    let version = env!("CARGO_PKG_VERSION");
    let profile = if cfg!(debug_assertions) {
        "debug: figures mean nothing"
    } else {
        "release"
    };
    let fsync = micros(nanos(machine.fsync));
    let (cores, cpu, kernel) = (machine.cores, &machine.cpu, &machine.kernel);
    let text = format!(
        "{what} {version} ({profile})  {cores} cores  {cpu}  Linux {kernel}  fsync p50 {fsync} us"
    );
    let value = json!({"version": version, "profile": profile, "cores": cores, "cpu": cpu, "kernel": kernel,
        "fsync_p50_ns": nanos(machine.fsync)});
    output.put(&text, &value);
    Ok(())
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One line of the load table.
pub(crate) fn load_line(
    output: Format,
    what: &str,
    callers: usize,
    sample: &Sample,
    echo: &Sample,
) {
    let ratio = ratio(sample.cpu_ns, echo.cpu_ns);
    let text = format!(
        "{what:<22} {callers:>7} {:>8} {:>8} {:>9} {:>9} {:>9} {:>10} {ratio:>7}",
        sample.calls,
        sample.rate,
        micros(nanos(sample.p50)),
        micros(nanos(sample.p99)),
        micros(nanos(sample.p999)),
        micros(sample.cpu_ns),
    );
    output.put(&text, &sample_json(what, callers, sample, &ratio));
}

pub(crate) fn load_head(output: Format) {
    let text = format!(
        "{:<22} {:>7} {:>8} {:>8} {:>9} {:>9} {:>9} {:>10} {:>7}",
        "server", "callers", "calls", "calls/s", "p50 us", "p99 us", "p99.9 us", "us-cpu", "x echo"
    );
    output.put(&text, &json!({"table": "load"}));
}

fn sample_json(what: &str, callers: usize, sample: &Sample, ratio: &str) -> Json {
    json!({
        "server": what, "callers": callers, "calls": sample.calls, "calls_per_second": sample.rate,
        "p50_ns": nanos(sample.p50), "p99_ns": nanos(sample.p99), "p999_ns": nanos(sample.p999),
        "cpu_ns_per_call": sample.cpu_ns, "cpu_over_echo": ratio,
    })
}

/// What a figure has to be, at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    name: &'static str,
    what: &'static str,
    most: u64,
}

impl Goal {
    /// A goal by its number in docs/performance.md; the most is in hundredths.
    pub(crate) const fn new(name: &'static str, what: &'static str, most: u64) -> Self {
        Self { name, what, most }
    }
}

/// Prints a goal, and says whether a quotient keeps it.
pub(crate) fn goal(output: Format, goal: Goal, over: u64, under: u64) {
    let found = hundredths(over, under);
    let kept = found.is_some_and(|found| found <= goal.most);
    let (shown, most) = (
        found.map_or_else(|| "-".to_owned(), fixed),
        fixed(goal.most),
    );
    let word = if kept { "ok" } else { "MISSED" };
    let text = format!(
        "{:<4} {:<58} {shown:>8}  goal <= {most:>7}  {word}",
        goal.name, goal.what
    );
    let value =
        json!({"goal": goal.name, "what": goal.what, "found": shown, "most": most, "kept": kept});
    output.put(&text, &value);
}

/// One figure with its unit.
pub(crate) fn figure(output: Format, what: &str, value: &str, unit: &str) {
    output.put(
        &format!("{what:<58} {value:>10} {unit}"),
        &json!({"figure": what, "value": value, "unit": unit}),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_to_two_decimals() {
        assert_eq!(ratio(10, 4), "2.50");
        assert_eq!(ratio(1, 3), "0.33");
        assert_eq!(ratio(2, 3), "0.67");
        assert_eq!(ratio(1, 0), "-");
        assert_eq!(micros(1_250), "1.2");
    }
}
