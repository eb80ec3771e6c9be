//! The processes that the streaming kernel programs name by numbers.

use std::{num::NonZeroU32, sync::Arc};

use hashbrown::HashMap;
use netglass_model::{Process, text_from_bytes};

use super::record::ProcessRecord;
use crate::process::{BootClock, Found, ProcessCache, ProcessIdentity, cgroup, command_line};

/// How many processes are remembered.
const CAPACITY: usize = 65_536;

#[derive(Debug)]
struct Named {
    process: Arc<Process>,
    /// The collection in which it was last asked for.
    used_in: u64,
}

/// The processes that the streaming kernel programs name by numbers.
#[derive(Debug)]
pub(crate) struct Processes {
    clock: BootClock,
    cache: ProcessCache,
    by_number: HashMap<NonZeroU32, Named, foldhash::fast::RandomState>,
    /// How many of them the kernel programs did not tell of.
    found: u32,
    capacity: usize,
    collection: u64,
}

impl Processes {
    pub(crate) fn new(clock: BootClock) -> Self {
        Self {
            clock,
            cache: ProcessCache::new(clock),
            by_number: HashMap::default(),
            found: 0,
            capacity: CAPACITY,
            collection: 0,
        }
    }

    /// Whether the executable of some process could not be read for lack of privileges.
    pub(crate) fn denied(&self) -> bool {
        self.cache.denied
    }

    pub(crate) fn begin_collection(&mut self) {
        self.collection += 1;
    }

    /// Remembers a process. What its directory under `/proc` tells is preferred: it is what a scan
    /// of sockets would tell. Returns whether it had ended.
    pub(crate) fn add(&mut self, record: &ProcessRecord<'_>) -> Found {
        let identity = ProcessIdentity {
            pid: record.pid,
            pgid: record.pgid,
            start_ticks: self.clock.ticks(record.start_boottime),
            comm: record.comm,
        };
        let told = self.told(&identity, record);
        let (process, found) = self.cache.get_told(&identity, told);
        self.remember(record.number, process);
        found
    }

    /// Remembers a process that the kernel programs are to know of. They count up from 1, so its
    /// number is one of the last.
    pub(super) fn find(&mut self, identity: &ProcessIdentity) -> NonZeroU32 {
        let number = NonZeroU32::MAX.get().wrapping_sub(self.found);
        let number = NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX);
        self.found = self.found.wrapping_add(1);
        let process = self.cache.get(identity);
        self.remember(number, process);
        number
    }

    fn remember(&mut self, number: NonZeroU32, process: Arc<Process>) {
        self.make_room();
        self.by_number.insert(number, Named { process, used_in: self.collection });
    }

    pub(crate) fn get(&mut self, number: NonZeroU32) -> Option<&Arc<Process>> {
        let named = self.by_number.get_mut(&number)?;
        named.used_in = self.collection;
        Some(&named.process)
    }

    fn told(&self, identity: &ProcessIdentity, record: &ProcessRecord<'_>) -> Process {
        let cgroup =
            record.cgroup.as_ref().map(|path| cgroup::parse(&[b"0::", &path[..]].concat()));
        let cgroup = cgroup.unwrap_or_default();
        Process {
            ppid: record.ppid,
            family: record.family,
            uid: Some(record.uid),
            gid: Some(record.gid),
            exe: record.executable.as_deref().map(text_from_bytes),
            cgroup: cgroup.path,
            container: cgroup.container,
            command_line: command_line::text(record.arguments, record.arguments_cut),
            ..self.cache.bare(identity)
        }
    }

    /// Processes that live are asked for in each collection in which they do something; those that
    /// were not for the longest time make way, half of all at once.
    fn make_room(&mut self) {
        if self.by_number.len() < self.capacity {
            return;
        }
        let mut uses: Vec<u64> = self.by_number.values().map(|named| named.used_in).collect();
        let middle = uses.len() / 2;
        let (_, &mut median, _) = uses.select_nth_unstable(middle);
        let current = self.collection;
        self.by_number.retain(|_, named| named.used_in > median || named.used_in == current);
        if self.by_number.len() >= self.capacity {
            self.by_number.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Comm;

    fn record(number: u32) -> ProcessRecord<'static> {
        ProcessRecord {
            number: NonZeroU32::new(number).unwrap(),
            pid: u32::MAX,
            pgid: 7,
            ppid: 6,
            family: 5,
            uid: 33,
            gid: 34,
            start_boottime: 1_000_000_000,
            comm: Comm::new(b"gone"),
            executable: Some(b"/usr/bin/gone".to_vec()),
            cgroup: Some(b"/system.slice/gone.service".to_vec()),
            arguments: b"gone\0--now\0",
            arguments_cut: false,
        }
    }

    fn processes(capacity: usize) -> Processes {
        Processes { capacity, ..Processes::new(BootClock::read().unwrap()) }
    }

    #[test]
    fn of_a_process_that_ended_what_was_told_is_kept() {
        let mut processes = processes(10);
        assert_eq!(processes.add(&record(1)), Found::Told);
        let process = processes.get(NonZeroU32::MIN).unwrap();
        assert_eq!((process.pgid, process.ppid, process.family), (7, 6, 5));
        assert_eq!((process.uid, process.gid), (Some(33), Some(34)));
        assert_eq!(process.exe.as_deref(), Some("/usr/bin/gone"));
        assert_eq!(process.cgroup.as_deref(), Some("/system.slice/gone.service"));
        assert_eq!(process.command_line.as_deref(), Some("gone --now"));
    }

    #[test]
    fn those_that_are_found_have_numbers_of_their_own() {
        let mut processes = processes(10);
        let files = crate::process::directory(std::process::id()).unwrap();
        let own = crate::process::identity(&files).unwrap();
        let gone = ProcessIdentity { pid: u32::MAX, ..own };
        processes.add(&record(1));
        let numbers = [&own, &gone].map(|identity| processes.find(identity));
        assert!(numbers[0] != numbers[1] && numbers.iter().all(|number| number.get() > 1 << 31));
        let pids = numbers.map(|number| processes.get(number).unwrap().pid);
        assert_eq!(pids, [std::process::id(), u32::MAX]);
    }

    #[test]
    fn those_that_nobody_asked_for_make_way() {
        let mut processes = processes(10);
        for number in 1..=10 {
            processes.add(&record(number));
        }
        processes.begin_collection();
        for number in 1..=3 {
            processes.get(NonZeroU32::new(number).unwrap()).unwrap();
        }
        processes.add(&record(11));
        let known: Vec<u32> =
            (1..=11).filter(|&it| processes.get(NonZeroU32::new(it).unwrap()).is_some()).collect();
        assert_eq!(known, [1, 2, 3, 11]);
    }
}
