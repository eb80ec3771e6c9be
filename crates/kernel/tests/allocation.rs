//! A scan allocates for the flows it ends up in, and not for each socket that it sees.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{TcpListener, TcpStream};

use netglass_kernel::{
    Collector, Limits, OwnerSource, ScanOptions, Scanner, Sightings, SocketSource,
};
use rustix::process::{Resource, getrlimit, setrlimit};

const FEW: usize = 20;
const MANY: usize = 400;

/// By how many allocations a scan of many connections may exceed one of few.
///
/// What grows with the number of sockets while that of flows stays the same is the table of their
/// owners and that of sockets told apart. Both double when they are full: from 2 × 20 to 2 × 400
/// sockets, that is at most ⌈log₂ 20⌉ + 1 = 6 allocations each. Three more such tables are allowed
/// for. One allocation for each socket would be 760, and one for each connection 380.
const ALLOWANCE: u64 = 5 * 6;

/// Connections with both ends in this process, all of one flow in each direction.
struct Connections {
    listener: TcpListener,
    open: Vec<(TcpStream, TcpStream)>,
}

impl Connections {
    fn new() -> Self {
        // Both ends of each are open files, and the usual limit is 1024.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), open: Vec::new() }
    }

    fn open_until(&mut self, count: usize) {
        while self.open.len() < count {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            self.open.push((client, self.listener.accept().unwrap().0));
        }
    }
}

struct Scans {
    scanner: Scanner,
    collector: Collector,
}

impl Scans {
    fn new(owners: OwnerSource, sightings: Sightings) -> Self {
        let options =
            ScanOptions { sockets: SocketSource::Netlink, owners, ..ScanOptions::default() };
        Self {
            scanner: Scanner::new(options, sightings, Limits::default()).unwrap(),
            collector: Collector::new(Limits::default()),
        }
    }

    /// Scans once; how many allocations that took, and how many sockets it saw.
    ///
    /// The caller's own namespace is scanned on the calling thread, and only the allocations of
    /// that one are counted.
    fn scan(&mut self) -> (u64, u64) {
        let seen_before = self.collector.ledger().seen;
        let Self { scanner, collector } = self;
        let allocations = allocation_counter::measure(|| scanner.scan(collector).unwrap());
        (allocations.count_total, collector.ledger().seen - seen_before)
    }
}

/// By how many allocations a scan of many connections exceeded one of few, and the next scan of
/// many, for which the tables had room.
fn more_for_many(owners: OwnerSource, sightings: Sightings) -> [u64; 2] {
    let mut scans = Scans::new(owners, sightings);
    let mut connections = Connections::new();
    connections.open_until(FEW);
    // The first scan reads the details of each process and enters the flows.
    scans.scan();
    let (of_few, few) = scans.scan();
    connections.open_until(MANY);
    let (of_many, many) = scans.scan();
    let (of_many_again, _) = scans.scan();

    // Sockets of others may end meanwhile.
    let more = u64::try_from(2 * (MANY - FEW)).unwrap();
    assert!(many > few + more / 2, "{few} and then {many} sockets");
    [of_many, of_many_again].map(|allocations| allocations.saturating_sub(of_few))
}

/// One test for all, so that none sees the sockets of another come and go.
#[test]
fn a_scan_makes_no_allocation_per_socket() {
    let mut owner_sources = vec![OwnerSource::Procfs];
    if cfg!(feature = "ebpf") && netglass_testing::requirement::ebpf().missing().is_none() {
        owner_sources.push(OwnerSource::TaskFile);
    }
    for owners in owner_sources {
        for sightings in [Sightings::One, Sightings::Repeated] {
            // Processes that others start between two scans cost allocations too, so it has to
            // come out once; with an allocation for each socket it never would.
            let tries: Vec<_> = (0..5).map(|_| more_for_many(owners, sightings)).collect();
            let is_within = |more: &[u64; 2]| more.iter().all(|&more| more <= ALLOWANCE);
            assert!(
                tries.iter().any(is_within),
                "more for {MANY} connections than for {FEW}, {owners:?}, {sightings:?}: {tries:?}"
            );
        }
    }
}
