//! Filters in the language of tcpdump (pcap-filter(7)).

use std::sync::Arc;

use netglass_packet::{LinkType, Packet};

use super::{
    linktype_of,
    program::{self, Instruction},
    reason,
};
use crate::Error;

/// A filter for packets that begin in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    program: Arc<[Instruction]>,
}

impl Filter {
    /// Translates `expression`, in the language of pcap-filter(7), for packets of `link_type`. An empty
    /// one matches all of them. Names of hosts are looked up here.
    pub fn compile(expression: &str, link_type: LinkType) -> Result<Self, Error> {
        let capture = pcap::Capture::dead(linktype_of(link_type))
            .map_err(|error| failure(expression, reason(&error)))?;
        let program = compile(&capture, expression)?;
        let program = program.get_instructions().iter().map(|it| parse(&it.to_string())).collect();
        let program: Option<_> = program;
        program
            .map(|program| Self { program })
            .ok_or_else(|| failure(expression, "libpcap's program cannot be read".to_owned()))
    }

    /// Whether it matches. `packet` has to be of the link type for which the filter was compiled.
    #[must_use]
    pub fn matches(&self, packet: &Packet<'_>) -> bool {
        program::run(&self.program, packet.bytes, packet.wire_length) > 0
    }
}

/// Translates `expression` for the packets of `capture`.
pub(super) fn compile<T: pcap::Activated>(
    capture: &pcap::Capture<T>,
    expression: &str,
) -> Result<pcap::BpfProgram, Error> {
    let understood = |expression: &str| capture.compile(expression, true);
    understood(expression).map_err(|error| {
        let reason = reason(&error);
        let hint =
            if reason.contains("syntax error") { hint(expression, understood) } else { None };
        failure(expression, hint.map_or(reason.clone(), |hint| format!("{reason}; {hint}")))
    })
}

/// libpcap does not say where it stopped understanding: this tries what comes before each word.
fn hint<T, E>(expression: &str, understood: impl Fn(&str) -> Result<T, E>) -> Option<String> {
    let (before, after) = expression
        .match_indices(char::is_whitespace)
        .rev()
        .map(|(at, _)| expression.split_at(at))
        .find(|(before, after)| {
            !before.trim().is_empty() && !after.trim().is_empty() && understood(before).is_ok()
        })?;
    Some(format!("{:?} is understood, but not {:?} behind it", before.trim(), after.trim()))
}

fn failure(expression: &str, reason: String) -> Error {
    Error::Filter { expression: expression.to_owned(), reason }
}

/// Reads an instruction as libpcap's crate shows it: its code, both jumps and `k`, in decimal.
fn parse(shown: &str) -> Option<Instruction> {
    let mut fields = shown.split(' ');
    let instruction = Instruction {
        code: fields.next()?.parse().ok()?,
        jump_true: fields.next()?.parse().ok()?,
        jump_false: fields.next()?.parse().ok()?,
        k: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(instruction)
}

#[cfg(test)]
mod tests {
    use netglass_model::Timestamp;

    use super::*;

    /// A datagram from 10.0.0.1:40000 to 10.0.0.2:53 of `wire_length` bytes, cut to its headers.
    fn datagram() -> Vec<u8> {
        let mut bytes = vec![0; 42];
        bytes[12..14].copy_from_slice(&[8, 0]);
        bytes[14] = 0x45;
        bytes[23] = 17;
        bytes[26..30].copy_from_slice(&[10, 0, 0, 1]);
        bytes[30..34].copy_from_slice(&[10, 0, 0, 2]);
        bytes[34..36].copy_from_slice(&40000_u16.to_be_bytes());
        bytes[36..38].copy_from_slice(&53_u16.to_be_bytes());
        bytes
    }

    fn matches(expression: &str, link_type: LinkType, bytes: &[u8]) -> bool {
        Filter::compile(expression, link_type).unwrap().matches(&Packet {
            at: Timestamp::default(),
            link_type,
            interface: 0,
            wire_length: 1042,
            bytes,
        })
    }

    #[test]
    fn packets_are_chosen_by_their_headers() {
        let datagram = datagram();
        for expression in [
            "",
            "udp port 53",
            "src host 10.0.0.1 and dst net 10.0.0.0/24",
            "ip[8] = 0 and not tcp",
            "udp portrange 50-60",
            "ip protochain 17",
        ] {
            assert!(matches(expression, LinkType::ETHERNET, &datagram), "{expression}");
        }
        for expression in ["tcp", "src port 53", "ip6", "icmp or arp", "vlan 7"] {
            assert!(!matches(expression, LinkType::ETHERNET, &datagram), "{expression}");
        }
    }

    #[test]
    fn lengths_are_those_on_the_wire() {
        assert!(matches("len = 1042 and greater 1000", LinkType::ETHERNET, &datagram()));
        assert!(!matches("less 100", LinkType::ETHERNET, &datagram()));
    }

    #[test]
    fn headers_are_looked_for_where_the_link_type_has_them() {
        let datagram = datagram();
        assert!(matches("udp dst port 53", LinkType::RAW, &datagram[14..]));
        assert!(!matches("udp dst port 53", LinkType::ETHERNET, &datagram[14..]));
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_place() {
        let error =
            |expression| Filter::compile(expression, LinkType::ETHERNET).unwrap_err().to_string();
        let message = error("udp and prot 80");
        assert!(message.contains("\"udp and prot 80\"") && message.contains("syntax error"));
        assert!(message.contains("\"udp\" is understood, but not \"and prot 80\" behind it"));
        assert!(message.contains("pcap-filter(7)"), "{message}");
        let message = error("port 99999");
        assert!(message.contains("99999"), "{message}");
        error("udp\0");
    }
}
