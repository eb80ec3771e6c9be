//! Telling the kernel programs of the sockets that are older than they are, where iterators cannot:
//! from the kernel's lists (`sock_diag(7)`).

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use libbpf_rs::{ErrorKind, Map, MapCore as _, MapFlags, MapHandle, Object};
use netglass_model::{NamespaceInode, Protocol};

use super::programs::find_map;
use crate::{
    Error,
    socket::{Diag, InetFamily, Socket, SocketState, StateSet},
};

const REMEDY: &str = "where there are too many, raise --max-kernel-connections";

/// The maps that say which sockets there were.
pub(super) struct Listed {
    /// Whose the listening sockets are, by where they listen.
    listening: MapHandle,
    /// What connections did before, by the cookies of their sockets.
    connections: MapHandle,
}

impl Listed {
    pub(super) fn new(object: &Object) -> Result<Self, Error> {
        let handle = |map: Map<'_>| MapHandle::try_from(&map).map_err(|error| failure(&error));
        Ok(Self {
            listening: handle(find_map(object, "listening")?)?,
            connections: handle(find_map(object, "listed_connections")?)?,
        })
    }

    /// Tells who listens for connections in the calling thread's namespace, which is `namespace`.
    pub(super) fn tell_listeners(&self, namespace: NamespaceInode) -> Result<(), Error> {
        list(StateSet::LISTENING, |socket| {
            // Whose they are is not known here; the iterator over open files may know.
            let process = 0_u32.to_ne_bytes();
            for address in addresses(socket) {
                let key = listening_key(address, namespace, socket.local_port);
                match self.listening.update(&key, &process, MapFlags::NO_EXIST) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(failure(&error)),
                }
            }
            Ok(())
        })
    }

    /// Tells of the connections in the calling thread's namespace.
    pub(super) fn tell_connections(&self) -> Result<(), Error> {
        list(StateSet::CONNECTED, |socket| {
            if socket.state.is_half_open() || socket.state == SocketState::TimeWait {
                return Ok(());
            }
            let cookie = socket.cookie.to_ne_bytes();
            let updated = self.connections.update(&cookie, &listed(socket), MapFlags::ANY);
            updated.map_err(|error| failure(&format!("{error:#}; {REMEDY}")))
        })
    }
}

/// Calls `visit` with each TCP socket in one of `states`; returns what failed first.
fn list(
    states: StateSet,
    mut visit: impl FnMut(&Socket) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut diag = Diag::open()?;
    let mut outcome = Ok(());
    for family in InetFamily::BOTH {
        diag.list(Protocol::Tcp, family, states, |socket| {
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

/// `struct listed_connection` of `bpf/stream/records.h`.
fn listed(socket: &Socket) -> Vec<u8> {
    let traffic = socket.traffic.unwrap_or_default();
    [
        &traffic.bytes_sent.to_ne_bytes()[..],
        &traffic.bytes_received.to_ne_bytes(),
        &traffic.segments_sent.to_ne_bytes(),
        &traffic.segments_received.to_ne_bytes(),
        &traffic.retransmits.to_ne_bytes(),
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
        let fields = HEADER.split("struct listed_connection {").nth(1).unwrap();
        let fields: Vec<_> = fields.split('}').next().unwrap().split_whitespace().collect();
        assert_eq!(
            fields.join(" "),
            "__u64 bytes_sent; __u64 bytes_received; __u32 segments_sent; \
             __u32 segments_received; __u32 retransmits; __u32 reserved;"
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
