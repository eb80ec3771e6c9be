//! What the packets of a server show without their keys (RFC 8999): versions and connection
//! identifiers.

/// How long an identifier is at most, in the versions that we speak.
const LONGEST_IDENTIFIER: usize = 20;
/// How many versions of a server are kept.
const MAXIMUM_VERSIONS: usize = 32;

/// The packet at the beginning of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ServerPacket<'a> {
    /// The server speaks other versions.
    Versions(Vec<u32>),
    /// The server wants to see its token first.
    Retry,
    /// The server's first flight, with the identifier that it chose.
    Handshake(&'a [u8]),
}

/// Nothing where it is of another kind, or of none.
pub(crate) fn parse(datagram: &[u8]) -> Option<ServerPacket<'_>> {
    const LONG: u8 = 0x80;
    const RETRY: u8 = 0b11;
    let (&first, rest) = datagram.split_first()?;
    if first & LONG == 0 {
        return None;
    }
    let (version, rest) = rest.split_first_chunk()?;
    let (_, rest) = identifier(rest)?;
    let (source, rest) = identifier(rest)?;
    match u32::from_be_bytes(*version) {
        0 => {
            let versions = rest.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes));
            Some(ServerPacket::Versions(versions.take(MAXIMUM_VERSIONS).collect()))
        }
        _ if (first >> 4) & 0b11 == RETRY => Some(ServerPacket::Retry),
        _ => Some(ServerPacket::Handshake(source)),
    }
}

fn identifier(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let length = usize::from(length);
    if length > LONGEST_IDENTIFIER { None } else { rest.split_at_checked(length) }
}

/// As hexadecimal digits.
pub(super) fn show(identifier: &[u8]) -> String {
    use std::fmt::Write;
    identifier.iter().fold(String::with_capacity(2 * identifier.len()), |mut digits, byte| {
        // Writing to a string never fails.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(first: u8, version: u32, destination: &[u8], source: &[u8], rest: &[u8]) -> Vec<u8> {
        let length = |identifier: &[u8]| u8::try_from(identifier.len()).unwrap();
        let mut packet = vec![first];
        packet.extend(version.to_be_bytes());
        packet.push(length(destination));
        packet.extend(destination);
        packet.push(length(source));
        packet.extend(source);
        packet.extend(rest);
        packet
    }

    #[test]
    fn each_kind_is_told_from_the_others() {
        let versions = packet(0x80, 0, b"a", b"b", &[0x6b, 0x33, 0x43, 0xcf, 0, 0, 0, 9, 1]);
        assert_eq!(parse(&versions), Some(ServerPacket::Versions(vec![0x6b33_43cf, 9])));
        assert_eq!(parse(&packet(0xf0, 1, b"a", b"b", b"token")), Some(ServerPacket::Retry));
        let initial = packet(0xc3, 1, b"a", b"bcd", b"sealed");
        assert_eq!(parse(&initial), Some(ServerPacket::Handshake(b"bcd")));
        assert_eq!(parse(b"\x40sealed"), None);
        assert_eq!(show(b"\x01\xff"), "01ff");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(ServerPacket::Handshake(source)) = parse(&bytes) {
                prop_assert!(source.len() <= LONGEST_IDENTIFIER);
            }
        }

        #[test]
        fn identifiers_are_found(
            destination in proptest::collection::vec(any::<u8>(), 0..=20),
            source in proptest::collection::vec(any::<u8>(), 0..=20),
        ) {
            let bytes = packet(0xc0, 1, &destination, &source, b"sealed");
            prop_assert_eq!(parse(&bytes), Some(ServerPacket::Handshake(&source)));
            for length in 0..bytes.len() - 6 {
                prop_assert_eq!(parse(&bytes[..length]), None);
            }
        }
    }
}
