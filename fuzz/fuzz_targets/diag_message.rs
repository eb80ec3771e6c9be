//! Sockets as `sock_diag` tells them: the fixed part alone says which socket it is, attributes only
//! add to it, and a socket that was read can be written and read again.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use netglass_fuzz::{prefixes, splice};
use netglass_kernel::socket::{Queues, Socket, TcpTraffic, diag_message::parse};
use netglass_model::Protocol;

const FIXED_LENGTH: usize = 72;

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&splice(&sample(), data));
});

fn check(payload: &[u8]) {
    for protocol in Protocol::ALL {
        let socket = parse(payload, protocol);
        for prefix in prefixes(payload) {
            let of_prefix = parse(prefix, protocol);
            if prefix.len() < FIXED_LENGTH {
                assert_eq!(of_prefix, None);
            } else {
                assert_eq!(of_prefix.map(without_attributes), socket.map(without_attributes));
            }
        }
        let Some(socket) = socket else { continue };
        assert_eq!(socket.protocol, protocol);
        assert_eq!(socket.local_address, socket.local_address.to_canonical());
        assert_eq!(socket.peer_address, socket.peer_address.to_canonical());
        assert_eq!(parse(&write(&socket), protocol), Some(socket));
    }
}

fn without_attributes(socket: Socket) -> Socket {
    Socket { only_v6: false, traffic: None, ..socket }
}

/// `struct inet_diag_msg` with the attributes that are read.
fn write(socket: &Socket) -> Vec<u8> {
    let mut bytes = vec![0; FIXED_LENGTH];
    bytes[1] = socket.state as u8;
    bytes[4..6].copy_from_slice(&socket.local_port.to_be_bytes());
    bytes[6..8].copy_from_slice(&socket.peer_port.to_be_bytes());
    let ends = [(8, socket.local_address), (24, socket.peer_address)];
    let is_v4 = ends.iter().all(|(_, address)| address.is_ipv4());
    bytes[0] = if is_v4 { 2 } else { 10 };
    for (offset, address) in ends {
        match address {
            IpAddr::V4(address) if is_v4 => {
                bytes[offset..][..4].copy_from_slice(&address.octets());
            }
            // Beside an address of IPv6, one of IPv4 is mapped.
            IpAddr::V4(address) => {
                bytes[offset..][..16].copy_from_slice(&address.to_ipv6_mapped().octets());
            }
            IpAddr::V6(address) => bytes[offset..][..16].copy_from_slice(&address.octets()),
        }
    }
    bytes[44..52].copy_from_slice(&socket.cookie.to_ne_bytes());
    bytes[56..60].copy_from_slice(&socket.queues.receive.to_ne_bytes());
    bytes[60..64].copy_from_slice(&socket.queues.send.to_ne_bytes());
    bytes[68..72].copy_from_slice(&socket.inode.to_ne_bytes());
    if let Some(traffic) = socket.traffic {
        // As long as `struct tcp_info` has been since Linux 4.19.
        let mut info = [0; 216];
        info[68..72].copy_from_slice(&traffic.rtt_us.to_ne_bytes());
        info[100..104].copy_from_slice(&traffic.retransmits.to_ne_bytes());
        info[128..136].copy_from_slice(&traffic.bytes_received.to_ne_bytes());
        info[136..140].copy_from_slice(&traffic.segments_sent.to_ne_bytes());
        info[140..144].copy_from_slice(&traffic.segments_received.to_ne_bytes());
        info[200..208].copy_from_slice(&traffic.bytes_sent.to_ne_bytes());
        attribute(&mut bytes, 2, &info);
    }
    attribute(&mut bytes, 11, &[u8::from(socket.only_v6)]);
    bytes
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap();
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn sample() -> Vec<u8> {
    write(&Socket {
        protocol: Protocol::Tcp,
        state: netglass_kernel::socket::SocketState::Established,
        local_address: IpAddr::from([10, 0, 0, 1]),
        local_port: 80,
        peer_address: IpAddr::from([10, 0, 0, 2]),
        peer_port: 40000,
        inode: 4711,
        cookie: 99,
        only_v6: false,
        queues: Queues { receive: 3, send: 4 },
        traffic: Some(TcpTraffic {
            rtt_us: 250,
            retransmits: 1,
            bytes_sent: 1000,
            bytes_received: 2000,
            segments_sent: 7,
            segments_received: 5,
        }),
    })
}
