//! Finding the sockets that are older than the streaming kernel programs.

use std::{fs, os::unix::fs::MetadataExt as _};

use libbpf_rs::Link;
use netglass_model::{Degradation, NamespaceInode};

use super::{
    hook::Feature,
    programs::{BUFFER_LENGTH, read_iterator},
};
use crate::{
    Error,
    namespace::{self, Namespaces},
};

/// `enum phase` of `bpf/stream/records.h`: who listens is found before who is connected, whose
/// direction that tells.
const PHASES: [u32; 2] = [1, 2];
const FOUND_ALL: u32 = 3;
const FOUND_SOME: u32 = 4;

/// `PROC_PID_INIT_INO` (`linux/proc_ns.h`), which never changes: the host's own pid namespace.
const HOST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Why processes are missing where ours is another one.
pub(super) const SECLUDED: &str = "this is not the host's pid namespace";

/// The iterators that find the sockets that are there already.
#[derive(Default)]
pub(super) struct Existing {
    /// Over the open files of all processes that can be seen: what is found has a process.
    pub(super) in_files: Vec<Link>,
    /// Over all sockets of the network namespace in which they are read.
    pub(super) in_namespaces: Vec<Link>,
}

impl Existing {
    /// Finds them in `wanted`, the namespace of the calling thread, or in all. In the end
    /// `set_phase` is told whether these are all.
    pub(super) fn find(
        &self,
        wanted: Option<NamespaceInode>,
        mut set_phase: impl FnMut(u32) -> Result<(), Error>,
        degraded: &mut dyn FnMut(Degradation),
    ) -> Result<(), Error> {
        let mut is_all = !self.in_namespaces.is_empty();
        let namespaces = match wanted {
            None if is_all => Namespaces::find()?,
            _ => Namespaces::default(),
        };
        if namespaces.denied > 0 {
            is_all = false;
            degraded(degradation("the namespaces of some processes may not be read".to_owned()));
        }
        let pid_namespace = fs::metadata("/proc/self/ns/pid").map(|it| it.ino());
        if pid_namespace.is_ok_and(|inode| inode != HOST_PID_NAMESPACE) {
            is_all &= wanted.is_some();
            degraded(secluded());
        }
        let own = namespace::own()?;
        for phase in PHASES {
            set_phase(phase)?;
            read_all(&self.in_files)?;
            // After those that know the processes.
            read_all(&self.in_namespaces)?;
            for namespace in namespaces.iter().filter(|it| it.identity.inode != own) {
                match namespace.run(|| read_all(&self.in_namespaces)) {
                    Ok(done) => done.unwrap_or(Ok(()))?,
                    Err(error) => {
                        is_all = false;
                        degraded(degradation(error.to_string()));
                    }
                }
            }
        }
        set_phase(if is_all { FOUND_ALL } else { FOUND_SOME })
    }
}

/// Runs iterators that write nothing.
fn read_all(iterators: &[Link]) -> Result<(), Error> {
    let mut buffer = vec![0; BUFFER_LENGTH];
    iterators.iter().try_for_each(|iterator| read_iterator(iterator, &mut buffer, <[u8]>::len))
}

fn degradation(reason: String) -> Degradation {
    Degradation {
        feature: Feature::Existing.name().to_owned(),
        reason,
        consequence: Feature::Existing.lost().to_owned(),
    }
}

