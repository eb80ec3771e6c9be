//! Telling the kernel programs of the sockets that are older than they are, where iterators cannot:
//! from the kernel's lists (`sock_diag(7)`), and who holds them from `/proc/*/fd`.

use std::{
    collections::HashSet,
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
};

use libbpf_rs::{ErrorKind, Map, MapCore as _, MapFlags, MapHandle, Object};
use netglass_model::{Degradation, Direction, NamespaceInode, Protocol};

use super::{
    existing::Phase,
    programs::{FIRST_EPOCH, find_map},
    record::FlowKey,
};
use crate::{
    Error,
    owner::{self, OwnerReader, OwnerSource, Owners},
    process::{BootClock, ProcessIdentity},
    socket::{Diag, InetFamily, Socket, SocketState, StateSet},
};

const REMEDY: &str = "where there are too many, raise --max-kernel-connections";

/// `EPOCH_BEFORE` of `bpf/stream/maps.h`.
const EPOCH_BEFORE: u32 = u32::MAX;

/// Gives a process the number by which the kernel programs call it.
pub(super) type Name<'a> = dyn FnMut(&ProcessIdentity) -> NonZeroU32 + 'a;

/// Who holds sockets, by the inodes of these.
pub(super) struct Holders {
    owners: Owners,
    /// By the owners' indices.
    numbers: Vec<NonZeroU32>,
}

impl Holders {
    /// Reads `/proc/*/fd` for at most `capacity` sockets.
    pub(super) fn read(
        capacity: u32,
        name: &mut Name<'_>,
        degraded: &mut dyn FnMut(Degradation),
    ) -> Result<Self, Error> {
        let mut owners = Owners::new(usize::try_from(capacity).unwrap_or(usize::MAX));
        let mut reader = OwnerReader::new(OwnerSource::Procfs, BootClock::read()?, degraded)?;
        reader.read(None, &mut owners, degraded)?;
        if owners.denied > 0 {
            degraded(owner::denied_files());
        }
        if owners.dropped > 0 {
            degraded(Degradation {
                feature: "the owners of all sockets".to_owned(),
                reason: "there are more sockets than there is room for".to_owned(),
                consequence: "the others are counted without process until somebody works with \
                              them; raise --max-kernel-connections"
                    .to_owned(),
            });
        }
        let numbers = owners.processes().iter().map(name).collect();
        Ok(Self { owners, numbers })
    }

    fn of(&self, socket: &Socket) -> Option<NonZeroU32> {
        let held = self.owners.get(socket.inode)?;
        self.numbers.get(usize::try_from(held.owner).ok()?).copied()
    }
}

/// The maps that say which sockets there were.
pub(super) struct Listed {
    /// Whose the listening sockets are, by where they listen.
    listening: MapHandle,
    /// What sockets did before, and who holds them, by their cookies.
    sockets: MapHandle,
    /// Where the iterator over open files cannot tell who holds what.
    holders: Option<Holders>,
    /// While the programs do not watch yet.
    counting: Option<Counting>,
}

/// What is told of before the programs watch: connections that are counted as those of the first
/// epoch.
#[derive(Default)]
struct Counting {
    listening: HashSet<(IpAddr, NamespaceInode, u16)>,
    flows: Vec<FlowKey>,
}

impl Counting {
    /// The flow of a connection, as the programs will tell of it.
    fn flow_of(&self, socket: &Socket, namespace: NamespaceInode, holder: NonZeroU32) -> FlowKey {
        let (direction, service_port) = if self.has_listener(socket, namespace) {
            (Direction::Passive, socket.local_port)
        } else {
            (Direction::Active, socket.peer_port)
        };
        FlowKey {
            namespace,
            local: socket.local_address,
            peer: socket.peer_address,
            service_port,
            protocol: Protocol::Tcp,
            direction,
            process: Some(holder),
            by_listener: false,
        }
    }

