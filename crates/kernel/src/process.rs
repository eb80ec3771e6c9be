//! What a process is: its identity and its details (`proc_pid_stat(5)`, `proc_pid_status(5)`,
//! `proc_pid_cmdline(5)`, cgroups(7)).

pub mod cgroup;
pub(crate) mod command_line;
pub(crate) mod directory;
mod family;
pub mod stat;

use std::{fmt, fs, io, sync::Arc};

use hashbrown::HashMap;
use netglass_model::{Degradation, Process, Timestamp, text_from_bytes};

pub(crate) use self::directory::{directory, process_ids};
use crate::Error;

/// How many processes are remembered; a host with more pays for reading some of them again.
const CACHE_CAPACITY: usize = 65_536;

/// What tells one process from every other, and from itself after it became another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: u32,
    pub(crate) pgid: u32,
    /// In clock ticks since boot, as in `/proc/PID/stat`.
    pub(crate) start_ticks: u64,
    pub(crate) comm: Comm,
}

/// `task_struct.comm`: bytes up to the first NUL.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Comm([u8; 16]);

impl Comm {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut comm = [0; 16];
        // The 16th byte is always NUL in the kernel.
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        let length = text.len().min(15);
        comm[..length].copy_from_slice(&text[..length]);
        Self(comm)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&text_from_bytes(self.as_bytes()), f)
    }
}

/// Where the details of a process come from.
#[cfg(feature = "ebpf")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// From the process itself.
    Living,
    /// From who told of it: it has ended.
    Told,
}

/// Turns clock ticks since boot into moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BootClock {
    boot_seconds: i64,
    ticks_per_second: u64,
}

impl BootClock {
    /// Reads when the host was booted (`btime` in `proc_stat(5)`).
    pub(crate) fn read() -> Result<Self, Error> {
        let path = "/proc/stat";
        let text = fs::read_to_string(path).map_err(|source| Error::read(path, source))?;
        let boot_seconds = text
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
            .ok_or_else(|| Error::Format { path: path.into(), detail: "no btime".to_owned() })?;
        Ok(Self { boot_seconds, ticks_per_second: rustix::param::clock_ticks_per_second().max(1) })
    }

    pub(crate) fn moment(self, ticks: u64) -> Timestamp {
        let nanoseconds = i128::from(self.boot_seconds) * 1_000_000_000
            + i128::from(ticks) * 1_000_000_000 / i128::from(self.ticks_per_second);
        Timestamp::from_nanoseconds(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
    }

    /// The ticks of a time since boot, as the kernel rounds it for `/proc/PID/stat`.
    #[cfg(feature = "ebpf")]
    pub(crate) fn ticks(self, nanoseconds_since_boot: u64) -> u64 {
        nanoseconds_since_boot / (1_000_000_000 / self.ticks_per_second).max(1)
    }
}

/// The processes that hold sockets, with their details, each read once.
#[derive(Debug)]
pub(crate) struct ProcessCache {
    clock: BootClock,
    known: HashMap<ProcessIdentity, Arc<Process>, foldhash::quality::RandomState>,
    /// Whether the executable of some process could not be read for lack of privileges.
    pub(crate) denied: bool,
}

impl ProcessCache {
    pub(crate) fn new(clock: BootClock) -> Self {
        Self { clock, known: HashMap::default(), denied: false }
    }

    /// The process of `identity`. Of one that has ended only the identity is known.
    pub(crate) fn get(&mut self, identity: &ProcessIdentity) -> Arc<Process> {
        if let Some(process) = self.known.get(identity) {
            return Arc::clone(process);
        }
        if self.known.len() >= CACHE_CAPACITY {
            self.known.clear();
        }
        let process = self.bare(identity);
        let process = Arc::new(self.read(identity, &process).unwrap_or(process));
        self.known.insert(*identity, Arc::clone(&process));
        process
    }

    /// The process of which somebody else knows what `told` holds: that is what counts where it has
    /// ended, or runs under another name by now. The second value says whether it does.
    #[cfg(feature = "ebpf")]
    pub(crate) fn get_told(
        &mut self,
        identity: &ProcessIdentity,
        told: Process,
    ) -> (Arc<Process>, Found) {
        // What is left of a process that is not waited for yet has no arguments any more, nor the
        // stack by which its family is known.
        let is_whole = |process: &Process| {
            process.comm == told.comm
                && (process.command_line.is_some() || told.command_line.is_none())
        };
        match self.read(identity, &told) {
            Some(process) if is_whole(&process) => (Arc::new(process), Found::Living),
            _ => (Arc::new(told), Found::Told),
        }
    }

    /// What the identity alone tells of a process.
    pub(crate) fn bare(&self, identity: &ProcessIdentity) -> Process {
        Process {
            pid: identity.pid,
            start_time: self.clock.moment(identity.start_ticks),
            pgid: identity.pgid,
            ppid: 0,
            family: identity.pid,
            uid: None,
            gid: None,
            comm: text_from_bytes(identity.comm.as_bytes()),
            exe: None,
            cgroup: None,
            container: None,
            command_line: None,
        }
    }

