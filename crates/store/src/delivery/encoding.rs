//! A flush as the bytes of a record.

use std::{collections::HashMap, io, sync::Arc};

use netglass_model::{Flush, Process};
use serde::{Deserialize, Serialize};

/// The version of what [`encode`] writes. It is raised whenever anything that a flush holds
/// changes; what older versions wrote is read on.
pub(super) const VERSION: u16 = 1;

/// Version 1, in the format of postcard. A process stands there once, however many flows it has.
#[derive(Serialize, Deserialize)]
struct Encoded {
    processes: Vec<Arc<Process>>,
    /// For each flow, then for each listener, the place of its process among these.
    holders: Vec<Option<u32>>,
    /// The flush, but for these.
    flush: Flush,
}

/// Processes that stand in some bytes once, however many share them.
#[derive(Default)]
pub(crate) struct Interner {
    processes: Vec<Arc<Process>>,
    places: HashMap<*const Process, u32>,
}

impl Interner {
    /// The place of a process among them.
    pub(crate) fn place(&mut self, process: &Arc<Process>) -> u32 {
        // The address stays its own: it is kept.
        *self.places.entry(Arc::as_ptr(process)).or_insert_with(|| {
            self.processes.push(Arc::clone(process));
            // More than this, no memory holds.
            u32::try_from(self.processes.len() - 1).unwrap_or(u32::MAX)
        })
    }

    pub(crate) fn into_processes(self) -> Vec<Arc<Process>> {
        self.processes
    }
}

/// The process at a place.
pub(crate) fn shared_process(processes: &[Arc<Process>], place: u32) -> io::Result<Arc<Process>> {
    let process = usize::try_from(place).ok().and_then(|place| processes.get(place));
    process.map(Arc::clone).ok_or_else(|| io::Error::other("a process is missing"))
}

/// The bytes of a flush.
pub(super) fn encode(mut flush: Flush) -> io::Result<Vec<u8>> {
    let mut interner = Interner::default();
    let place =
        |holder: &mut Option<Arc<Process>>| holder.take().map(|process| interner.place(&process));
    let holders = holders(&mut flush).map(place).collect();
    let processes = interner.into_processes();
    postcard::to_stdvec(&Encoded { processes, holders, flush }).map_err(io::Error::other)
}

/// The flush whose bytes these are.
pub(super) fn decode(version: u16, bytes: &[u8]) -> io::Result<Flush> {
    if version != VERSION {
        return Err(io::Error::other(format!("version {version} of its records is not known")));
    }
    let Encoded { processes, holders: places, mut flush } =
        postcard::from_bytes(bytes).map_err(io::Error::other)?;
    let mut places = places.into_iter();
    for holder in holders(&mut flush) {
        let place = places.next().ok_or_else(|| io::Error::other("a holder is missing"))?;
        *holder = place.map(|place| shared_process(&processes, place)).transpose()?;
    }
    Ok(flush)
}

/// Where the processes of flows, then those of listeners, stand.
fn holders(flush: &mut Flush) -> impl Iterator<Item = &mut Option<Arc<Process>>> {
    let flows = flush.observations.flows.iter_mut().map(|flow| &mut flow.process);
    let listeners = flush.observations.listeners.iter_mut().map(|listener| &mut listener.process);
    flows.chain(listeners)
}

#[cfg(test)]
mod tests {
    use netglass_model::{
        Attribution, Direction, Endpoint, FlowCounters, Host, HostAddress, HostFlow, HostId,
        Listener, NamespaceInode, NetworkNamespace, Observations, Protocol, Route, Skip, Timestamp,
        Translation,
    };
    use proptest::prelude::*;

    use super::*;

