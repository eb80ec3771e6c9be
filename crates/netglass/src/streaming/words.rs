//! The kernel's own names of what calls are about.

use netglass_model::{Call, CallConnection};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;
const AF_PACKET: u16 = 17;
const AF_VSOCK: u16 = 40;

/// `linux/socket.h`, of those that are met at all.
const FAMILIES: [(u16, &str); 16] = [
    (0, "AF_UNSPEC"),
    (AF_UNIX, "AF_UNIX"),
    (AF_INET, "AF_INET"),
    (3, "AF_AX25"),
    (4, "AF_IPX"),
    (AF_INET6, "AF_INET6"),
    (15, "AF_KEY"),
    (AF_NETLINK, "AF_NETLINK"),
    (AF_PACKET, "AF_PACKET"),
    (21, "AF_RDS"),
    (29, "AF_CAN"),
    (30, "AF_TIPC"),
    (31, "AF_BLUETOOTH"),
    (38, "AF_ALG"),
    (AF_VSOCK, "AF_VSOCK"),
    (44, "AF_XDP"),
];

/// `AF_…`, of what is known.
pub(super) fn family_name(family: u16) -> Option<&'static str> {
    FAMILIES.iter().find(|(number, _)| *number == family).map(|(_, name)| *name)
}

/// The family of a call's socket in words; of an unknown one its number stands for it.
pub(super) fn family_of(call: &Call) -> Option<Result<&'static str, u16>> {
    call.family().map(|family| family_name(family).ok_or(family))
}

/// What a connection speaks: of IP sockets the protocol, of others the type of the socket.
pub(super) fn protocol_name(connection: &CallConnection) -> Option<&'static str> {
    let CallConnection { family, protocol, socket_type, .. } = *connection;
    protocol_of(family, protocol, socket_type)
}

/// The same of a socket of that family, protocol and type.
pub(super) fn protocol_of(family: u16, protocol: u16, socket_type: u16) -> Option<&'static str> {
    match family {
        AF_INET | AF_INET6 => match protocol {
            1 => Some("icmp"),
            2 => Some("igmp"),
            6 => Some("tcp"),
            17 => Some("udp"),
            33 => Some("dccp"),
            58 => Some("icmpv6"),
            132 => Some("sctp"),
            136 => Some("udplite"),
            255 => Some("raw"),
            // MPTCP is a socket of its own beside those of TCP that it is made of.
            262 => Some("mptcp"),
            _ => None,
        },
        AF_NETLINK => Some("netlink"),
        AF_PACKET => Some("packet"),
        _ => match socket_type {
            1 => Some("stream"),
            2 => Some("dgram"),
            3 => Some("raw"),
            5 => Some("seqpacket"),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_their_names() {
        assert!(FAMILIES.is_sorted_by_key(|&(number, _)| number));
        assert_eq!(family_name(2), Some("AF_INET"));
        assert_eq!(family_name(99), None);
    }
}
