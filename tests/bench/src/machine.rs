//! What the kernel knows: the processor time and memory of a process, and the machine itself.
//!
//! A value that cannot be read is absent, never zero: a ratio over a zero would flatter us.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the disk is asked; the median of so many is steady.
const SYNCS: usize = 200;
const SYNC_BYTES: usize = 4_096;

/// What a figure was measured on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Median time to make 4 KiB durable in the bench folder.
    pub fsync: Duration,
}

impl Machine {
    /// Looks at the machine; writes one small file in the folder.
    pub fn read(folder: &Path) -> std::io::Result<Self> {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let model = text("/proc/cpuinfo");
        let model = model
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let cpu = model
            .unwrap_or("unknown")
            .trim_start_matches(['\t', ':', ' ']);
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: cpu.to_owned(),
            fsync: fsync(folder)?,
        })
    }
}

fn fsync(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join("fsync");
    let mut file = File::create(&path)?;
    let mut taken = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[7; SYNC_BYTES])?;
        file.sync_data()?;
        taken.push(start.elapsed());
    }
    std::fs::remove_file(&path)?;
    taken.sort();
    Ok(taken.get(SYNCS / 2).copied().unwrap_or_default())
}

/// Nanoseconds on a processor of all living threads of a process, user and kernel.
pub fn cpu_ns(pid: u32) -> Option<u64> {
    let mut sum = 0_u64;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // One that has ended since it was listed has no file.
        let Ok(text) = std::fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
            continue;
        };
        let ran: u64 = text.split_whitespace().next()?.parse().ok()?;
        sum = sum.saturating_add(ran);
    }
    Some(sum)
}

/// Resident kilobytes of a process.
pub fn resident_kb(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_has_used_time_and_memory() {
        let pid = std::process::id();
        assert!(cpu_ns(pid).unwrap() > 0);
        assert!(resident_kb(pid).unwrap() > 1_000);
        assert_eq!(cpu_ns(u32::MAX), None, "an absent process has no figure");
    }

    #[test]
    fn the_machine_names_its_disk() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::read(folder.path()).unwrap();
        assert!(machine.cores > 0 && machine.fsync > Duration::ZERO && !machine.kernel.is_empty());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
