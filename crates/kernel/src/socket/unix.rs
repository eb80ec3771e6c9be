//! Unix sockets: `struct unix_diag_msg` (`linux/unix_diag.h`), as bytes.

use super::{
    OpenSocket, Queues, SocketName, SocketState, diag_message::array, open::bytes_until_nul,
};
use crate::netlink::message::Attributes;

pub(super) const FAMILY: u8 = 1;

/// The length of `struct unix_diag_msg`.
const MESSAGE_LENGTH: usize = 16;
const INODE_OFFSET: usize = 4;

const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_RQLEN: u16 = 4;

/// `UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN`.
const SHOW: u32 = 1 | 4 | 0x10;

/// `struct unix_diag_req` for sockets in any state.
pub(super) fn request() -> [u8; 24] {
    let mut request = [0; 24];
    request[0] = FAMILY;
    request[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    request[12..16].copy_from_slice(&SHOW.to_ne_bytes());
    request
}

/// Reads the answer; `None` where it is none.
pub(super) fn parse(payload: &[u8]) -> Option<OpenSocket> {
    let fixed: &[u8; MESSAGE_LENGTH] = payload.first_chunk()?;
    let [FAMILY, socket_type, state, ..] = *fixed else { return None };
    let mut socket = OpenSocket {
        state: SocketState::from_number(state),
        ..OpenSocket::of_message([FAMILY, socket_type], fixed, INODE_OFFSET)?
    };
    for (kind, value) in Attributes::new(&payload[MESSAGE_LENGTH..]) {
        match kind {
            UNIX_DIAG_NAME => socket.local = name(value),
            UNIX_DIAG_PEER => socket.peer_inode = array(value, 0).map(u32::from_ne_bytes),
            UNIX_DIAG_RQLEN => socket.queues = queues(value),
            _ => {}
        }
    }
    Some(socket)
}

/// A path, or, after a NUL, a name in the abstract namespace, whose bytes all count (unix(7)).
fn name(bytes: &[u8]) -> SocketName {
    match bytes {
        [] => SocketName::Unknown,
        [0, name @ ..] => SocketName::Abstract(name.into()),
        path => SocketName::Path(bytes_until_nul(path).into()),
    }
}

fn queues(value: &[u8]) -> Option<Queues> {
    let word = |offset| Some(u32::from_ne_bytes(array(value, offset)?));
    Some(Queues { receive: word(0)?, send: word(4)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![1, 1, 10, 0];
        bytes.extend(4711_u32.to_ne_bytes());
        bytes.extend(77_u64.to_ne_bytes());
        bytes.extend(attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)));
        bytes
    }

    #[test]
    fn a_socket_has_its_name_its_peer_and_its_queues() {
        let queues = [3_u32.to_ne_bytes(), 128_u32.to_ne_bytes()].concat();
        let bytes = message(&[(0, b"/run/a b\0"), (2, &9_u32.to_ne_bytes()), (4, &queues)]);
        let socket = parse(&bytes).unwrap();
        assert_eq!((socket.family, socket.socket_type, socket.inode), (1, 1, 4711));
        assert_eq!((socket.state, socket.cookie), (Some(SocketState::Listen), Some(77)));
        assert_eq!(socket.local, SocketName::Path(b"/run/a b".as_slice().into()));
        assert_eq!(socket.peer_inode, Some(9));
        assert_eq!(socket.queues, Some(Queues { receive: 3, send: 128 }));

        let name = |bytes| parse(&message(&[(0, bytes)])).unwrap().local;
        assert_eq!(name(b"\0dbus\0x"), SocketName::Abstract(b"dbus\0x".as_slice().into()));
        assert_eq!(parse(&message(&[])).unwrap().local, SocketName::Unknown);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            let _ = parse(&bytes);
            let _ = parse(&[message(&[]), bytes].concat());
        }
    }
}
