//! A connection as the kernel programs write it (`struct call_connection`), taken apart.

use std::net::SocketAddr;

use netglass_model::{CallConnection, Direction, NamespaceInode, unmapped_address};

use crate::program::{u16_at, u32_at, u64_at};

pub(super) const LENGTH: usize = 56;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Of what family the socket is; 0 where that is not known.
pub(super) fn family(bytes: &[u8; LENGTH]) -> u16 {
    u16_at(bytes, 48).unwrap_or_default()
}

/// Which end it is, as far as the socket tells.
pub(super) fn direction(bytes: &[u8; LENGTH]) -> Direction {
    if bytes[55] == 0 { Direction::Active } else { Direction::Passive }
}

pub(super) fn parse(bytes: &[u8; LENGTH]) -> CallConnection {
    let family = family(bytes);
    let is_ip = matches!(family, AF_INET | AF_INET6);
    let port = |offset| u16_at(bytes, offset).unwrap_or_default();
    let remote = endpoint(bytes, 16, port(46));
    let is_connected = remote.port() != 0 || !remote.ip().is_unspecified();
    CallConnection {
        family,
        protocol: u16_at(bytes, 50).unwrap_or_default(),
        socket_type: u16_at(bytes, 52).unwrap_or_default(),
        state: bytes[54],
        local: is_ip.then(|| endpoint(bytes, 0, port(44))),
        remote: (is_ip && is_connected).then_some(remote),
        namespace: NamespaceInode(u32_at(bytes, 40).unwrap_or_default().into()),
        cookie: u64_at(bytes, 32).filter(|&cookie| cookie != 0),
    }
}

fn endpoint(bytes: &[u8; LENGTH], offset: usize, port: u16) -> SocketAddr {
    let address = bytes.get(offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    SocketAddr::new(unmapped_address(address), port)
}
