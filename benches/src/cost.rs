//! What a process cost so far, as the kernel counts it.

use std::fs;

/// Kernel counts processor time in hundredths of a second, whatever the machine.
const TICKS_A_SECOND: f64 = 100.0;

/// Sums since the process began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Processor time of all its threads, seconds.
    pub cpu: f64,
    /// Bytes it read by system calls, from the page cache too; sockets included.
    pub read: f64,
    /// Bytes it wrote by system calls, sockets included.
    pub written: f64,
}

impl Cost {
    /// Of a running process; zeros for one that is gone.
    pub fn of(process: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name in parentheses may hold spaces: the fields are counted from behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let io = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
        let cpu = (ticks(11) + ticks(12)) / TICKS_A_SECOND;
        Self { cpu, read: number(&io, "rchar:"), written: number(&io, "wchar:") }
    }

    /// What came on top of `before`.
    pub fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu - before.cpu, read: self.read - before.read, written: self.written - before.written }
    }
}

/// The most memory a process held at a time, MiB.
pub fn peak_mib(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    number(&status, "VmHWM:") / 1024.0
}

/// The memory a process holds now, MiB.
pub fn resident_mib(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    number(&status, "VmRSS:") / 1024.0
}

fn number(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse().ok()).unwrap_or(0.0)
}
