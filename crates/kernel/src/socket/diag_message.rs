//! `struct inet_diag_msg` and its attributes (`linux/inet_diag.h`, `sock_diag(7)`), as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netglass_model::Protocol;

use super::{Queues, Socket, SocketState, TcpTraffic};
use crate::netlink::message::Attributes;

/// The length of `struct inet_diag_msg`.
const MESSAGE_LENGTH: usize = 72;
const FAMILY_OFFSET: usize = 0;
const STATE_OFFSET: usize = 1;
const LOCAL_PORT_OFFSET: usize = 4;
const PEER_PORT_OFFSET: usize = 6;
const LOCAL_ADDRESS_OFFSET: usize = 8;
const PEER_ADDRESS_OFFSET: usize = 24;
const COOKIE_OFFSET: usize = 44;
const RECEIVE_QUEUE_OFFSET: usize = 56;
const SEND_QUEUE_OFFSET: usize = 60;
const INODE_OFFSET: usize = 68;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// Offsets in `struct tcp_info`; a kernel that is older than a member ends before it.
mod tcp_info {
    pub(super) const RTT: usize = 68;
    pub(super) const TOTAL_RETRANS: usize = 100;
    pub(super) const BYTES_ACKED: usize = 120;
    pub(super) const BYTES_RECEIVED: usize = 128;
    pub(super) const SEGS_OUT: usize = 136;
    pub(super) const SEGS_IN: usize = 140;
    pub(super) const BYTES_SENT: usize = 200;
    pub(super) const BYTES_RETRANS: usize = 208;
}

/// Reads the answer to a request for sockets of `protocol`; `None` where it is none.
#[must_use]
pub fn parse(payload: &[u8], protocol: Protocol) -> Option<Socket> {
    let fixed: &[u8; MESSAGE_LENGTH] = payload.first_chunk()?;
    let (local_address, peer_address) = match fixed[FAMILY_OFFSET] {
        AF_INET => (v4(fixed, LOCAL_ADDRESS_OFFSET)?, v4(fixed, PEER_ADDRESS_OFFSET)?),
        AF_INET6 => (v6(fixed, LOCAL_ADDRESS_OFFSET)?, v6(fixed, PEER_ADDRESS_OFFSET)?),
        _ => return None,
    };
    let mut socket = Socket {
        protocol,
        state: SocketState::from_number(fixed[STATE_OFFSET])?,
        local_address,
        local_port: u16::from_be_bytes(array(fixed, LOCAL_PORT_OFFSET)?),
        peer_address,
        peer_port: u16::from_be_bytes(array(fixed, PEER_PORT_OFFSET)?),
        inode: u32::from_ne_bytes(array(fixed, INODE_OFFSET)?),
        cookie: u64::from_ne_bytes(array(fixed, COOKIE_OFFSET)?),
        only_v6: false,
        queues: Queues {
            receive: u32::from_ne_bytes(array(fixed, RECEIVE_QUEUE_OFFSET)?),
            send: u32::from_ne_bytes(array(fixed, SEND_QUEUE_OFFSET)?),
        },
        traffic: None,
    };
    for (kind, value) in Attributes::new(&payload[MESSAGE_LENGTH..]) {
        match kind {
            INET_DIAG_INFO => socket.traffic = traffic(value),
            INET_DIAG_SKV6ONLY => socket.only_v6 = value.first().is_some_and(|&only| only != 0),
            _ => {}
        }
    }
    Some(socket)
}

fn traffic(info: &[u8]) -> Option<TcpTraffic> {
    let wide = |offset| Some(u64::from_ne_bytes(array(info, offset)?));
    let narrow = |offset| Some(u32::from_ne_bytes(array(info, offset)?));
    let bytes_sent = match (wide(tcp_info::BYTES_SENT), wide(tcp_info::BYTES_RETRANS)) {
        (Some(sent), Some(again)) => sent.saturating_sub(again),
        // Before Linux 4.19: what the peer acknowledged, which is the same once all is.
        _ => wide(tcp_info::BYTES_ACKED)?,
    };
    Some(TcpTraffic {
        rtt_us: narrow(tcp_info::RTT)?,
        retransmits: narrow(tcp_info::TOTAL_RETRANS)?,
        bytes_sent,
        bytes_received: wide(tcp_info::BYTES_RECEIVED)?,
        // Since Linux 4.2.
        segments_sent: narrow(tcp_info::SEGS_OUT).unwrap_or_default(),
        segments_received: narrow(tcp_info::SEGS_IN).unwrap_or_default(),
    })
}

fn v4(bytes: &[u8], offset: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from(array(bytes, offset)?).into())
}

fn v6(bytes: &[u8], offset: usize) -> Option<IpAddr> {
    Some(IpAddr::V6(Ipv6Addr::from(array::<16>(bytes, offset)?)).to_canonical())
}