    /// The details of a process of which `known` is known already; `None` where it has ended.
    fn read(&mut self, identity: &ProcessIdentity, known: &Process) -> Option<Process> {
        // Every file is reached through one open directory: it stays that of the same process, even
        // if the process ends and its id is given to another one meanwhile.
        let files = directory(identity.pid).ok()?;
        let stat = stat::parse(&files.read("stat").ok()?)?;
        if stat.start_ticks != identity.start_ticks {
            return None;
        }
        let mut process = known.clone();
        process.ppid = stat.ppid;
        let command_line = files.read("cmdline").ok();
        process.command_line = command_line.as_deref().and_then(|it| command_line::text(it, false));
        process.family = family::root(stat, command_line);
        if let Ok(status) = files.read("status") {
            (process.uid, process.gid) = stat::real_ids(&status);
        }
        match files.link("exe") {
            Ok(path) => process.exe = Some(text_from_bytes(&path)),
            Err(error) => self.denied |= error.kind() == io::ErrorKind::PermissionDenied,
        }
        if let Ok(text) = files.read("cgroup") {
            let cgroup = cgroup::parse(&text);
            process.cgroup = cgroup.path;
            process.container = cgroup.container;
        }
        Some(process)
    }
}

/// What is lost where [`ProcessCache::denied`] says so.
pub(crate) fn denied_executables() -> Degradation {
    Degradation {
        feature: "the executables of all processes".to_owned(),
        reason: "those of some processes may not be read".to_owned(),
        consequence: "they are known by name alone; it takes root, or CAP_SYS_PTRACE".to_owned(),
    }
}

/// What `/proc/PID/stat` tells of `pid` now.
pub(crate) fn identity(files: &directory::ProcessDirectory) -> io::Result<ProcessIdentity> {
    let stat = stat::parse(&files.read("stat")?).ok_or(io::ErrorKind::InvalidData)?;
    Ok(ProcessIdentity {
        pid: stat.pid,
        pgid: stat.pgid,
        start_ticks: stat.start_ticks,
        comm: Comm::new(&stat.comm),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_ends_at_its_nul() {
        assert_eq!(Comm::new(b"nginx\0rest").as_bytes(), b"nginx");
        assert_eq!(Comm::new(b"exactly15 bytes").as_bytes(), b"exactly15 bytes");
        assert_eq!(Comm::new(b"more than fifteen").as_bytes(), b"more than fifte");
    }

    #[test]
    fn our_own_process_is_known_in_full() {
        let clock = BootClock::read().unwrap();
        let files = directory(std::process::id()).unwrap();
        let process = ProcessCache::new(clock).get(&identity(&files).unwrap());
        assert_eq!(process.pid, std::process::id());
        assert_eq!(process.exe, std::env::current_exe().unwrap().to_str().map(str::to_owned));
        assert_eq!(process.uid, Some(rustix::process::getuid().as_raw()));
        assert_eq!(process.gid, Some(rustix::process::getgid().as_raw()));
        assert_eq!(
            Some(process.ppid),
            rustix::process::getppid().map(|pid| pid.as_raw_pid().cast_unsigned())
        );
        let arguments: Vec<String> = std::env::args().collect();
        assert_eq!(process.command_line, Some(arguments.join(" ")));
        let now = Timestamp::from(std::time::SystemTime::now());
        // btime is in whole seconds.
        assert!(process.start_time <= now.saturating_add(std::time::Duration::from_secs(1)));
    }

    #[test]
    fn of_a_process_that_ended_the_identity_is_kept() {
        let clock = BootClock::read().unwrap();
        let gone =
            ProcessIdentity { pid: u32::MAX, pgid: 7, start_ticks: 100, comm: Comm::new(b"gone") };
        let process = ProcessCache::new(clock).get(&gone);
        assert_eq!((process.pid, process.pgid, process.comm.as_str()), (u32::MAX, 7, "gone"));
        assert_eq!((process.uid, &process.exe, &process.command_line), (None, &None, &None));
    }

    #[cfg(feature = "ebpf")]
    #[test]
    fn of_a_process_that_ended_and_is_not_waited_for_what_was_told_is_kept() {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&child)), ended).unwrap();
        let identity = identity(&directory(child.id()).unwrap()).unwrap();
        let mut cache = ProcessCache::new(BootClock::read().unwrap());
        let command_line = Some("true --told".to_owned());
        let told = Process { family: 7, command_line, ..cache.bare(&identity) };
        let (process, found) = cache.get_told(&identity, told.clone());
        assert_eq!((&*process, found), (&told, Found::Told));
        child.wait().unwrap();
    }
}
