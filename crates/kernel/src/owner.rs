//! Which process holds which socket.

pub(crate) mod procfs;
#[cfg(feature = "ebpf")]
mod task_file;

use hashbrown::{HashMap, hash_map::Entry};
use netglass_model::{Degradation, NamespaceInode};

#[cfg(feature = "ebpf")]
use crate::program::Obstacle;
use crate::{
    Error,
    process::{BootClock, ProcessIdentity},
};

/// The process that holds a socket: an index into [`Owners::processes`].
pub(crate) type OwnerIndex = u32;

/// What is known of the holder of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) owner: OwnerIndex,
    /// Whether the program chose the port itself, where that is known.
    pub(crate) port_bound: Option<bool>,
}

/// The owner of every socket, by the inode of its file.
#[derive(Debug)]
pub(crate) struct Owners {
    processes: Vec<ProcessIdentity>,
    by_inode: HashMap<u32, Held, foldhash::fast::RandomState>,
    /// The process group of the init process, if that holds sockets.
    init_group: Option<u32>,
    capacity: usize,
    /// Sockets for whose owner there was no room.
    pub(crate) dropped: u64,
    /// Processes whose files could not be read for lack of privileges.
    pub(crate) denied: u64,
    /// Whether a socket without an owner here has none: it is the kernel's own.
    pub(crate) complete: bool,
}

impl Owners {
    pub(crate) fn get(&self, inode: u32) -> Option<Held> {
        self.by_inode.get(&inode).copied()
    }

    pub(crate) fn processes(&self) -> &[ProcessIdentity] {
        &self.processes
    }

    /// Room for the owners of `capacity` sockets.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            processes: Vec::new(),
            by_inode: HashMap::default(),
            init_group: None,
            capacity,
            dropped: 0,
            denied: 0,
            complete: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.processes.clear();
        self.by_inode.clear();
        self.init_group = None;
        self.dropped = 0;
        self.denied = 0;
        self.complete = false;
    }

    fn add_process(&mut self, process: ProcessIdentity) -> OwnerIndex {
        // Processes come in the order of their ids, so this one comes first.
        if process.pid == 1 {
            // A group of another pid namespace has no number here, and every such group the same.
            self.init_group = Some(process.pgid).filter(|&pgid| pgid != 0);
        }
        self.processes.push(process);
        OwnerIndex::try_from(self.processes.len() - 1).unwrap_or(OwnerIndex::MAX)
    }

    fn hold(&mut self, inode: u32, held: Held) {
        let is_full = self.by_inode.len() >= self.capacity;
        let rank = |owner| seniority(&self.processes, self.init_group, owner);
        match self.by_inode.entry(inode) {
            Entry::Vacant(_) if is_full => self.dropped += 1,
            Entry::Vacant(entry) => {
                entry.insert(held);
            }
            Entry::Occupied(mut entry) => {
                if rank(held.owner) < rank(entry.get().owner) {
                    entry.insert(held);
                }
            }
        }
    }
}

/// Of several holders the oldest owns the socket: it made it, and the others inherited it. But the
/// init process's group, where another one holds the socket too, only keeps it for the service that
/// it started (socket activation).
fn seniority(
    processes: &[ProcessIdentity],
    init_group: Option<u32>,
    owner: OwnerIndex,
) -> (bool, u64, u32) {
    match processes.get(owner as usize) {
        Some(process) => {
            let is_init = process.pid == 1 || Some(process.pgid) == init_group;
            (is_init, process.start_ticks, process.pid)
        }
        None => (true, u64::MAX, u32::MAX),
    }
}

/// How owners are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OwnerSource {
    /// The best way that works.
    #[default]
    Auto,
    /// The kernel's iterator over open files alone.
    TaskFile,
    /// `/proc/*/fd` alone.
    Procfs,
}

/// Finds the owners of sockets.
#[derive(Debug)]
pub(crate) struct OwnerReader {
    source: OwnerSource,
    clock: BootClock,
    #[cfg(feature = "ebpf")]
    iterator: Option<task_file::TaskFileIterator>,
}

impl OwnerReader {
    /// Gets the best way ready that works. What did not work is told to `degraded`.
    pub(crate) fn new(
        source: OwnerSource,
        clock: BootClock,
        degraded: &mut dyn FnMut(Degradation),
    ) -> Result<Self, Error> {
        #[cfg(feature = "ebpf")]
        {
            let iterator = match source {
                OwnerSource::Procfs => None,
                OwnerSource::TaskFile => Some(task_file::TaskFileIterator::load()?),
                OwnerSource::Auto => match task_file::TaskFileIterator::load() {
                    Ok(iterator) => Some(iterator),
                    Err(error) => {
                        degraded(degradation(&error.to_string()));
                        None
                    }
                },
            };
            Ok(Self { source, clock, iterator })
        }
        #[cfg(not(feature = "ebpf"))]
        {
            let reason = "this program was built without kernel programs";
            match source {
                OwnerSource::Procfs => {}
                OwnerSource::Auto => degraded(degradation(reason)),
                OwnerSource::TaskFile => {
                    return Err(Error::Program {
                        doing: "load",
                        program: "socket_owner",
                        reason: reason.to_owned(),
                    });
                }
            }
            Ok(Self { source, clock })
        }
    }