/// The bytes at `offset`, where there are so many.
pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(family: u8, state: u8) -> Vec<u8> {
        let mut bytes = vec![0; MESSAGE_LENGTH];
        bytes[FAMILY_OFFSET] = family;
        bytes[STATE_OFFSET] = state;
        bytes[LOCAL_PORT_OFFSET..][..2].copy_from_slice(&80_u16.to_be_bytes());
        bytes[PEER_PORT_OFFSET..][..2].copy_from_slice(&40000_u16.to_be_bytes());
        bytes[LOCAL_ADDRESS_OFFSET..][..4].copy_from_slice(&[10, 0, 0, 1]);
        bytes[PEER_ADDRESS_OFFSET..][..4].copy_from_slice(&[10, 0, 0, 2]);
        bytes[COOKIE_OFFSET..][..8].copy_from_slice(&0x1122_3344_5566_7788_u64.to_ne_bytes());
        bytes[RECEIVE_QUEUE_OFFSET..][..4].copy_from_slice(&5_u32.to_ne_bytes());
        bytes[SEND_QUEUE_OFFSET..][..4].copy_from_slice(&6_u32.to_ne_bytes());
        bytes[INODE_OFFSET..][..4].copy_from_slice(&4711_u32.to_ne_bytes());
        bytes
    }

    fn with_attribute(mut bytes: Vec<u8>, kind: u16, value: &[u8]) -> Vec<u8> {
        bytes.extend_from_slice(&u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes
    }

    #[test]
    fn a_socket_is_read() {
        let socket = parse(&message(AF_INET, 1), Protocol::Tcp).unwrap();
        assert_eq!(socket.state, SocketState::Established);
        assert_eq!(
            (socket.local_address.to_string().as_str(), socket.local_port),
            ("10.0.0.1", 80)
        );
        assert_eq!(
            (socket.peer_address.to_string().as_str(), socket.peer_port),
            ("10.0.0.2", 40000)
        );
        assert_eq!((socket.inode, socket.cookie), (4711, 0x1122_3344_5566_7788));
        assert_eq!(socket.queues, Queues { receive: 5, send: 6 });
        assert_eq!(socket.traffic, None);
    }

    #[test]
    fn a_mapped_address_is_that_of_ipv4() {
        let mut bytes = message(AF_INET6, 1);
        let mapped = "::ffff:10.0.0.9".parse::<Ipv6Addr>().unwrap().octets();
        bytes[LOCAL_ADDRESS_OFFSET..][..16].copy_from_slice(&mapped);
        let socket = parse(&bytes, Protocol::Tcp).unwrap();
        assert_eq!(socket.local_address.to_string(), "10.0.0.9");
    }

    #[test]
    fn bytes_sent_leave_out_what_was_sent_again() {
        let mut info = vec![0; 248];
        info[tcp_info::RTT..][..4].copy_from_slice(&250_u32.to_ne_bytes());
        info[tcp_info::TOTAL_RETRANS..][..4].copy_from_slice(&3_u32.to_ne_bytes());
        info[tcp_info::BYTES_ACKED..][..8].copy_from_slice(&901_u64.to_ne_bytes());
        info[tcp_info::BYTES_RECEIVED..][..8].copy_from_slice(&5000_u64.to_ne_bytes());
        info[tcp_info::SEGS_OUT..][..4].copy_from_slice(&70_u32.to_ne_bytes());
        info[tcp_info::SEGS_IN..][..4].copy_from_slice(&80_u32.to_ne_bytes());
        info[tcp_info::BYTES_SENT..][..8].copy_from_slice(&1000_u64.to_ne_bytes());
        info[tcp_info::BYTES_RETRANS..][..8].copy_from_slice(&100_u64.to_ne_bytes());
        let read = |info: &[u8]| {
            parse(&with_attribute(message(AF_INET, 1), INET_DIAG_INFO, info), Protocol::Tcp)
                .unwrap()
                .traffic
        };
        let traffic = read(&info).unwrap();
        assert_eq!((traffic.rtt_us, traffic.retransmits), (250, 3));
        assert_eq!((traffic.bytes_sent, traffic.bytes_received), (900, 5000));
        assert_eq!((traffic.segments_sent, traffic.segments_received), (70, 80));

        assert_eq!(read(&info[..160]).unwrap().bytes_sent, 901, "a kernel without bytes_sent");
        let without_segments = read(&info[..136]).unwrap();
        assert_eq!((without_segments.bytes_received, without_segments.segments_sent), (5000, 0));
        assert_eq!(read(&info[..100]), None, "a kernel without byte counts");
    }

    #[test]
    fn a_wildcard_that_is_only_for_ipv6_says_so() {
        let bytes = with_attribute(message(AF_INET6, 10), INET_DIAG_SKV6ONLY, &[1]);
        assert!(parse(&bytes, Protocol::Tcp).unwrap().only_v6);
    }

    #[test]
    fn what_is_no_socket_is_none() {
        assert_eq!(parse(&message(AF_INET, 1)[..71], Protocol::Tcp), None);
        assert_eq!(parse(&message(17, 1), Protocol::Tcp), None);
        assert_eq!(parse(&message(AF_INET, 99), Protocol::Tcp), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes, Protocol::Udp);
        }
    }
}
