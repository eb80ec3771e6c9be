//! Sockets that are there when streaming starts.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
};

use netglass_model::{
    Attribution, Direction, FlowCounters, HostFlow, HostId, Listener, Observations, Port, Protocol,
};
use netglass_testing::{Namespace, require, wait_for};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with},
};

use super::*;
use crate::{
    Collector, Limits, Selection,
    stream::{Sizes, StreamOptions, Streamer, hook::HOOKS},
};

const HEADER: &str = include_str!("../../bpf/stream/records.h");

#[test]
fn the_phases_are_those_of_the_header() {
    assert!(HEADER.contains(&format!("PHASE_LISTENERS = {},", Phase::Listeners.number())));
    assert!(HEADER.contains(&format!("PHASE_CONNECTIONS = {},", Phase::Connections.number())));
    assert!(HEADER.contains(&format!("PHASE_FOUND_ALL = {FOUND_ALL},")));
    assert!(HEADER.contains(&format!("PHASE_FOUND_SOME = {FOUND_SOME},")));
}

#[test]
fn without_an_iterator_less_is_found_but_the_rest_is_streamed() {
    let of = |feature| HOOKS.into_iter().filter(move |hook| hook.feature == feature);
    assert_eq!(of(Feature::Existing).map(|hook| hook.program).collect::<Vec<_>>(), ITERATORS);
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

const SIZES: Sizes =
    Sizes { flows: 16_384, connections: 1024, conversations: 1024, process_buffer: 1 << 20 };

fn start(unavailable: &[&str]) -> Streamer {
    start_in(Selection::default(), unavailable)
}

fn start_in(selection: Selection, unavailable: &[&str]) -> Streamer {
    Streamer::without(StreamOptions { selection, sizes: SIZES }, unavailable).unwrap()
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

/// How many ends of connections to a port there are, but for those that only wait (`TIME_WAIT`) and
/// who listens.
fn open_ends(port: u16) -> usize {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let is_open_end = |line: &&str| {
        let columns: Vec<_> = line.split_whitespace().take(4).collect();
        columns[1..3].iter().any(|address| address.ends_with(&port))
            && !matches!(columns[3], "06" | "0A")
    };
    table.lines().skip(1).filter(is_open_end).count()
}

fn has_flow(seen: &Observations, port: u16) -> bool {
    let port = Port::Number(port);
    seen.flows.iter().any(|flow| flow.local.port == port || flow.peer.port == port)
}

fn our_pid(flow: &HostFlow) -> bool {
    flow.process.as_ref().is_some_and(|process| process.pid == std::process::id())
}

fn is_ours(listener: &Listener) -> bool {
    listener.process.as_ref().is_some_and(|process| process.pid == std::process::id())
}

const BOTH: [Direction; 2] = [Direction::Active, Direction::Passive];

/// Over the sockets of namespaces.
const ITERATORS: [&str; 2] = ["find_tcp", "find_udp"];

/// Without them, nothing finds sockets but lists.
const ALL_ITERATORS: [&str; 3] = ["find_existing", ITERATORS[0], ITERATORS[1]];

#[test]
fn what_is_found_without_open_files_is_counted_from_then_to_its_end() {
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
            assert!(our_pid(flow), "{flow:?}");
            assert_eq!(flow.attribution, Attribution::Socket);
        }
        for direction in BOTH {
            let flow = flow(&seen, idle.port(), direction);
            assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
            assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, 0);
            assert!(our_pid(flow), "/proc tells who holds it: {flow:?}");
            assert_eq!(flow.attribution, Attribution::Socket);
        }
        for port in [used.port(), idle.port()] {
            let listens = |it: &&Listener| it.local.port == Port::Number(port);
            let listener = seen.listeners.iter().find(listens);
            assert!(listener.is_some_and(is_ours), "{seen:#?}");
        }

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
        assert!(our_pid(flow), "{flow:?}");
        let listeners: Vec<_> =
            seen.listeners.iter().filter(|it| it.protocol == Protocol::Udp).collect();
        assert_eq!(listeners.len(), 1, "{listeners:?}");
        assert!(is_ours(listeners[0]), "{listeners:?}");
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
        let (_first, (mut server, _)) = (listener.accept().unwrap(), listener.accept().unwrap());
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
fn what_is_listed_is_counted_from_the_start_to_its_end() {
    require!(root, ebpf);
    inside("listed", || {
        let (mut used, mut ended) = (Connection::new(), Connection::new());
        let idle = Connection::new();
        let mut streamer = start(&ALL_ITERATORS);
        used.send(50);
        let seen = collect(&mut streamer);
        for direction in BOTH {
            let flow = flow(&seen, used.port(), direction);
            assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
            assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, 50);
            assert!(our_pid(flow), "{flow:?}");
            assert_eq!(flow.attribution, Attribution::Socket);
        }
        for unused in [&ended, &idle] {
            for direction in BOTH {
                let flow = flow(&seen, unused.port(), direction);
                assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
                assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, 0);
                assert!(our_pid(flow), "{flow:?}");
            }
        }

        let ports = [used.port(), ended.port()];
        used.send(7);
        ended.send(9);
        drop((used, ended));
        let seen = collect(&mut streamer);
        for (port, bytes) in ports.into_iter().zip([7, 9]) {
            for direction in BOTH {
                let flow = flow(&seen, port, direction);
                assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
                assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, bytes);
            }
        }
        let port = idle.port();
        drop(idle);
        let seen = collect(&mut streamer);
        for direction in BOTH {
            let flow = flow(&seen, port, direction);
            assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
            assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, 0);
            assert!(our_pid(flow), "nobody worked with it, but /proc tells who held it: {flow:?}");
            assert_eq!(flow.attribution, Attribution::Socket);
        }
        assert!(collect(&mut streamer).flows.is_empty(), "they have ended");
    });
}

