//! What the server, this program and the rest of the machine used while a case was measured.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::procfs::{self, CpuTime, MachineTime};

/// What the server used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerUse {
    /// CPU time in all its threads.
    pub cpu: CpuTime,
    /// Resident MiB before the load.
    pub idle_mib: f64,
    /// The most resident MiB under the load.
    pub peak_mib: f64,
}

/// What was used between [`Watch::start`] and [`Watch::stop`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// Seconds that passed.
    pub wall_s: f64,
    /// Of the server; `None` where its process is not known.
    pub server: Option<ServerUse>,
    /// CPU seconds of this program.
    pub client_cpu_s: f64,
    /// CPU seconds of everything else on this machine: a run with much of it is disturbed. `None` where the
    /// server's own share is not known.
    pub other_cpu_s: Option<f64>,
    /// CPU seconds taken by the host of this virtual machine.
    pub stolen_s: f64,
}

/// A measurement under way.
pub struct Watch {
    pid: Option<u32>,
    server: CpuTime,
    idle_kib: u64,
    client: CpuTime,
    machine: MachineTime,
    begun: Instant,
}

impl Watch {
    /// Begins; resets the server's memory peak if its process is known.
    pub fn start(pid: Option<u32>) -> Result<Self, BenchError> {
        let (mut server, mut idle_kib) = (CpuTime::default(), 0);
        if let Some(pid) = pid {
            procfs::reset_peak(pid);
            idle_kib = procfs::memory_of(pid)?.resident_kib;
            server = procfs::cpu_of(pid)?;
        }
        let client = procfs::cpu_of(std::process::id())?;
        Ok(Self { pid, server, idle_kib, client, machine: procfs::machine_time()?, begun: Instant::now() })
    }

    /// Ends and says what was used.
    pub fn stop(self) -> Result<Used, BenchError> {
        let wall_s = self.begun.elapsed().as_secs_f64();
        let machine = procfs::machine_time()?;
        let client_cpu_s = (procfs::cpu_of(std::process::id())? - self.client).total_s();
        let server = self.pid.map(|pid| self.server_use(pid)).transpose()?;
        let busy_s = machine.busy_s - self.machine.busy_s;
        // Ticks are counted apart for processes and processors: a little less than nothing is nothing.
        let other_cpu_s = server.map(|server| (busy_s - client_cpu_s - server.cpu.total_s()).max(0.0));
        let stolen_s = machine.stolen_s - self.machine.stolen_s;
        Ok(Used { wall_s, server, client_cpu_s, other_cpu_s, stolen_s })
    }

    fn server_use(&self, pid: u32) -> Result<ServerUse, BenchError> {
        let memory = procfs::memory_of(pid)?;
        let cpu = procfs::cpu_of(pid)? - self.server;
        // The kernel keeps both figures a thread and adds them up late: the peak may come out the smaller one.
        let peak_kib = memory.peak_kib.max(self.idle_kib);
        Ok(ServerUse { cpu, idle_mib: mib(self.idle_kib), peak_mib: mib(peak_kib) })
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_process_is_accounted_and_an_unknown_one_left_out() {
        let watched =
            Watch::start(Some(std::process::id())).and_then(Watch::stop).expect("this process runs");
        assert!(watched.server.is_some_and(|server| server.peak_mib > 0.0));
        let unknown = Watch::start(None).and_then(Watch::stop).expect("nothing but this process is read");
        assert_eq!((unknown.server, unknown.other_cpu_s), (None, None));
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(matches!(Watch::start(Some(u32::MAX)), Err(BenchError::Io { .. })));
    }
}
