//! The details of processes whose calls are added up.

use std::sync::Arc;

use hashbrown::HashMap;
use netglass_model::{CallingProcess, Process};

use crate::{
    Error,
    process::{BootClock, Comm, ProcessCache, ProcessIdentity},
};

/// How many processes are remembered; a host with more pays for reading some of them again.
const CAPACITY: usize = 65_536;

/// Finds processes by what the kernel programs tell of them.
#[derive(Debug)]
pub struct Callers {
    clock: BootClock,
    cache: ProcessCache,
    known: HashMap<CallingProcess, Arc<Process>, foldhash::quality::RandomState>,
}

impl Callers {
    /// Nobody is known yet.
    pub fn new() -> Result<Self, Error> {
        let clock = BootClock::read()?;
        Ok(Self { clock, cache: ProcessCache::new(clock), known: HashMap::default() })
    }

    /// The process with all its details where it still runs; else what the calls told of it.
    pub fn find(&mut self, caller: &CallingProcess) -> Arc<Process> {
        if let Some(process) = self.known.get(caller) {
            return Arc::clone(process);
        }
        if self.known.len() >= CAPACITY {
            self.known.clear();
        }
        let since_boot = caller.started.map(|it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
        let identity = ProcessIdentity {
            pid: caller.pid,
            pgid: caller.pgid.unwrap_or(caller.pid),
            start_ticks: self.clock.ticks(since_boot.unwrap_or_default()),
            comm: Comm::new(caller.comm.as_bytes()),
        };
        let told =
            Process { ppid: caller.ppid, uid: Some(caller.uid), ..self.cache.bare(&identity) };
        let (process, _) = self.cache.get_told(&identity, told);
        self.known.insert(*caller, Arc::clone(&process));
        process
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netglass_model::CommandName;

    use super::*;

    #[test]
    fn of_a_process_that_ended_what_was_told_is_kept() {
        let caller = CallingProcess {
            pid: u32::MAX,
            ppid: 3,
            pgid: Some(7),
            uid: 33,
            started: Some(Duration::from_secs(5)),
            comm: CommandName::new(b"gone"),
            parent_comm: CommandName::default(),
        };
        let process = Callers::new().unwrap().find(&caller);
        assert_eq!((process.pid, process.ppid, process.pgid), (u32::MAX, 3, 7));
        assert_eq!((process.uid, process.comm.as_str()), (Some(33), "gone"));
    }
}
