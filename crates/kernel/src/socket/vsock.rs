//! Sockets between a virtual machine and its host: `struct vsock_diag_msg`
//! (`linux/vm_sockets_diag.h`), as bytes.

use super::{OpenSocket, SocketName, SocketState, diag_message::array};

pub(super) const FAMILY: u8 = 40;

/// The length of `struct vsock_diag_msg`.
const MESSAGE_LENGTH: usize = 32;
const LOCAL_OFFSET: usize = 4;
const REMOTE_OFFSET: usize = 12;
const INODE_OFFSET: usize = 20;

/// `struct vsock_diag_req` for sockets in any state.
pub(super) fn request() -> [u8; 24] {
    let mut request = [0; 24];
    request[0] = FAMILY;
    request[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    request
}

/// Reads the answer; `None` where it is none.
pub(super) fn parse(payload: &[u8]) -> Option<OpenSocket> {
    let fixed: &[u8; MESSAGE_LENGTH] = payload.first_chunk()?;
    let [FAMILY, socket_type, state, ..] = *fixed else { return None };
    let word = |offset| Some(u32::from_ne_bytes(array(fixed, offset)?));
    let name = |offset| Some(SocketName::Vsock { context: word(offset)?, port: word(offset + 4)? });
    let state = SocketState::from_number(state);
    let is_connected = !matches!(state, Some(SocketState::Listen | SocketState::Close) | None);
    Some(OpenSocket {
        state,
        local: name(LOCAL_OFFSET)?,
        remote: if is_connected { name(REMOTE_OFFSET)? } else { SocketName::Unknown },
        ..OpenSocket::of_message([FAMILY, socket_type], fixed, INODE_OFFSET)?
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_socket_has_both_ends() {
        let message = |state| {
            let mut bytes = vec![40, 1, state, 0];
            for word in [3_u32, 1234, 2, 9999, 4711, 77, 0] {
                bytes.extend(word.to_ne_bytes());
            }
            parse(&bytes).unwrap()
        };
        let socket = message(1);
        assert_eq!(socket.local, SocketName::Vsock { context: 3, port: 1234 });
        assert_eq!(socket.remote, SocketName::Vsock { context: 2, port: 9999 });
        assert_eq!((socket.inode, socket.cookie), (4711, Some(77)));
        assert_eq!(message(10).remote, SocketName::Unknown);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
