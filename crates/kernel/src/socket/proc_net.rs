//! Listing sockets by `/proc/net/{tcp,tcp6,udp,udp6}` (`proc_net(5)`), where netlink fails.
//!
//! It tells neither traffic nor whether a wildcard is for IPv6 alone, and costs the kernel more.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use foldhash::quality::FixedState;
use netglass_model::Protocol;
use std::hash::BuildHasher;

use super::{InetFamily, Queues, Socket, SocketState, StateSet};
use crate::Error;

/// A line of the kernel's is about 150 bytes long.
const MAXIMUM_LINE_LENGTH: u64 = 4096;

/// Calls `visit` with each socket of `protocol` in one of `states` in the calling thread's network
/// namespace; `None` stands for a line that could not be understood.
pub(crate) fn list(
    protocol: Protocol,
    family: InetFamily,
    states: StateSet,
    mut visit: impl FnMut(Option<&Socket>),
) -> Result<(), Error> {
    let path = path(protocol, family);
    let error = |source| Error::read(&path, source);
    let file = match File::open(&path) {
        // A kernel without IPv6 has no sockets of it.
        Err(source) if source.kind() == ErrorKind::NotFound && family == InetFamily::V6 => {
            return Ok(());
        }
        file => file.map_err(error)?,
    };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    let mut is_heading = true;
    loop {
        line.clear();
        let mut limited = std::io::Read::take(&mut reader, MAXIMUM_LINE_LENGTH);
        if limited.read_until(b'\n', &mut line).map_err(error)? == 0 {
            return Ok(());
        }
        if std::mem::take(&mut is_heading) {
            continue;
        }
        match parse_line(&line, protocol) {
            Some(socket) if !states.contains(socket.state) => {}
            socket => visit(socket.as_ref()),
        }
    }
}

fn path(protocol: Protocol, family: InetFamily) -> PathBuf {
    let suffix = match family {
        InetFamily::V4 => "",
        InetFamily::V6 => "6",
    };
    // /proc/net is that of the process's first thread, which need not be in our namespace.
    format!("/proc/thread-self/net/{protocol}{suffix}").into()
}

/// Reads one line; `None` where it is none of a socket.
#[must_use]
pub fn parse_line(line: &[u8], protocol: Protocol) -> Option<Socket> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let _slot = fields.next()?;
    let (local_address, local_port) = parse_endpoint(fields.next()?)?;
    let (peer_address, peer_port) = parse_endpoint(fields.next()?)?;
    let state = u8::try_from(parse_hexadecimal(fields.next()?)?).ok()?;
    let (send, receive) = parse_pair(fields.next()?)?;
    // tr:tm->when, retrnsmt, uid, timeout, inode.
    let inode = std::str::from_utf8(fields.nth(4)?).ok()?.parse().ok()?;
    Some(Socket {
        protocol,
        state: SocketState::from_number(state)?,
        local_address,
        local_port,
        peer_address,
        peer_port,
        inode,
        cookie: FixedState::with_seed(u64::from(protocol.number())).hash_one((
            inode,
            local_address,
            local_port,
            peer_address,
            peer_port,
        )),
        only_v6: false,
        queues: Queues { receive, send },
        traffic: None,
    })
}

/// `tx_queue:rx_queue`.
fn parse_pair(field: &[u8]) -> Option<(u32, u32)> {
    let colon = field.iter().position(|&byte| byte == b':')?;
    Some((parse_hexadecimal(&field[..colon])?, parse_hexadecimal(&field[colon + 1..])?))
}

/// `0100007F:0050`: the address as 32-bit words in the machine's byte order.
fn parse_endpoint(field: &[u8]) -> Option<(IpAddr, u16)> {
    let colon = field.iter().position(|&byte| byte == b':')?;
    let (address, port) = (&field[..colon], &field[colon + 1..]);
    let port = u16::try_from(parse_hexadecimal(port)?).ok()?;
    let mut octets = [0; 16];
    let words = address.chunks_exact(8);
    if !words.remainder().is_empty() || words.len() > 4 {
        return None;
    }
    for (octets, word) in octets.chunks_exact_mut(4).zip(words) {
        octets.copy_from_slice(&parse_hexadecimal(word)?.to_ne_bytes());
    }
    let address = match address.len() {
        8 => Ipv4Addr::from(*octets.first_chunk::<4>()?).into(),
        32 => IpAddr::V6(Ipv6Addr::from(octets)).to_canonical(),
        _ => return None,
    };
    Some((address, port))
}

fn parse_hexadecimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V4: &[u8] = b"   1: 0100007F:0050 0200007F:9C40 01 00000006:00000005 00:00000000 00000000     0        0 4711 1 0000000000000000 20 4 30 10 -1\n";
    const V6: &[u8] = b"   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 88 1 0000000000000000 100 0 0 10 0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_is_a_socket() {
        let socket = parse_line(V4, Protocol::Tcp).unwrap();
        assert_eq!(socket.state, SocketState::Established);
        assert_eq!(
            (socket.local_address.to_string().as_str(), socket.local_port),
            ("127.0.0.1", 80)
        );
        assert_eq!(
            (socket.peer_address.to_string().as_str(), socket.peer_port),
            ("127.0.0.2", 40000)
        );
        assert_eq!(socket.inode, 4711);
        assert_eq!(socket.queues, Queues { receive: 5, send: 6 });

        let socket = parse_line(V6, Protocol::Tcp).unwrap();
        assert_eq!((socket.state, socket.inode), (SocketState::Listen, 88));
        assert_eq!((socket.local_address.to_string().as_str(), socket.local_port), ("::1", 22));
    }

    #[test]
    fn a_line_that_is_cut_is_none() {
        for length in 0..90 {
            assert_eq!(parse_line(&V4[..length], Protocol::Tcp), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_line(&line, Protocol::Udp);
        }

        #[test]
        fn any_fields_are_read_or_refused(line in "[0-9A-F: ]{0,160}") {
            let _ = parse_line(line.as_bytes(), Protocol::Tcp);
        }
    }
}
