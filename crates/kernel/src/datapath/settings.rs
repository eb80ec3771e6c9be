//! What the kernel programs are told before they are loaded (`bpf/datapath/records.h`).

use std::net::IpAddr;

use netglass_model::NamespaceInode;

use super::{DatapathOptions, MOST_CAPTURE};
use crate::Error;

/// The length of `struct datapath_settings`.
const LENGTH: usize = 640;
const MOST_PREFIXES: usize = 16;
const MOST_NAMESPACES: usize = 16;
const NAMESPACES_OFFSET: usize = 32;
const PROTOCOLS_OFFSET: usize = 96;
const PREFIXES_OFFSET: usize = 128;

/// `enum datapath_flag`.
pub(super) mod flag {
    pub(crate) const ADDRESSES: u32 = 1 << 0;
    pub(crate) const PORTS: u32 = 1 << 1;
    pub(crate) const PROTOCOLS: u32 = 1 << 2;
    pub(crate) const NAMESPACES: u32 = 1 << 3;
    pub(crate) const INTERFACES: u32 = 1 << 4;
    pub(crate) const RECEIVER: u32 = 1 << 5;
}

/// `struct datapath_settings`.
pub(super) fn settings(
    options: &DatapathOptions,
    namespaces: &[NamespaceInode],
    benign_reason: u32,
    has_receiver: bool,
    packet_key: u64,
) -> Result<[u8; LENGTH], Error> {
    for (what, count, most) in [
        ("network namespaces", namespaces.len(), MOST_NAMESPACES),
        ("networks", options.networks.len(), MOST_PREFIXES),
    ] {
        if count > most {
            return Err(Error::TooMany { what, count, most });
        }
    }
    let flags = [
        (flag::ADDRESSES, !options.networks.is_empty()),
        (flag::PORTS, !options.ports.is_empty()),
        (flag::PROTOCOLS, !options.protocols.is_empty()),
        (flag::NAMESPACES, !namespaces.is_empty()),
        (flag::INTERFACES, options.selects_interfaces()),
        (flag::RECEIVER, has_receiver),
    ];
    let flags: u32 = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum();
    let number = |count: usize| u32::try_from(count).unwrap_or_default();
    let mut settings = [0; LENGTH];
    for (index, word) in [
        flags,
        options.capture_length.min(MOST_CAPTURE),
        benign_reason,
        number(options.networks.len()),
    ]
    .into_iter()
    .enumerate()
    {
        put(&mut settings, 4 * index, &word.to_ne_bytes());
    }
    put(&mut settings, 16, &packet_key.to_ne_bytes());
    put(&mut settings, 24, &number(namespaces.len()).to_ne_bytes());
    for (index, namespace) in namespaces.iter().enumerate() {
        // Namespace inodes are 32 bits wide in the kernel (struct ns_common).
        let inode = u32::try_from(namespace.0).unwrap_or_default();
        put(&mut settings, NAMESPACES_OFFSET + 4 * index, &inode.to_ne_bytes());
    }
    for protocol in &options.protocols {
        if let Some(byte) = settings.get_mut(PROTOCOLS_OFFSET + usize::from(protocol / 8)) {
            *byte |= 1 << (protocol % 8);
        }
    }
    for (index, (address, length)) in options.networks.iter().enumerate() {
        let (address, mask) = network(*address, *length);
        let at = PREFIXES_OFFSET + 32 * index;
        put(&mut settings, at, &(address & mask).to_be_bytes());
        put(&mut settings, at + 16, &mask.to_be_bytes());
    }
    Ok(settings)
}

fn put(settings: &mut [u8; LENGTH], at: usize, value: &[u8]) {
    settings.iter_mut().skip(at).zip(value).for_each(|(place, byte)| *place = *byte);
}

/// A network as the kernel programs compare addresses: those of IPv4 are mapped into IPv6.
fn network(address: IpAddr, length: u8) -> (u128, u128) {
    let (address, length) = match address {
        IpAddr::V4(address) => (address.to_ipv6_mapped(), u32::from(length.min(32)) + 96),
        IpAddr::V6(address) => (address, u32::from(length.min(128))),
    };
    (address.to_bits(), u128::MAX.checked_shl(128 - length).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = include_str!("../bpf/datapath/records.h");

    #[test]
    fn settings_are_those_of_the_header() {
        assert!(HEADER.contains(&format!("sizeof(struct datapath_settings) == {LENGTH}, ")));
        assert!(HEADER.contains(&format!("#define MAX_CAPTURE {MOST_CAPTURE}\n")));
        assert!(HEADER.contains(&format!("#define MAX_PREFIXES {MOST_PREFIXES}\n")));
        assert!(HEADER.contains(&format!("#define MAX_NAMESPACES {MOST_NAMESPACES}\n")));
        for (name, flag) in [
            ("SELECT_ADDRESSES = 1 << 0", flag::ADDRESSES),
            ("SELECT_PORTS = 1 << 1", flag::PORTS),
            ("SELECT_PROTOCOLS = 1 << 2", flag::PROTOCOLS),
            ("SELECT_NAMESPACES = 1 << 3", flag::NAMESPACES),
            ("SELECT_INTERFACES = 1 << 4", flag::INTERFACES),
            ("HAS_RECEIVER = 1 << 5", flag::RECEIVER),
        ] {
            assert!(HEADER.contains(name), "{name}");
            assert!(name.ends_with(&format!("<< {}", flag.trailing_zeros())), "{name}");
        }
    }

    #[test]
    fn each_selection_has_its_place() {
        let options = DatapathOptions {
            networks: vec![("10.1.2.3".parse().unwrap(), 8)],
            protocols: vec![6, 58],
            capture_length: 100_000,
            ..DatapathOptions::default()
        };
        let settings = settings(&options, &[NamespaceInode(7)], 1, true, 5).unwrap();
        let word = |at: usize| u32::from_ne_bytes(*settings[at..].first_chunk().unwrap());
        assert_eq!(word(0), flag::ADDRESSES | flag::PROTOCOLS | flag::NAMESPACES | flag::RECEIVER);
        assert_eq!((word(4), word(8), word(12)), (MOST_CAPTURE, 1, 1));
        assert_eq!((word(16), word(24), word(32)), (5, 1, 7));
        assert_eq!((settings[96], settings[96 + 7]), (1 << 6, 1 << 2));
        assert_eq!(settings[128..144], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 0]);
        let many = DatapathOptions {
            networks: vec![("::1".parse().unwrap(), 128); MOST_PREFIXES + 1],
            ..options
        };
        assert!(super::settings(&many, &[], 1, true, 5).is_err());
    }
}
