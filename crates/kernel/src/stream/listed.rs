//! Telling the kernel programs of the sockets that are older than they are, where iterators cannot:
//! from the kernel's lists (`sock_diag(7)`), and who holds them from `/proc/*/fd`.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
};

use libbpf_rs::{ErrorKind, Map, MapCore as _, MapFlags, MapHandle, Object};
use netglass_model::{Degradation, NamespaceInode, Protocol};

use super::{existing::Phase, programs::find_map};
use crate::{
    Error,
    owner::{self, OwnerReader, OwnerSource, Owners},
    process::{BootClock, ProcessIdentity},
    socket::{Diag, InetFamily, Socket, SocketState, StateSet},
};

const REMEDY: &str = "where there are too many, raise --max-kernel-connections";

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
}

impl Listed {
    pub(super) fn new(object: &Object, holders: Option<Holders>) -> Result<Self, Error> {
        let handle = |map: Map<'_>| MapHandle::try_from(&map).map_err(|error| failure(&error));
        Ok(Self {
            listening: handle(find_map(object, "listening")?)?,
            sockets: handle(find_map(object, "listed_sockets")?)?,
            holders,
        })
    }

    /// Tells of the sockets in the calling thread's namespace, which is `namespace`.
    pub(super) fn tell(&self, phase: Phase, namespace: NamespaceInode) -> Result<(), Error> {
        match phase {
            Phase::Listeners => {
                list(Protocol::Tcp, StateSet::LISTENING, |socket| {
                    self.tell_listener(socket, namespace)?;
                    self.tell_holder(socket)
                })?;
                list(Protocol::Udp, StateSet::UNCONNECTED, |socket| self.tell_holder(socket))
            }
            Phase::Connections => {
                list(Protocol::Tcp, StateSet::CONNECTED, |socket| match socket.state {
                    // These are no whole sockets, and met by nobody.
                    SocketState::SynReceived | SocketState::TimeWait => Ok(()),
                    _ => self.tell_socket(socket),
                })?;
                list(Protocol::Udp, StateSet::CONNECTED, |socket| self.tell_socket(socket))
            }
        }
    }

    fn tell_listener(&self, socket: &Socket, namespace: NamespaceInode) -> Result<(), Error> {
        let process = self.holder(socket).to_ne_bytes();
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
    fn tell_holder(&self, socket: &Socket) -> Result<(), Error> {
        if self.holder(socket) == 0 { Ok(()) } else { self.tell_socket(socket) }
    }

    fn tell_socket(&self, socket: &Socket) -> Result<(), Error> {
        let told = listed_socket(socket, self.holder(socket));
        let updated = self.sockets.update(&socket.cookie.to_ne_bytes(), &told, MapFlags::ANY);
        updated.map_err(|error| failure(&format!("{error:#}; {REMEDY}")))
    }

    /// The number of the process that holds a socket; 0 where that is not known.
    fn holder(&self, socket: &Socket) -> u32 {
        let holder = self.holders.as_ref().and_then(|holders| holders.of(socket));
        holder.map_or(0, NonZeroU32::get)
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
fn listed_socket(socket: &Socket, process: u32) -> Vec<u8> {
    let traffic = socket.traffic.unwrap_or_default();
    [
        &traffic.bytes_sent.to_ne_bytes()[..],
        &traffic.bytes_received.to_ne_bytes(),
        &traffic.segments_sent.to_ne_bytes(),
        &traffic.segments_received.to_ne_bytes(),
        &traffic.retransmits.to_ne_bytes(),
        &process.to_ne_bytes(),
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
             that is not known. */ __u32 process;"
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
