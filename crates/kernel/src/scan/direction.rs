//! Which end opened a connection.

use std::{net::IpAddr, ops::RangeInclusive};

use hashbrown::HashMap;
use netglass_model::{Direction, Protocol};

use crate::socket::Socket;

/// The listening sockets of one network namespace. A connection whose local endpoint is one of
/// theirs was opened by the peer.
#[derive(Debug, Default)]
pub(super) struct ListeningEndpoints {
    by_port: HashMap<(Protocol, u16), Addresses, foldhash::fast::RandomState>,
}

#[derive(Debug, Default)]
struct Addresses {
    any_v4: bool,
    any_v6: bool,
    exact: Vec<IpAddr>,
}

impl ListeningEndpoints {
    pub(super) fn add(&mut self, socket: &Socket) {
        let addresses = self.by_port.entry((socket.protocol, socket.local_port)).or_default();
        match socket.local_address {
            IpAddr::V4(address) if address.is_unspecified() => addresses.any_v4 = true,
            IpAddr::V6(address) if address.is_unspecified() => {
                addresses.any_v6 = true;
                // An IPv6 wildcard takes IPv4 peers too (RFC 3493, section 3.7), unless it says no.
                addresses.any_v4 |= !socket.only_v6;
            }
            address => addresses.exact.push(address),
        }
    }

    /// The direction of a connection. `ephemeral` are the ports that the kernel gives to clients.
    pub(super) fn direction(&self, socket: &Socket, ephemeral: &RangeInclusive<u16>) -> Direction {
        if self.are_reached_by(socket) || is_remains_of_server(socket, ephemeral) {
            Direction::Passive
        } else {
            Direction::Active
        }
    }

    fn are_reached_by(&self, socket: &Socket) -> bool {
        let Some(addresses) = self.by_port.get(&(socket.protocol, socket.local_port)) else {
            return false;
        };
        let any = match socket.local_address {
            IpAddr::V4(_) => addresses.any_v4,
            IpAddr::V6(_) => addresses.any_v6,
        };
        any || addresses.exact.contains(&socket.local_address)
    }
}

/// Whether nobody holds the socket any more, and by its ports it was a server's: what is left of
/// the connections of a server that has ended. Taken for a client's, each of them would be one to
/// another service.
fn is_remains_of_server(socket: &Socket, ephemeral: &RangeInclusive<u16>) -> bool {
    socket.inode == 0
        && !ephemeral.contains(&socket.local_port)
        && ephemeral.contains(&socket.peer_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::SocketState;

    const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

    fn socket(protocol: Protocol, state: SocketState, local: &str) -> Socket {
        let local: std::net::SocketAddr = local.parse().unwrap();
        Socket {
            protocol,
            state,
            local_address: local.ip().to_canonical(),
            local_port: local.port(),
            peer_address: "192.0.2.1".parse().unwrap(),
            peer_port: 40000,
            inode: 1,
            cookie: 1,
            only_v6: false,
            queues: crate::socket::Queues::default(),
            traffic: None,
        }
    }

    fn direction(listener: &str, only_v6: bool, local: &str) -> Direction {
        let mut listening = ListeningEndpoints::default();
        let listener = socket(Protocol::Tcp, SocketState::Listen, listener);
        listening.add(&Socket { only_v6, ..listener });
        listening.direction(&socket(Protocol::Tcp, SocketState::Established, local), &EPHEMERAL)
    }

    #[test]
    fn an_exact_listener_takes_its_own_address_alone() {
        assert_eq!(direction("10.0.0.1:80", false, "10.0.0.1:80"), Direction::Passive);
        assert_eq!(direction("10.0.0.1:80", false, "10.0.0.2:80"), Direction::Active);
        assert_eq!(direction("10.0.0.1:80", false, "10.0.0.1:81"), Direction::Active);
        assert_eq!(direction("[::1]:80", false, "[::1]:80"), Direction::Passive);
    }

    #[test]
    fn a_wildcard_takes_its_family() {
        assert_eq!(direction("0.0.0.0:80", false, "10.0.0.1:80"), Direction::Passive);
        assert_eq!(direction("0.0.0.0:80", false, "[::1]:80"), Direction::Active);
        assert_eq!(direction("[::]:80", false, "[::1]:80"), Direction::Passive);
    }

    #[test]
    fn a_wildcard_for_both_families_takes_mapped_addresses() {
        assert_eq!(direction("[::]:80", false, "10.0.0.1:80"), Direction::Passive);
        assert_eq!(direction("[::]:80", false, "[::ffff:10.0.0.1]:80"), Direction::Passive);
        assert_eq!(direction("[::]:80", true, "10.0.0.1:80"), Direction::Active);
        assert_eq!(direction("[::ffff:10.0.0.1]:80", false, "10.0.0.1:80"), Direction::Passive);
    }

    #[test]
    fn what_is_left_of_a_server_that_has_ended_is_told_by_its_ports() {
        let nobody_listens = ListeningEndpoints::default();
        let held = socket(Protocol::Tcp, SocketState::TimeWait, "10.0.0.1:80");
        let left = Socket { inode: 0, ..held };
        assert_eq!(nobody_listens.direction(&held, &EPHEMERAL), Direction::Active);
        assert_eq!(nobody_listens.direction(&left, &EPHEMERAL), Direction::Passive);
        let client_s = Socket { local_port: 40001, peer_port: 80, ..left };
        assert_eq!(nobody_listens.direction(&client_s, &EPHEMERAL), Direction::Active);
        let between_services = Socket { peer_port: 2049, ..left };
        assert_eq!(nobody_listens.direction(&between_services, &EPHEMERAL), Direction::Active);
    }

    #[test]
    fn a_listener_of_another_protocol_does_not_count() {
        let mut listening = ListeningEndpoints::default();
        listening.add(&socket(Protocol::Udp, SocketState::Close, "0.0.0.0:53"));
        let over_tcp = socket(Protocol::Tcp, SocketState::Established, "10.0.0.1:53");
        let over_udp = socket(Protocol::Udp, SocketState::Established, "10.0.0.1:53");
        assert_eq!(listening.direction(&over_tcp, &EPHEMERAL), Direction::Active);
        assert_eq!(listening.direction(&over_udp, &EPHEMERAL), Direction::Passive);
    }
}