    /// Whether the calling thread may read owners in the way that is ready.
    #[cfg_attr(
        not(feature = "ebpf"),
        expect(clippy::unused_self, reason = "nothing can be missing")
    )]
    pub(crate) fn is_usable(&self) -> bool {
        #[cfg(feature = "ebpf")]
        if let Some(iterator) = &self.iterator {
            return iterator.is_usable();
        }
        true
    }

    /// Finds the owners of all sockets of `namespace`, or of all namespaces. `owners` is filled
    /// anew.
    pub(crate) fn read(
        &mut self,
        namespace: Option<NamespaceInode>,
        owners: &mut Owners,
        degraded: &mut dyn FnMut(Degradation),
    ) -> Result<(), Error> {
        owners.clear();
        #[cfg(feature = "ebpf")]
        if let Some(iterator) = &mut self.iterator {
            let Err(error) = iterator.read(self.clock, namespace, owners) else {
                owners.complete = owners.dropped == 0;
                return Ok(());
            };
            if self.source == OwnerSource::TaskFile {
                return Err(error);
            }
            degraded(degradation(&error.to_string()));
            self.iterator = None;
            owners.clear();
        }
        let _ = (self.source, namespace, self.clock, degraded);
        procfs::read(owners)
    }
}

/// Tries the kernel's iterator over open files: loads it and reads it once.
#[cfg(feature = "ebpf")]
pub(crate) fn try_iterator() -> Result<(), Obstacle> {
    let mut iterator = task_file::TaskFileIterator::try_load()?;
    let read = BootClock::read().and_then(|clock| iterator.read(clock, None, &mut Owners::new(0)));
    read.map_err(|error| Obstacle::of_kernel(error.to_string()))
}

fn degradation(reason: &str) -> Degradation {
    Degradation {
        feature: "socket owners by the kernel's iterator over open files".to_owned(),
        reason: reason.to_owned(),
        consequence: "read from /proc/*/fd instead: the same answer, at a higher cost".to_owned(),
    }
}

/// What is lost where [`Owners::denied`] counts processes.
pub(crate) fn denied_files() -> Degradation {
    Degradation {
        feature: "the owners of all sockets".to_owned(),
        reason: "the open files of some processes may not be read".to_owned(),
        consequence: "their sockets are counted without process; it takes root, or CAP_SYS_PTRACE \
                      and CAP_DAC_READ_SEARCH"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Comm;

    fn process(pid: u32, pgid: u32, start_ticks: u64) -> ProcessIdentity {
        ProcessIdentity { pid, pgid, start_ticks, comm: Comm::new(b"x") }
    }

    fn owner_of(holders: &[ProcessIdentity]) -> u32 {
        let mut owners = Owners::new(100);
        for &holder in holders {
            let owner = owners.add_process(holder);
            owners.hold(7, Held { owner, port_bound: None });
        }
        owners.processes[owners.get(7).unwrap().owner as usize].pid
    }

    #[test]
    fn the_oldest_of_a_group_owns_its_socket() {
        let (master, worker) = (process(10, 10, 100), process(11, 10, 101));
        assert_eq!(owner_of(&[master, worker]), 10);
        assert_eq!(owner_of(&[worker, master]), 10);
        assert_eq!(owner_of(&[process(9, 9, 100), process(8, 9, 100)]), 8, "the smaller id");
    }

    /// The owner of each TCP and UDP socket of our namespace.
    fn owners_by(source: OwnerSource) -> std::collections::BTreeMap<u32, ProcessIdentity> {
        use crate::socket::{Diag, InetFamily, StateSet};

        let mut reader =
            OwnerReader::new(source, BootClock::read().unwrap(), &mut |it| panic!("{it}")).unwrap();
        let mut owners = Owners::new(1 << 20);
        reader.read(None, &mut owners, &mut |it| panic!("{it}")).unwrap();
        let mut found = std::collections::BTreeMap::new();
        for protocol in netglass_model::Protocol::ALL {
            for family in InetFamily::BOTH {
                for states in [StateSet::LISTENING, StateSet::UNCONNECTED, StateSet::CONNECTED] {
                    let list = |socket: Option<&crate::socket::Socket>| {
                        let inode = socket.unwrap().inode;
                        if let Some(held) = owners.get(inode) {
                            found.insert(inode, owners.processes[held.owner as usize]);
                        }
                    };
                    Diag::open().unwrap().list(protocol, family, states, list).unwrap();
                }
            }
        }
        found
    }

    #[test]
    #[cfg(feature = "ebpf")]
    fn both_ways_find_the_same_owners() {
        netglass_testing::require!(ebpf);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _server = listener.accept().unwrap();
        let _datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();

        let by_iterator = owners_by(OwnerSource::TaskFile);
        let by_procfs = owners_by(OwnerSource::Procfs);
        let ours = |owners: &std::collections::BTreeMap<u32, ProcessIdentity>| {
            owners.iter().filter(|(_, owner)| owner.pid == std::process::id()).count()
        };
        // Other tests of this process may hold sockets too, and open and close them meanwhile.
        assert!(ours(&by_iterator) >= 4, "{by_iterator:?}");
        let mut compared = 0;
        for (inode, owner) in &by_iterator {
            if let Some(other) = by_procfs.get(inode) {
                assert_eq!(owner, other);
                compared += 1;
            }
        }
        assert!(compared >= 4);
        drop(client);
    }

    #[test]
    fn init_owns_only_what_its_own_group_alone_holds() {
        let (init, service) = (process(1, 1, 1), process(500, 500, 900));
        assert_eq!(owner_of(&[init, service]), 500);
        assert_eq!(owner_of(&[init]), 1);
        // In a container the server itself is often the init process.
        let worker = process(7, 1, 200);
        assert_eq!(owner_of(&[init, worker]), 1);
        assert_eq!(owner_of(&[init, worker, service]), 500);
    }

    #[test]
    fn there_is_a_bound() {
        let mut owners = Owners::new(1);
        let owner = owners.add_process(process(2, 2, 1));
        owners.hold(7, Held { owner, port_bound: None });
        owners.hold(8, Held { owner, port_bound: None });
        owners.hold(7, Held { owner, port_bound: None });
        assert_eq!((owners.get(8), owners.dropped), (None, 1));
    }
}
