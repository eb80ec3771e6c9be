//! Netlink sockets: `struct netlink_diag_msg` (`linux/netlink_diag.h`), as bytes.

use super::{OpenSocket, SocketName, diag_message::array};
use crate::netlink::message::Attributes;

pub(super) const FAMILY: u8 = 16;

/// The length of `struct netlink_diag_msg`.
const MESSAGE_LENGTH: usize = 28;
const PORT_OFFSET: usize = 4;
const INODE_OFFSET: usize = 16;

const NETLINK_DIAG_GROUPS: u16 = 1;

/// `NDIAG_PROTO_ALL`.
const EVERY_PROTOCOL: u8 = 255;
/// `NDIAG_SHOW_GROUPS`.
const SHOW: u32 = 2;

/// `struct netlink_diag_req`.
pub(super) fn request() -> [u8; 20] {
    let mut request = [0; 20];
    request[0] = FAMILY;
    request[1] = EVERY_PROTOCOL;
    request[8..12].copy_from_slice(&SHOW.to_ne_bytes());
    request
}

/// Reads the answer; `None` where it is none.
pub(super) fn parse(payload: &[u8]) -> Option<OpenSocket> {
    let fixed: &[u8; MESSAGE_LENGTH] = payload.first_chunk()?;
    let [FAMILY, socket_type, protocol, ..] = *fixed else { return None };
    let mut groups = 0;
    for (kind, value) in Attributes::new(&payload[MESSAGE_LENGTH..]) {
        if kind == NETLINK_DIAG_GROUPS {
            // One bit for each; those beyond the 32nd follow.
            groups = array(value, 0).map_or(0, u32::from_ne_bytes);
        }
    }
    Some(OpenSocket {
        protocol: u16::from(protocol),
        local: SocketName::Netlink { port: u32::from_ne_bytes(array(fixed, PORT_OFFSET)?), groups },
        ..OpenSocket::of_message([FAMILY, socket_type], fixed, INODE_OFFSET)?
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_socket_has_its_protocol_its_port_and_its_groups() {
        let mut bytes = vec![16, 3, 15, 0];
        for word in [4242_u32, 0, 0, 4711, 77, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend(1_u16.to_ne_bytes());
        bytes.extend(5_u32.to_ne_bytes());
        let socket = parse(&bytes).unwrap();
        assert_eq!((socket.protocol, socket.inode, socket.cookie), (15, 4711, Some(77)));
        assert_eq!(socket.local, SocketName::Netlink { port: 4242, groups: 5 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
