//! Addresses as text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netglass_model::digits::{SMALL, append_padded, append_written, hexadecimal};

/// Appends an address.
pub(super) fn append_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => append_v4(address, out),
        IpAddr::V6(address) => append_v6(address, out),
    }
}

fn append_v4(address: Ipv4Addr, out: &mut Vec<u8>) {
    // Room for the longest one, and for what is too much of its last number.
    append_written(out, |text: &mut [u8; 16]| {
        let mut end = 0;
        for octet in address.octets() {
            let (digits, count) = DOTTED[usize::from(octet)];
            text[end..end + 4].copy_from_slice(&digits);
            end += usize::from(count);
        }
        // Without the last dot.
        end - 1
    });
}

/// The digits of each octet with a dot behind them, and how many characters that is.
const DOTTED: [([u8; 4], u8); 256] = {
    let mut all = SMALL;
    let mut octet = 0;
    while octet < all.len() {
        let (text, count) = &mut all[octet];
        text[*count as usize] = b'.';
        *count += 1;
        octet += 1;
    }
    all
};

/// As RFC 5952, 4 recommends: without leading zeros, and the first one of the longest runs of zeros, if
/// that is of two groups at least, as two colons.
fn append_v6(address: Ipv6Addr, out: &mut Vec<u8>) {
    let groups = address.segments();
    if let [0, 0, 0, 0, 0, 0xffff, ..] = groups {
        out.extend_from_slice(b"::ffff:");
        let [.., a, b, c, d] = address.octets();
        return append_v4(Ipv4Addr::new(a, b, c, d), out);
    }
    let (begin, end) = longest_zeros(groups);
    for (number, group) in groups.into_iter().enumerate() {
        if (begin..end).contains(&number) {
            if number == begin {
                out.extend_from_slice(b"::");
            }
            continue;
        }
        if number > 0 && number != end {
            out.push(b':');
        }
        append_group(group, out);
    }
}

fn append_group(group: u16, out: &mut Vec<u8>) {
    let zeros = (group | 1).leading_zeros() / 4;
    let digits = u64::from_be_bytes(hexadecimal(group.into()));
    // Four digits are zeros that it has no room for.
    append_padded((digits << ((4 + zeros) * 8)).to_be_bytes(), 4 - zeros as usize, out);
}

/// From which group to which one. As an end after the beginning would be that of no run, there is none where
/// both are the same.
fn longest_zeros(groups: [u16; 8]) -> (usize, usize) {
    let (mut longest, mut begin) = ((groups.len(), groups.len()), 0);
    for (number, group) in groups.into_iter().enumerate() {
        if group != 0 {
            begin = number + 1;
        } else if number + 1 - begin > (longest.1 - longest.0).max(1) {
            longest = (begin, number + 1);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(address: IpAddr) -> String {
        let mut out = Vec::new();
        append_address(address, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn addresses_are_as_displayed_wherever_they_have_zeros() {
        for zeros in 0..=u8::MAX {
            for group in [1, 0x20, 0x300, 0xffff] {
                let groups = [0, 1, 2, 3, 4, 5, 6, 7_u16];
                let groups = groups.map(|bit| if zeros >> bit & 1 == 1 { 0 } else { group });
                let address = IpAddr::V6(groups.into());
                assert_eq!(shown(address), address.to_string());
            }
        }
    }

    proptest! {
        #[test]
        fn addresses_are_as_displayed(four: u32, six: u128, zeros: u128) {
            let (four, six) = (Ipv4Addr::from_bits(four), Ipv6Addr::from_bits(six & zeros));
            let addresses = [IpAddr::V4(four), six.into(), four.to_ipv6_mapped().into()];
            for address in addresses {
                prop_assert_eq!(shown(address), address.to_string());
            }
        }
    }
}
