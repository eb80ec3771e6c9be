//! The processes at the ends of flows, of real sockets in namespaces of their own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    net::{SocketAddr, TcpStream, UdpSocket},
    process,
    time::{Duration, SystemTime},
};

use netglass_kernel::{FlowEnds, FlowOwnerOptions, FlowOwners, OwnerSource};
use netglass_model::{Attribution, IpProtocol, Timestamp};
use netglass_testing::{Namespace, Running, link, load_command, require};
use rustix::net::sockopt;

/// A process, and how well it is known.
type Found = Option<(u32, Attribution)>;

fn owners(all_namespaces: bool) -> FlowOwners {
    let keep = Duration::from_secs(60);
    FlowOwners::new(FlowOwnerOptions { all_namespaces, owners: OwnerSource::Auto, keep }).unwrap()
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Who is at the ends of a flow that began at `first_seen` and goes on.
fn find(
    owners: &FlowOwners,
    protocol: IpProtocol,
    (source, destination): (SocketAddr, SocketAddr),
    first_seen: Timestamp,
) -> [Found; 2] {
    let ends = FlowEnds { protocol, source, destination, first_seen, last_seen: now() };
    let (source, destination) = owners.find(&ends);
    [source, destination].map(|owner| owner.map(|owner| (owner.process.pid, owner.attribution)))
}

fn ends(client: &TcpStream) -> (SocketAddr, SocketAddr) {
    (client.local_addr().unwrap(), client.peer_addr().unwrap())
}

fn serve(namespace: &Namespace, address: &str) -> Running {
    let mut command = namespace.command(load_command());
    command.args(["hold-server", "--listen", address]);
    let server = Running::spawn(command);
    server.wait_for_line("ready");
    server
}

/// Looks until both ends are known: the server has its end only after it has accepted.
fn look_until_known(
    owners: &mut FlowOwners,
    mut find: impl FnMut(&FlowOwners) -> [Found; 2],
) -> [Found; 2] {
    let is_socket = |found: &Found| matches!(found, Some((_, Attribution::Socket)));
    for _ in 0..1000 {
        owners.look().unwrap();
        let found = find(owners);
        if found.iter().all(is_socket) {
            return found;
        }
    }
    find(owners)
}

#[test]
fn both_ends_of_a_connection_over_loopback_are_known() {
    require!(root);
    let namespace = Namespace::new("loopback");
    let server = serve(&namespace, "127.0.0.1:80");
    namespace.inside(|| {
        let mut owners = owners(false);
        let began = now();
        let client = TcpStream::connect("127.0.0.1:80").unwrap();
        let ends = ends(&client);
        let found =
            look_until_known(&mut owners, |owners| find(owners, IpProtocol::TCP, ends, began));
        let expected = [process::id(), server.id()].map(|pid| Some((pid, Attribution::Socket)));
        assert_eq!(found, expected);
        // What is asked about later is remembered.
        drop(client);
        owners.look().unwrap();
        assert_eq!(find(&owners, IpProtocol::TCP, ends, began), expected);
        assert_eq!(find(&owners, IpProtocol::SCTP, ends, began), [None, None]);
        assert_eq!((owners.take_degradations(), owners.refused()), (vec![], 0));
    });
}

#[test]
fn ends_in_other_namespaces_are_known_where_all_are_looked_at() {
    require!(root);
    let (ours, theirs) = (Namespace::new("ours"), Namespace::new("theirs"));
    link(&ours, "10.0.0.1/24", &theirs, "10.0.0.2/24");
    let server = serve(&theirs, "0.0.0.0:80");
    ours.inside(|| {
        let (mut own, mut all) = (owners(false), owners(true));
        let began = now();
        let client = TcpStream::connect("10.0.0.2:80").unwrap();
        let ends = ends(&client);
        let found = look_until_known(&mut all, |owners| find(owners, IpProtocol::TCP, ends, began));
        let [us, them] = [process::id(), server.id()].map(|pid| Some((pid, Attribution::Socket)));
        assert_eq!(found, [us, them]);
        own.look().unwrap();
        assert_eq!(find(&own, IpProtocol::TCP, ends, began), [us, None]);
    });
}

#[test]
fn of_a_connection_between_two_looks_the_client_and_the_listener_are_known() {
    require!(root, ebpf);
    let namespace = Namespace::new("short");
    let server = serve(&namespace, "127.0.0.1:80");
    namespace.inside(|| {
        let mut owners = owners(false);
        let began = now();
        let client = TcpStream::connect("127.0.0.1:80").unwrap();
        let ends = ends(&client);
        // Reset, so that nothing is left of it to be seen.
        sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        drop(client);
        // Who opened it was told by a kernel program.
        let us = cfg!(feature = "ebpf").then(|| (process::id(), Attribution::Socket));
        let listener = Some((server.id(), Attribution::Listener));
        owners.look().unwrap();
        assert_eq!(find(&owners, IpProtocol::TCP, ends, began), [us, listener]);
        drop(server);
        owners.look().unwrap();
        assert_eq!(find(&owners, IpProtocol::TCP, ends, began), [us, listener]);
        let later = now().saturating_add(Duration::from_secs(1));
        assert_eq!(find(&owners, IpProtocol::TCP, ends, later), [None, None]);
    });
}

#[test]
fn datagrams_are_of_who_holds_the_socket_that_sends_and_takes_them() {
    require!(root);
    let namespace = Namespace::new("datagrams");
    namespace.inside(|| {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = UdpSocket::bind("[::]:53").unwrap();
        let ends = (client.local_addr().unwrap(), "127.0.0.1:53".parse().unwrap());
        let owners = owners(false);
        let us = Some((process::id(), Attribution::Socket));
        assert_eq!(find(&owners, IpProtocol::UDP, ends, now()), [us, us]);
        let elsewhere = (ends.0, "192.0.2.1:53".parse().unwrap());
        assert_eq!(find(&owners, IpProtocol::UDP, elsewhere, now()), [us, None]);
        assert_eq!(find(&owners, IpProtocol::TCP, ends, now()), [None, None]);
        drop(server);
    });
}