#[test]
fn listed_connections_of_one_service_that_end_one_after_the_other_add_up() {
    require!(root, ebpf);
    inside("one_by_one", || {
        let first = Connection::new();
        let more = [(); 2].map(|()| {
            let client = TcpStream::connect(first.listener.local_addr().unwrap()).unwrap();
            (client, first.listener.accept().unwrap().0)
        });
        let port = first.port();
        let Connection { listener: _listener, client, server } = first;
        let mut streamer = start(&ALL_ITERATORS);
        let mut sums = [FlowCounters::default(); 2];
        for (connection, left) in [(client, server)].into_iter().chain(more).zip((0..3).rev()) {
            drop(connection);
            // The last word of an end may come after it is closed.
            wait_for(|| (open_ends(port) == 2 * left).then_some(()));
            let seen = collect(&mut streamer);
            for (sum, direction) in sums.iter_mut().zip(BOTH) {
                sum.append(&flow(&seen, port, direction).counters);
            }
        }
        assert_eq!(sums.map(|sum| (sum.connections, sum.opened)), [(3, 0); 2]);
    });
}

#[test]
fn who_is_not_accepted_yet_is_listed_as_the_listener_s() {
    require!(root, ebpf);
    inside("backlog", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut streamer = start(&ALL_ITERATORS);
        // The other way round it would be reset.
        drop((client, listener));
        let seen = collect(&mut streamer);
        for direction in BOTH {
            let flow = flow(&seen, port, direction);
            assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
            assert!(our_pid(flow), "{flow:?}");
        }
        assert_eq!(flow(&seen, port, Direction::Passive).attribution, Attribution::Listener);
    });
}

#[test]
fn a_listed_attempt_that_is_given_up_has_failed() {
    require!(root, ebpf);
    for unavailable in [&ALL_ITERATORS[..], &["find_existing"]] {
        inside("attempt", || {
            let kind = (AddressFamily::INET, SocketType::STREAM);
            let new = |flags| socket_with(kind.0, kind.1, flags, None).unwrap();
            let listener = new(SocketFlags::empty());
            bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
            // There is room for one, so the next one gets no answer.
            listen(&listener, 0).unwrap();
            let listener = TcpListener::from(listener);
            let address = listener.local_addr().unwrap();
            let _first = TcpStream::connect(address).unwrap();
            let attempt = new(SocketFlags::NONBLOCK);
            assert_eq!(connect(&attempt, &address), Err(Errno::INPROGRESS));
            let mut streamer = start(unavailable);
            drop(attempt);
            let seen = collect(&mut streamer);
            let failed: Vec<_> =
                seen.flows.iter().filter(|flow| flow.counters.failed.total() > 0).collect();
            assert_eq!(failed.len(), 1, "{seen:#?}");
            assert_eq!(failed[0].peer.port, Port::Number(address.port()));
            assert!(our_pid(failed[0]), "{failed:?}");
        });
    }
}

