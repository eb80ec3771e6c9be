//! The words of nettrace for numbers.

/// `enum ip_conntrack_status` of `linux/netfilter/nf_conntrack_common.h`.
const STATUS: [&str; 15] = [
    "expected",
    "seen-reply",
    "assured",
    "confirmed",
    "src-nat",
    "dst-nat",
    "seq-adjust",
    "src-nat-done",
    "dst-nat-done",
    "dying",
    "fixed-timeout",
    "template",
    "untracked",
    "helper",
    "offload",
];

/// `enum tcp_conntrack` of `linux/netfilter/nf_conntrack_tcp.h`, in the words that readers of
/// nettrace expect.
const TCP_STATES: [&str; 10] = [
    "none",
    "syn-sent",
    "syn-recv",
    "established",
    "fin-wait",
    "close-wait",
    "last-ack",
    "time-wait",
    "close",
    "syn-sent2",
];

pub(super) fn conntrack_status(status: u32) -> String {
    let flags = STATUS.iter().enumerate().filter(|(bit, _)| status & (1 << bit) != 0);
    flags.map(|(_, &name)| name).collect::<Vec<_>>().join("|")
}

pub(crate) fn tcp_state(state: u8) -> &'static str {
    TCP_STATES.get(usize::from(state)).copied().unwrap_or("none")
}

/// Of the four bits of a header alone.
pub(super) fn response_code(code: Option<u16>) -> &'static str {
    match code.map(|code| code & 0xf) {
        Some(0) => "no-error",
        Some(1) => "format-error",
        Some(2) => "server-fail",
        Some(3) => "non-existent-domain",
        Some(4) => "not-implemented",
        Some(5) => "query-refused",
        _ => "unrecognized-rcode",
    }
}

pub(super) fn record_type(number: u16) -> &'static str {
    match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        11 => "WKS",
        12 => "PTR",
        13 => "HINFO",
        14 => "MINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        41 => "OPT",
        252 => "AXFR",
        255 => "ALL",
        _ => "unrecognized-type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_words() {
        assert_eq!(
            conntrack_status(0b1_1000_1110),
            "seen-reply|assured|confirmed|src-nat-done|dst-nat-done"
        );
        assert_eq!(conntrack_status(0), "");
        assert_eq!((tcp_state(2), tcp_state(200)), ("syn-recv", "none"));
        assert_eq!(
            (response_code(Some(9)), response_code(None)),
            ("unrecognized-rcode", "unrecognized-rcode")
        );
        assert_eq!((record_type(28), record_type(65)), ("AAAA", "unrecognized-type"));
    }
}
