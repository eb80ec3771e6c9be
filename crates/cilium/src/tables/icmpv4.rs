//! Types and codes of ICMP, by the names that the packet library of Cilium gives them.

/// The name of a type; none if it is unknown.
pub(crate) const fn type_name(number: u8) -> Option<&'static str> {
    Some(match number {
        0 => "EchoReply",
        3 => "DestinationUnreachable",
        4 => "SourceQuench",
        5 => "Redirect",
        8 => "EchoRequest",
        9 => "RouterAdvertisement",
        10 => "RouterSolicitation",
        11 => "TimeExceeded",
        12 => "ParameterProblem",
        13 => "TimestampRequest",
        14 => "TimestampReply",
        15 => "InfoRequest",
        16 => "InfoReply",
        17 => "AddressMaskRequest",
        18 => "AddressMaskReply",
        _ => return None,
    })
}

/// The name of a type's code; none if it has none.
pub(crate) const fn code_name(type_number: u8, code: u8) -> Option<&'static str> {
    Some(match (type_number, code) {
        (3 | 5, 0) => "Net",
        (3 | 5, 1) => "Host",
        (3, 2) => "Protocol",
        (3, 3) => "Port",
        (3, 4) => "FragmentationNeeded",
        (3, 5) => "SourceRoutingFailed",
        (3, 6) => "NetUnknown",
        (3, 7) => "HostUnknown",
        (3, 8) => "SourceIsolated",
        (3, 9) => "NetAdminProhibited",
        (3, 10) => "HostAdminProhibited",
        (3, 11) => "NetTOS",
        (3, 12) => "HostTOS",
        (3, 13) => "CommAdminProhibited",
        (3, 14) => "HostPrecedence",
        (3, 15) => "PrecedenceCutoff",
        (5, 2) => "TOS+Net",
        (5, 3) => "TOS+Host",
        (11, 0) => "TTLExceeded",
        (11, 1) => "FragmentReassemblyTimeExceeded",
        (12, 0) => "PointerIndicatesError",
        (12, 1) => "MissingOption",
        (12, 2) => "BadLength",
        _ => return None,
    })
}
