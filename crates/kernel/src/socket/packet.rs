//! Packet sockets: `struct packet_diag_msg` (`linux/packet_diag.h`), as bytes.

use super::{OpenSocket, SocketName, diag_message::array};
use crate::netlink::message::Attributes;

pub(super) const FAMILY: u8 = 17;

/// The length of `struct packet_diag_msg`.
const MESSAGE_LENGTH: usize = 16;
const PROTOCOL_OFFSET: usize = 2;
const INODE_OFFSET: usize = 4;

const PACKET_DIAG_INFO: u16 = 0;

/// `PACKET_SHOW_INFO`.
const SHOW: u32 = 1;

/// `struct packet_diag_req`.
pub(super) fn request() -> [u8; 20] {
    let mut request = [0; 20];
    request[0] = FAMILY;
    request[8..12].copy_from_slice(&SHOW.to_ne_bytes());
    request
}

/// Reads the answer; `None` where it is none.
pub(super) fn parse(payload: &[u8]) -> Option<OpenSocket> {
    let fixed: &[u8; MESSAGE_LENGTH] = payload.first_chunk()?;
    let [FAMILY, socket_type, ..] = *fixed else { return None };
    let mut interface = 0;
    for (kind, value) in Attributes::new(&payload[MESSAGE_LENGTH..]) {
        if kind == PACKET_DIAG_INFO {
            interface = array(value, 0).map_or(0, u32::from_ne_bytes);
        }
    }
    Some(OpenSocket {
        protocol: u16::from_ne_bytes(array(fixed, PROTOCOL_OFFSET)?),
        local: SocketName::Packet { interface, name: None },
        ..OpenSocket::of_message([FAMILY, socket_type], fixed, INODE_OFFSET)?
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_socket_has_its_protocol_and_its_interface() {
        let mut bytes = vec![17, 3];
        bytes.extend(0x0806_u16.to_ne_bytes());
        for word in [4711_u32, 77, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend(0_u16.to_ne_bytes());
        bytes.extend(2_u32.to_ne_bytes());
        let socket = parse(&bytes).unwrap();
        assert_eq!((socket.protocol, socket.inode, socket.cookie), (0x806, 4711, Some(77)));
        assert_eq!(socket.local, SocketName::Packet { interface: 2, name: None });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