fn secluded() -> Degradation {
    Degradation {
        feature: Feature::Holders.name().to_owned(),
        reason: SECLUDED.to_owned(),
        consequence: "processes outside of it are not asked what they hold, and have no id here; \
                      run it in the host's (docker run --pid host)"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream, UdpSocket},
    };

    use netglass_model::{Attribution, Direction, HostFlow, HostId, Observations, Port, Protocol};
    use netglass_testing::{Namespace, require};

    use super::*;
    use crate::{
        Collector, Limits, Selection,
        stream::{Sizes, StreamOptions, Streamer, hook::HOOKS},
    };

    const HEADER: &str = include_str!("../bpf/stream/records.h");

    #[test]
    fn the_phases_are_those_of_the_header() {
        assert!(HEADER.contains(&format!("PHASE_LISTENERS = {},", PHASES[0])));
        assert!(HEADER.contains(&format!("PHASE_CONNECTIONS = {},", PHASES[1])));
        assert!(HEADER.contains(&format!("PHASE_FOUND_ALL = {FOUND_ALL},")));
        assert!(HEADER.contains(&format!("PHASE_FOUND_SOME = {FOUND_SOME},")));
    }

    #[test]
    fn without_an_iterator_less_is_found_but_the_rest_is_streamed() {
        let of = |feature| HOOKS.into_iter().filter(move |hook| hook.feature == feature);
        assert_eq!(of(Feature::Existing).count(), 2);
        assert_eq!(of(Feature::Holders).count(), 1);
        assert!(!Feature::Existing.is_required() && !Feature::Holders.is_required());
    }

    /// Does `work` in a network namespace of its own.
    fn inside(label: &str, work: impl FnOnce() + Send) {
        Namespace::new(label).inside(work);
    }

    /// Two ends of a connection, and who listened for it.
    struct Connection {
        listener: TcpListener,
        client: TcpStream,
        server: TcpStream,
    }

    impl Connection {
        /// One over which 1,000 bytes went.
        fn new() -> Self {
            let mut older = Self::of(TcpListener::bind("127.0.0.1:0").unwrap());
            older.send(1000);
            older
        }

        fn of(listener: TcpListener) -> Self {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            Self { listener, client, server }
        }

        fn send(&mut self, length: usize) {
            self.client.write_all(&vec![0; length]).unwrap();
            self.server.read_exact(&mut vec![0; length]).unwrap();
        }

        fn port(&self) -> u16 {
            self.listener.local_addr().unwrap().port()
        }
    }

    fn start(unavailable: &[&str]) -> Streamer {
        start_in(Selection::default(), unavailable)
    }

    fn start_in(selection: Selection, unavailable: &[&str]) -> Streamer {
        let sizes = Sizes {
            flows: 16_384,
            connections: 1024,
            conversations: 1024,
            process_buffer: 1 << 20,
        };
        Streamer::without(StreamOptions { selection, sizes }, unavailable).unwrap()
    }

    fn collect(streamer: &mut Streamer) -> Observations {
        let mut collector = Collector::new(Limits::default());
        streamer.collect(&mut collector).unwrap();
        let host = HostId { machine_id: String::new(), hostname: "host".to_owned() };
        collector.observations(host, streamer.own_namespace())
    }

    /// The flow of the service at a port, as one of its ends sees it.
    #[track_caller]
    fn flow(seen: &Observations, port: u16, direction: Direction) -> &HostFlow {
        let is_of_service = |flow: &&HostFlow| {
            let service = match direction {
                Direction::Active => flow.peer.port,
                Direction::Passive => flow.local.port,
            };
            flow.direction == direction && service == Port::Number(port)
        };
        let found: Vec<_> = seen.flows.iter().filter(is_of_service).collect();
        assert_eq!(found.len(), 1, "{direction:?} to {port} in {seen:#?}");
        found[0]
    }

    fn has_flow(seen: &Observations, port: u16) -> bool {
        let port = Port::Number(port);
        seen.flows.iter().any(|flow| flow.local.port == port || flow.peer.port == port)
    }

    fn our_pid(flow: &HostFlow) -> bool {
        flow.process.as_ref().is_some_and(|process| process.pid == std::process::id())
    }

    const BOTH: [Direction; 2] = [Direction::Active, Direction::Passive];

    #[test]
    fn what_is_found_without_its_processes_is_counted_from_then_to_its_end() {
        require!(root, ebpf);
        inside("found", || {
            let (mut used, idle) = (Connection::new(), Connection::new());
            let mut streamer = start(&["find_existing"]);
            used.send(50);
            let seen = collect(&mut streamer);
            for direction in BOTH {
                let flow = flow(&seen, used.port(), direction);
                assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
                assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, 50);
                assert!(our_pid(flow), "its process has worked with it: {flow:?}");
                assert_eq!(flow.attribution, Attribution::Socket);
            }
            for direction in BOTH {
                let flow = flow(&seen, idle.port(), direction);
                assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
                assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, 0);
                assert_eq!((&flow.process, flow.attribution), (&None, Attribution::Namespace));
            }
            let listens =
                |port| seen.listeners.iter().any(|it| it.local.port == Port::Number(port));
            assert!(listens(used.port()) && listens(idle.port()), "{seen:#?}");

            let port = used.port();
            used.send(7);
            drop(used);
            let seen = collect(&mut streamer);
            for direction in BOTH {
                let flow = flow(&seen, port, direction);
                assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
                assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, 7);
            }
            assert!(!has_flow(&collect(&mut streamer), port), "it has ended");
        });
    }

    #[test]
    fn an_older_listener_whose_process_was_not_found_takes_new_connections() {
        require!(root, ebpf);
        inside("listener", || {
            let Connection { listener, client, server } = Connection::new();
            let mut streamer = start(&["find_existing"]);
            drop((client, server));
            collect(&mut streamer);
            let mut newer = Connection::of(listener);
            newer.send(50);
            let seen = collect(&mut streamer);
            for direction in BOTH {
                let flow = flow(&seen, newer.port(), direction);
                assert_eq!((flow.counters.connections, flow.counters.opened), (1, 1));
                assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, 50);
                assert!(our_pid(flow), "{flow:?}");
            }
        });
    }

    #[test]
    fn udp_sockets_are_found_without_their_processes_too() {
        require!(root, ebpf);
        inside("udp", || {
            let server = UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = server.local_addr().unwrap().port();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(("127.0.0.1", port)).unwrap();
            let mut streamer = start(&["find_existing"]);
            let seen = collect(&mut streamer);
            let flow = flow(&seen, port, Direction::Active);
            assert_eq!(flow.protocol, Protocol::Udp);
            assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
            let listeners: Vec<_> =
                seen.listeners.iter().filter(|it| it.protocol == Protocol::Udp).collect();
            assert_eq!(listeners.len(), 1, "{listeners:?}");
            drop(client);
        });
    }

    #[test]
    fn who_is_not_accepted_yet_is_the_listener_s_until_somebody_works_with_it() {
        require!(root, ebpf);
        inside("backlog", || {
            let listener = TcpListener::bind("[::]:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (_waiting, mut client) = (connect(), connect());
            let mut streamer = start(&[]);
            let seen = collect(&mut streamer);
            let passive = flow(&seen, port, Direction::Passive);
            assert_eq!((passive.counters.connections, passive.counters.opened), (2, 0));
            assert!(our_pid(passive));
            assert_eq!(passive.attribution, Attribution::Listener);

            // Once counted it stays there, and is not counted for another one.
            let (_first, (mut server, _)) =
                (listener.accept().unwrap(), listener.accept().unwrap());
            client.write_all(&[0; 70]).unwrap();
            server.read_exact(&mut [0; 70]).unwrap();
            let seen = collect(&mut streamer);
            let passive = flow(&seen, port, Direction::Passive);
            assert_eq!((passive.counters.connections, passive.counters.opened), (2, 0));
            assert_eq!(passive.counters.bytes_received, 70);
        });
    }

    #[test]
    fn other_namespaces_are_entered() {
        require!(root, ebpf);
        inside("other", || {
            let older = Connection::new();
            let inode = namespace::own().unwrap();
            inside("own", || {
                let selection = Selection { all_namespaces: true, ..Selection::default() };
                let mut streamer = start_in(selection, &["find_existing"]);
                assert_ne!(streamer.own_namespace(), inode);
                let mut seen = collect(&mut streamer);
                seen.flows.retain(|flow| flow.namespace == inode);
                for direction in BOTH {
                    let flow = flow(&seen, older.port(), direction);
                    assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
                }
            });
        });
    }

    #[test]
    fn open_files_alone_show_what_processes_hold() {
        require!(root, ebpf);
        inside("files", || {
            let (mut held, waiting) =
                (Connection::new(), TcpListener::bind("127.0.0.1:0").unwrap());
            let port = waiting.local_addr().unwrap().port();
            let _client = TcpStream::connect(waiting.local_addr().unwrap()).unwrap();
            let mut streamer = start(&["find_tcp", "find_udp"]);
            held.send(50);
            let seen = collect(&mut streamer);
            for direction in BOTH {
                let flow = flow(&seen, held.port(), direction);
                assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
                assert!(our_pid(flow));
                assert_eq!(flow.attribution, Attribution::Socket);
            }
            flow(&seen, port, Direction::Active);
        });
    }
}