    /// As `listener_at` of `bpf/stream/listening.h`.
    fn has_listener(&self, socket: &Socket, namespace: NamespaceInode) -> bool {
        let wildcard = match socket.local_address {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        [socket.local_address, wildcard]
            .into_iter()
            .any(|address| self.listening.contains(&(address, namespace, socket.local_port)))
    }
}

impl Listed {
    pub(super) fn new(object: &Object, holders: Option<Holders>) -> Result<Self, Error> {
        let handle = |map: Map<'_>| MapHandle::try_from(&map).map_err(|error| failure(&error));
        Ok(Self {
            listening: handle(find_map(object, "listening")?)?,
            sockets: handle(find_map(object, "listed_sockets")?)?,
            holders,
            counting: None,
        })
    }

    /// From now on connections that somebody holds are counted when they are told of, whether
    /// anybody works with them or not. Whatever the programs saw begin would count twice.
    pub(super) fn begin_counting(&mut self) {
        self.counting = Some(Counting::default());
    }

    /// The connections that were counted since, of which nothing else is known.
    pub(super) fn end_counting(&mut self) -> Vec<FlowKey> {
        self.counting.take().unwrap_or_default().flows
    }

    /// Tells of the sockets in the calling thread's namespace, which is `namespace`.
    pub(super) fn tell(&mut self, phase: Phase, namespace: NamespaceInode) -> Result<(), Error> {
        match phase {
            Phase::Listeners => {
                list(Protocol::Tcp, StateSet::LISTENING, |socket| {
                    self.tell_listener(socket, namespace)?;
                    self.tell_holder(socket, namespace)
                })?;
                list(Protocol::Udp, StateSet::UNCONNECTED, |socket| {
                    self.tell_holder(socket, namespace)
                })
            }
            Phase::Connections => {
                list(Protocol::Tcp, StateSet::CONNECTED, |socket| match socket.state {
                    // These are no whole sockets, and met by nobody.
                    SocketState::SynReceived | SocketState::TimeWait => Ok(()),
                    _ => self.tell_socket(socket, namespace),
                })?;
                list(Protocol::Udp, StateSet::CONNECTED, |socket| {
                    self.tell_socket(socket, namespace)
                })
            }
        }
    }

    fn tell_listener(&mut self, socket: &Socket, namespace: NamespaceInode) -> Result<(), Error> {
        if let Some(counting) = &mut self.counting {
            let places = addresses(socket).map(|address| (address, namespace, socket.local_port));
            counting.listening.extend(places);
            return Ok(());
        }
        let process = self.holder(socket).map_or(0, NonZeroU32::get).to_ne_bytes();
        for address in addresses(socket) {
            let key = listening_key(address, namespace, socket.local_port);
            match self.listening.update(&key, &process, MapFlags::NO_EXIST) {
                Ok(()) => {}
                // Who knows the process, an iterator or somebody who listens since, was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failure(&error)),
            }
        }
        Ok(())
    }

    /// Tells of a socket of which nothing but its holder is to be known.
    fn tell_holder(&mut self, socket: &Socket, namespace: NamespaceInode) -> Result<(), Error> {
        match self.holder(socket) {
            Some(_) => self.tell_socket(socket, namespace),
            None => Ok(()),
        }
    }

    fn tell_socket(&mut self, socket: &Socket, namespace: NamespaceInode) -> Result<(), Error> {
        let holder = self.holder(socket);
        let counting = self.counting.as_mut().filter(|_| is_connection(socket)).zip(holder);
        let counted_in = match counting {
            Some(_) => FIRST_EPOCH,
            None if is_attempt(socket) => 0,
            None => EPOCH_BEFORE,
        };
        let told = listed_socket(socket, holder, counted_in);
        match self.sockets.update(&socket.cookie.to_ne_bytes(), &told, MapFlags::NO_EXIST) {
            Ok(()) => {
                if let Some((counting, holder)) = counting {
                    counting.flows.push(counting.flow_of(socket, namespace, holder));
                }
                Ok(())
            }
            // It was told of before the programs watched.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failure(&format!("{error:#}; {REMEDY}"))),
        }
    }

