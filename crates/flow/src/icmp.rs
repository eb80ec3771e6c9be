//! Which messages of ICMP answer which.

use netglass_model::IpProtocol;

/// Request and reply of `ICMPv4` (IANA "ICMP Type Numbers"), by their types.
const PAIRS_V4: [(u8, u8); 9] =
    [(8, 0), (10, 9), (13, 14), (15, 16), (17, 18), (33, 34), (35, 36), (37, 38), (42, 43)];

/// Request and reply of `ICMPv6` (IANA "Internet Control Message Protocol version 6 Parameters"), by their types.
const PAIRS_V6: [(u8, u8); 8] = [
    (128, 129),
    (130, 131),
    (133, 134),
    (135, 136),
    (139, 140),
    (144, 145),
    (146, 147),
    (160, 161),
];

/// What stands for ports in the key of a message by its type times 256 and its code: its own number
/// and that of the answer, so that an answer has the same two the other way round. What is not
/// answered has zero and its number: the same message from the other end is another flow.
pub(crate) fn ports(protocol: IpProtocol, message: u16) -> (u16, u16) {
    match counterpart(protocol, message) {
        Some(counterpart) => (message, counterpart),
        None => (0, message),
    }
}

/// The type times 256 and the code of a flow's first message, from what stands for its ports.
pub(crate) fn first_message(protocol: IpProtocol, source_port: u16, destination_port: u16) -> u16 {
    match counterpart(protocol, destination_port) {
        Some(_) => source_port,
        None => destination_port,
    }
}

fn counterpart(protocol: IpProtocol, message: u16) -> Option<u16> {
    let [kind, code] = message.to_be_bytes();
    let pairs: &[(u8, u8)] = if protocol == IpProtocol::ICMPV4 { &PAIRS_V4 } else { &PAIRS_V6 };
    pairs.iter().find_map(|&(request, reply)| {
        if kind == request {
            Some(u16::from_be_bytes([reply, code]))
        } else if kind == reply {
            Some(u16::from_be_bytes([request, code]))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_numbers_of_its_request_the_other_way_round() {
        for (protocol, pairs) in
            [(IpProtocol::ICMPV4, &PAIRS_V4[..]), (IpProtocol::ICMPV6, &PAIRS_V6[..])]
        {
            for &(request, reply) in pairs {
                let (request, reply) = (u16::from(request) << 8, u16::from(reply) << 8);
                assert_eq!(ports(protocol, request), (request, reply));
                assert_eq!(ports(protocol, reply), (reply, request));
                assert_eq!(first_message(protocol, request, reply), request);
                assert_eq!(first_message(protocol, reply, request), reply);
            }
        }
    }

    #[test]
    fn what_is_not_answered_is_shown_as_it_is() {
        let unreachable = 3 << 8 | 1;
        assert_eq!(ports(IpProtocol::ICMPV4, unreachable), (0, unreachable));
        assert_eq!(first_message(IpProtocol::ICMPV4, 0, unreachable), unreachable);
        // Types are those of their own protocol: 128 is no echo in ICMPv4.
        assert_eq!(ports(IpProtocol::ICMPV4, 128 << 8), (0, 128 << 8));
    }
}