    /// A flush in which there is something of everything.
    fn flush() -> Flush {
        let namespace = NamespaceInode(4_026_531_840);
        let at = Timestamp::from_nanoseconds;
        let address = |text: &str| text.parse().unwrap();
        let process = Arc::new(Process {
            pid: 4656,
            start_time: at(1_000),
            pgid: 4656,
            ppid: 1,
            family: 4656,
            uid: Some(33),
            gid: None,
            comm: "nginx".to_owned(),
            exe: Some("/usr/sbin/nginx".to_owned()),
            cgroup: None,
            container: None,
            command_line: Some("nginx -g daemon off;".to_owned()),
        });
        let flow = |port, process| HostFlow {
            namespace,
            protocol: Protocol::Tcp,
            direction: Direction::Passive,
            local: Endpoint::numbered(address("10.0.0.1"), port),
            peer: Endpoint::many(address("fe80::1")),
            process,
            attribution: Attribution::Socket,
            counters: FlowCounters {
                connections: 3,
                bytes_sent: 1 << 40,
                ..FlowCounters::default()
            },
            first_seen: at(-5),
            last_seen: at(5),
        };
        let route = |port| Route {
            client: address("10.0.0.2"),
            server: Endpoint::numbered(address("10.0.0.1"), port),
        };
        let observations = Observations {
            host: Host {
                id: HostId { machine_id: "0".repeat(32), hostname: "host".to_owned() },
                namespace,
                addresses: vec![HostAddress { namespace, address: address("10.0.0.1") }],
            },
            namespaces: vec![NetworkNamespace { name: Some("blue".to_owned()), inode: namespace }],
            flows: vec![
                flow(80, Some(Arc::clone(&process))),
                flow(81, None),
                flow(82, Some(Arc::clone(&process))),
            ],
            listeners: vec![Listener {
                namespace,
                protocol: Protocol::Udp,
                local: Endpoint::numbered(address("::"), 53),
                process: Some(process),
                first_seen: at(1),
                last_seen: at(2),
            }],
            translations: vec![Translation {
                namespace,
                protocol: Protocol::Tcp,
                original: route(80),
                translated: route(8080),
                connections: 2,
                opened: 1,
                first_seen: at(3),
                last_seen: at(4),
            }],
        };
        let mut flush = netglass_testing::flush(&observations);
        flush.probe.id.0 = "0190b4e0-0000-7000-8000-000000000000".parse().unwrap();
        flush.ledger.pend(9);
        flush.ledger.skip(Skip::SpoolFull, 2);
        flush
    }

    #[test]
    fn a_flush_is_read_as_it_was_written_and_its_processes_are_shared() {
        let decoded = decode(VERSION, &encode(flush()).unwrap()).unwrap();
        assert_eq!(decoded, flush());
        let [first, _, third] = &decoded.observations.flows[..] else { panic!() };
        assert!(Arc::ptr_eq(first.process.as_ref().unwrap(), third.process.as_ref().unwrap()));
    }

    #[test]
    fn a_process_takes_its_room_once() {
        let length = |flows: usize| {
            let mut flush = flush();
            let flow = flush.observations.flows[0].clone();
            flush.observations.flows = vec![flow; flows];
            encode(flush).unwrap().len()
        };
        assert!(length(101) - length(1) < 100 * 64, "{}", length(101) - length(1));
    }

    /// Whoever changes what a flush holds raises the version, and has this one read on.
    #[test]
    fn version_1_is_what_it_was() {
        let bytes = encode(flush()).unwrap();
        let digest = crc32fast::hash(&bytes);
        assert_eq!((VERSION, bytes.len(), digest), (1, 443, 3_329_030_455));
    }

    #[test]
    fn another_version_is_refused() {
        let error = decode(VERSION + 1, &encode(flush()).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "version 2 of its records is not known");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            at in any::<prop::sample::Index>(),
            with in prop::collection::vec(any::<u8>(), 0..16),
        ) {
            let mut bytes = encode(flush()).unwrap();
            let start = at.index(bytes.len());
            let end = bytes.len().min(start + with.len());
            bytes.splice(start..end, with);
            if let Ok(flush) = decode(VERSION, &bytes) {
                prop_assert!(decode(VERSION, &encode(flush).unwrap()).is_ok());
            }
        }
    }
}