    /// The number of the process that holds a socket, where that is known.
    fn holder(&self, socket: &Socket) -> Option<NonZeroU32> {
        self.holders.as_ref().and_then(|holders| holders.of(socket))
    }
}

/// Calls `visit` with each socket in one of `states`; returns what failed first.
fn list(
    protocol: Protocol,
    states: StateSet,
    mut visit: impl FnMut(&Socket) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut diag = Diag::open()?;
    let mut outcome = Ok(());
    for family in InetFamily::BOTH {
        diag.list(protocol, family, states, |socket| {
            let told = match socket {
                Some(socket) => visit(socket),
                None => Err(failure(&"a socket in a list of the kernel cannot be understood")),
            };
            if outcome.is_ok() {
                outcome = told;
            }
        })?;
    }
    outcome
}

/// Whether a peer has answered.
fn is_connection(socket: &Socket) -> bool {
    let answered = socket.traffic.is_some_and(|traffic| traffic.segments_received > 0);
    socket.protocol == Protocol::Tcp && answered
}

fn is_attempt(socket: &Socket) -> bool {
    socket.protocol == Protocol::Tcp && !is_connection(socket)
}

/// The addresses that a listening socket takes connections to.
fn addresses(socket: &Socket) -> impl Iterator<Item = IpAddr> {
    let own = socket.local_address;
    // An IPv6 wildcard takes IPv4 peers too (RFC 3493, section 3.7), unless it says no.
    let takes_both = own == Ipv6Addr::UNSPECIFIED && !socket.only_v6;
    [own].into_iter().chain(takes_both.then_some(Ipv4Addr::UNSPECIFIED.into()))
}

/// `struct listening_key` of `bpf/stream/maps.h`.
fn listening_key(address: IpAddr, namespace: NamespaceInode, port: u16) -> Vec<u8> {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    // Namespace inodes are 32 bits wide in the kernel (struct ns_common).
    let namespace = u32::try_from(namespace.0).unwrap_or(0);
    let protocol = u16::from(Protocol::Tcp.number());
    [&octets[..], &namespace.to_ne_bytes(), &port.to_ne_bytes(), &protocol.to_ne_bytes()].concat()
}

/// `struct listed_socket` of `bpf/stream/records.h`.
fn listed_socket(socket: &Socket, process: Option<NonZeroU32>, counted_in: u32) -> Vec<u8> {
    let process = process.map_or(0, NonZeroU32::get);
    let traffic = socket.traffic.unwrap_or_default();
    [
        &traffic.bytes_sent.to_ne_bytes()[..],
        &traffic.bytes_received.to_ne_bytes(),
        &traffic.segments_sent.to_ne_bytes(),
        &traffic.segments_received.to_ne_bytes(),
        &traffic.retransmits.to_ne_bytes(),
        &process.to_ne_bytes(),
        &counted_in.to_ne_bytes(),
        &[0; 4],
    ]
    .concat()
}

fn failure(reason: &dyn Display) -> Error {
    Error::Program {
        doing: "tell older sockets to",
        program: "stream",
        reason: format!("{reason:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_did_is_told_in_the_order_of_the_header() {
        const HEADER: &str = include_str!("../bpf/stream/records.h");
        let fields = HEADER.split("struct listed_socket {").nth(1).unwrap();
        let fields: Vec<_> = fields.split('}').next().unwrap().split_whitespace().collect();
        assert_eq!(
            fields.join(" "),
            "__u64 bytes_sent; __u64 bytes_received; __u32 segments_sent; \
             __u32 segments_received; __u32 retransmits; /* Whoever holds it; 0 where \
             that is not known. */ __u32 process; /* As in struct tracked_socket. */ \
             __u32 counted_in; __u32 unused;"
        );
    }

    #[test]
    fn where_somebody_listens_is_told_as_ipv6() {
        let key = listening_key("10.0.0.1".parse().unwrap(), NamespaceInode(7), 80);
        let mapped: Ipv6Addr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(key[..16], mapped.octets());
        assert_eq!(
            key[16..],
            [&7_u32.to_ne_bytes()[..], &80_u16.to_ne_bytes(), &6_u16.to_ne_bytes()].concat()
        );
    }
}
