//! A connection as the kernel programs write it into the key of a sum (`struct sum_key`), taken apart.

use std::net::{IpAddr, SocketAddr};

use netglass_model::{CallConnection, Direction, NamespaceInode, unmapped_address};

use crate::program::{u16_at, u32_at};

pub(super) const LENGTH: usize = 48;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Of what family the socket is; 0 where that is not known.
pub(super) fn family(bytes: &[u8; LENGTH]) -> u16 {
    u16_at(bytes, 40).unwrap_or_default()
}

/// Which end it is, as far as the socket tells.
pub(super) fn direction(bytes: &[u8; LENGTH]) -> Direction {
    if bytes[47] == 0 { Direction::Active } else { Direction::Passive }
}

pub(super) fn parse(bytes: &[u8; LENGTH]) -> CallConnection {
    let family = family(bytes);
    let port = |offset| u16_at(bytes, offset).unwrap_or_default();
    let [local, remote] =
        endpoints(family, [address(bytes, 0), address(bytes, 16)], [port(36), port(38)]);
    CallConnection {
        family,
        protocol: u16_at(bytes, 42).unwrap_or_default(),
        socket_type: u16_at(bytes, 44).unwrap_or_default(),
        local,
        remote,
        namespace: NamespaceInode(u32_at(bytes, 32).unwrap_or_default().into()),
        // Sums are not kept apart by these.
        state: 0,
        cookie: None,
    }
}

/// The local and the remote end of a socket of that family, as far as it has them.
pub(super) fn endpoints(
    family: u16,
    [local, remote]: [IpAddr; 2],
    [local_port, remote_port]: [u16; 2],
) -> [Option<SocketAddr>; 2] {
    let is_ip = matches!(family, AF_INET | AF_INET6);
    let is_connected = remote_port != 0 || !remote.is_unspecified();
    [
        is_ip.then(|| SocketAddr::new(local, local_port)),
        (is_ip && is_connected).then(|| SocketAddr::new(remote, remote_port)),
    ]
}

fn address(bytes: &[u8; LENGTH], offset: usize) -> IpAddr {
    let address = bytes.get(offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    unmapped_address(address)
}
