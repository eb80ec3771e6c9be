//! Types and codes of ICMP for IPv6, by the names that the packet library of Cilium gives them.

/// The name of a type; none if it is unknown.
pub(crate) const fn type_name(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "DestinationUnreachable",
        2 => "PacketTooBig",
        3 => "TimeExceeded",
        4 => "ParameterProblem",
        128 => "EchoRequest",
        129 => "EchoReply",
        133 => "RouterSolicitation",
        134 => "RouterAdvertisement",
        135 => "NeighborSolicitation",
        136 => "NeighborAdvertisement",
        137 => "Redirect",
        _ => return None,
    })
}

/// The name of a type's code; none if it has none.
pub(crate) const fn code_name(type_number: u8, code: u8) -> Option<&'static str> {
    Some(match (type_number, code) {
        (1, 0) => "NoRouteToDst",
        (1, 1) => "AdminProhibited",
        (1, 2) => "BeyondScopeOfSrc",
        (1, 3) => "AddressUnreachable",
        (1, 4) => "PortUnreachable",
        (1, 5) => "SrcAddressFailedPolicy",
        (1, 6) => "RejectRouteToDst",
        (3, 0) => "HopLimitExceeded",
        (3, 1) => "FragmentReassemblyTimeExceeded",
        (4, 0) => "ErroneousHeaderField",
        (4, 1) => "UnrecognizedNextHeader",
        (4, 2) => "UnrecognizedIPv6Option",
        _ => return None,
    })
}