#[test]
fn datagrams_of_listed_sockets_are_of_conversations_from_before() {
    require!(root, ebpf);
    inside("udp", || {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(("127.0.0.1", port)).unwrap();
        let mut streamer = start(&ALL_ITERATORS);
        client.send(&[0; 70]).unwrap();
        let seen = collect(&mut streamer);
        let flow = flow(&seen, port, Direction::Active);
        assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
        assert_eq!((flow.counters.bytes_sent, flow.counters.segments_sent), (70, 1));
        assert!(our_pid(flow), "{flow:?}");
    });
}

#[test]
fn a_listed_listener_takes_new_connections() {
    require!(root, ebpf);
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        inside("listener", || {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut streamer = start(&ALL_ITERATORS);
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(&[0; 50]).unwrap();
            server.read_exact(&mut [0; 50]).unwrap();
            let unused = TcpStream::connect(("127.0.0.1", port)).unwrap();
            // The other way round it would be reset.
            drop((unused, listener));
            let seen = collect(&mut streamer);
            for direction in BOTH {
                let all = seen.flows.iter().filter(|flow| {
                    flow.direction == direction
                        && [flow.local.port, flow.peer.port].contains(&Port::Number(port))
                });
                let counted = all.map(|flow| (flow.counters.connections, flow.counters.opened));
                let sum = counted.reduce(|one, other| (one.0 + other.0, one.1 + other.1));
                assert_eq!(sum, Some((2, 2)), "{direction:?} of {address} in {seen:#?}");
            }
        });
    }
}

#[test]
fn what_files_show_is_not_taken_from_lists_again() {
    require!(root, ebpf);
    inside("both", || {
        let mut held = Connection::new();
        let waiting = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = waiting.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut streamer = start(&ITERATORS);
        let seen = collect(&mut streamer);
        for direction in BOTH {
            let flow = flow(&seen, held.port(), direction);
            assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
            assert!(our_pid(flow), "{flow:?}");
        }
        held.send(50);
        client.write_all(&[0; 70]).unwrap();
        let (mut accepted, _) = waiting.accept().unwrap();
        accepted.read_exact(&mut [0; 70]).unwrap();
        let ports = [(held.port(), 50), (port, 70)];
        drop((held, client, accepted));
        let seen = collect(&mut streamer);
        for (port, bytes) in ports {
            for direction in BOTH {
                let flow = flow(&seen, port, direction);
                assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
                assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, bytes);
                assert!(our_pid(flow), "{flow:?}");
            }
        }
        assert!(collect(&mut streamer).flows.is_empty(), "they have ended");
    });
}

#[test]
fn sockets_are_listed_in_other_namespaces_too() {
    require!(root, ebpf);
    let other = Namespace::new("other");
    let mut older = other.inside(Connection::new);
    inside("own", || {
        let selection = Selection { all_namespaces: true, ..Selection::default() };
        let mut streamer = start_in(selection, &ALL_ITERATORS);
        older.send(50);
        let mut seen = collect(&mut streamer);
        seen.flows.retain(|flow| flow.namespace.0 == other.inode());
        for direction in BOTH {
            let flow = flow(&seen, older.port(), direction);
            assert_eq!((flow.counters.connections, flow.counters.opened), (1, 0));
            assert_eq!(flow.counters.bytes_sent + flow.counters.bytes_received, 50);
        }
    });
}

#[test]
fn more_connections_than_there_is_room_for_are_told_of() {
    require!(root, ebpf);
    inside("many", || {
        let _older = [Connection::new(), Connection::new()];
        let sizes = Sizes { connections: 3, ..SIZES };
        let options = StreamOptions { selection: Selection::default(), sizes };
        let told = Streamer::without(options, &ALL_ITERATORS).unwrap().take_degradations();
        let is_full = |it: &&Degradation| it.reason.contains("--max-kernel-connections");
        let told: Vec<_> = told.iter().filter(is_full).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].feature, Feature::Existing.name());
    });
}

#[test]
fn open_files_alone_show_what_processes_hold() {
    require!(root, ebpf);
    inside("files", || {
        let (mut held, waiting) = (Connection::new(), TcpListener::bind("127.0.0.1:0").unwrap());
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
