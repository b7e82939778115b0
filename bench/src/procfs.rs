//! What the kernel says about a process and the machine: CPU time, resident memory.
//! The parsers take text, so that tests need no process.

use std::fs;
use std::ops::Sub;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;

/// Ticks a second in `/proc`: a constant of the kernel's interface, whatever its own timer does.
const TICKS: f64 = 100.0;

/// CPU time in seconds, split as the kernel does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuTime {
    /// In the program's own code.
    pub user_s: f64,
    /// In the kernel for it.
    pub system_s: f64,
}

impl CpuTime {
    /// Both parts.
    pub fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }
}

/// Resident memory of a process in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub resident_kib: u64,
    /// The most since the process began or the mark was reset.
    pub peak_kib: u64,
}

/// CPU time of the whole machine in seconds, over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MachineTime {
    /// Anything but idling and waiting for disks.
    pub busy_s: f64,
    /// Taken away by the host of a virtual machine.
    pub stolen_s: f64,
}

/// CPU time a process has used in all its threads, ended ones included.
pub fn cpu_of(pid: u32) -> Result<CpuTime, BenchError> {
    let (path, text) = read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or(BenchError::Proc { path, what: "utime and stime" })
}

/// Resident memory of a process.
pub fn memory_of(pid: u32) -> Result<Memory, BenchError> {
    let (path, text) = read(format!("/proc/{pid}/status"))?;
    parse_status(&text).ok_or(BenchError::Proc { path, what: "VmRSS and VmHWM" })
}

/// CPU time of the machine.
pub fn machine_time() -> Result<MachineTime, BenchError> {
    let (path, text) = read("/proc/stat".to_owned())?;
    parse_machine(&text).ok_or(BenchError::Proc { path, what: "line of all processors" })
}

/// The machine's processors, taken for equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// As its maker calls it.
    pub name: String,
    /// Hardware threads that are online.
    pub threads: usize,
}

/// The processor of this machine.
pub fn processor() -> Result<Processor, BenchError> {
    let (_, text) = read("/proc/cpuinfo".to_owned())?;
    Ok(parse_cpuinfo(&text))
}

/// Memory of the machine in GiB.
pub fn memory_gib() -> Result<f64, BenchError> {
    let (path, text) = read("/proc/meminfo".to_owned())?;
    let kib = kib_field(&text, "MemTotal:").ok_or(BenchError::Proc { path, what: "MemTotal" })?;
    Ok(kib as f64 / f64::from(1 << 20))
}

/// The kernel's release.
pub fn kernel() -> Result<String, BenchError> {
    read("/proc/sys/kernel/osrelease".to_owned()).map(|(_, text)| text.trim().to_owned())
}

/// Starts the peak of a process anew. Best effort: another user's process refuses, and its peak then counts
/// from its start.
pub fn reset_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn read(path: String) -> Result<(String, String), BenchError> {
    let text = fs::read_to_string(&path).map_err(BenchError::io(format!("reading {path}")))?;
    Ok((path, text))
}

/// The second field is the program's name in parentheses and may itself hold blanks and parentheses: fields are
/// counted from the last one that closes.
fn parse_stat(text: &str) -> Option<CpuTime> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user_s = seconds(fields.next()?)?;
    let system_s = seconds(fields.next()?)?;
    Some(CpuTime { user_s, system_s })
}

fn parse_status(text: &str) -> Option<Memory> {
    Some(Memory { resident_kib: kib_field(text, "VmRSS:")?, peak_kib: kib_field(text, "VmHWM:")? })
}

fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// `cpu user nice system idle iowait irq softirq steal guest ...`; guests are counted in user already.
fn parse_machine(text: &str) -> Option<MachineTime> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<f64> = line.split_ascii_whitespace().map_while(seconds).collect();
    let [user, nice, system, _idle, _wait, irq, softirq, stolen_s, ..] = fields.as_slice() else {
        return None;
    };
    Some(MachineTime { busy_s: user + nice + system + irq + softirq, stolen_s: *stolen_s })
}

fn parse_cpuinfo(text: &str) -> Processor {
    let names = || text.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = names().next().map_or("unknown", |(_, name)| name.trim());
    let threads = text.lines().filter(|line| line.starts_with("processor")).count();
    Processor { name: name.to_owned(), threads }
}

fn seconds(ticks: &str) -> Option<f64> {
    ticks.parse::<u64>().ok().map(|ticks| ticks as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_program_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 250 75 0 0 20 0 4 0 100";
        let used = Some(CpuTime { user_s: 2.5, system_s: 0.75 });
        let table = [
            ("plain", format!("42 (registry) {rest}"), used),
            ("blanks", format!("42 (a b c) {rest}"), used),
            ("parentheses", format!("42 (a) 1 (b)) {rest}"), used),
            ("cut short", "42 (registry) S 1 2 3".to_owned(), None),
            ("negative", "42 (r) S 1 2 3 4 5 6 7 8 9 10 -1 75".to_owned(), None),
            ("empty", String::new(), None),
        ];
        for (row, text, expected) in table {
            assert_eq!(parse_stat(&text), expected, "{row}");
        }
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status =
            "Name:\tregistry\nVmPeak:\t 900000 kB\nVmHWM:\t   24576 kB\nVmRSS:\t   21000 kB\nThreads:\t8\n";
        assert_eq!(parse_status(status), Some(Memory { resident_kib: 21000, peak_kib: 24576 }));
        assert_eq!(
            parse_status("VmHWM:\t24576 kB\n"),
            None,
            "a kernel thread or a dead process has no VmRSS"
        );
        assert_eq!(parse_status("VmHWM:\tx kB\nVmRSS:\t1 kB\n"), None);
    }

    #[test]
    fn machine_time_leaves_idling_and_waiting_out() {
        let text = "cpu  100 10 50 9000 700 5 15 30 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 1\n";
        assert_eq!(parse_machine(text), Some(MachineTime { busy_s: 1.8, stolen_s: 0.3 }));
        assert_eq!(parse_machine("cpu  100 10\n"), None);
        assert_eq!(parse_machine("intr 5\n"), None);
    }

    #[test]
    fn processor_without_a_name_is_unknown() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nprocessor\t: 1\nmodel name\t: Some CPU\n";
        let processor = |name: &str, threads| Processor { name: name.to_owned(), threads };
        assert_eq!(parse_cpuinfo(text), processor("Some CPU @ 2 GHz", 2));
        assert_eq!(parse_cpuinfo(""), processor("unknown", 0));
    }

    #[test]
    fn the_kernel_of_this_machine_can_be_read() {
        let own = std::process::id();
        assert!(cpu_of(own).is_ok());
        assert!(machine_time().is_ok_and(|time| time.busy_s > 0.0));
        let memory = memory_of(own).expect("this process runs");
        assert!(memory.peak_kib > 0 && memory.resident_kib > 0);
        assert!(memory_gib().is_ok_and(|memory| memory > 0.0));
        assert!(kernel().is_ok_and(|release| !release.is_empty()));
    }
}
