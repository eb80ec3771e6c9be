//! What the kernel programs write of a call (`bpf/calls/records.h`), taken apart.

use std::{net::SocketAddr, time::Duration};

use netglass_model::{
    Call, CallName, CallPhase, Caller, CommandName, SocketPath, unmapped_address,
};

use super::{clock::Clock, connection};

pub(super) const LENGTH: usize = 184;
/// How much of what is sent or received can stand behind it.
pub(super) const MOST_PAYLOAD: usize = 4096;

const RETURN: u8 = 1;
const ENTRY: u8 = 2;
const PENDING: u8 = 3;

const HAS_ADDRESS: u16 = 1 << 0;
const BEGAN_BEFORE: u16 = 1 << 1;
const HAS_LENGTH: u16 = 1 << 2;
const HAS_TRANSFERRED: u16 = 1 << 3;
const HAS_CONNECTION: u16 = 1 << 4;

/// `struct call_record`, and what stands behind it: two paths, and what was sent or received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a>(&'a [u8; LENGTH], [&'a [u8]; 3]);

impl<'a> Record<'a> {
    /// The record that is as long as all of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (fields, rest) = bytes.split_first_chunk()?;
        let (local, rest) = rest.split_at_checked(usize::from(fields[44]))?;
        let (remote, payload) = rest.split_at_checked(usize::from(fields[45]))?;
        let record = Self(fields, [local, remote, payload]);
        let length = usize::try_from(record.word(40)).ok()?;
        let is_whole = length == payload.len() && length <= MOST_PAYLOAD;
        (is_whole && local.len().max(remote.len()) <= SocketPath::MOST).then_some(record)
    }

    /// The beginning of what was sent or received, where that is told.
    pub(super) fn payload(self) -> &'a [u8] {
        let [_, _, payload] = self.1;
        payload
    }

    /// By `CLOCK_MONOTONIC`.
    pub(super) fn time_ns(self) -> u64 {
        self.wide(0)
    }

    /// The call; `None` where it is of no known kind.
    pub(super) fn call(self, clock: Clock) -> Option<Call> {
        let number = usize::from(self.0[47]);
        let name = *CallName::ALL.get(number.checked_sub(1)?)?;
        let phase = match self.0[46] {
            RETURN => CallPhase::Returned,
            ENTRY => CallPhase::Entered,
            PENDING => CallPhase::Pending,
            _ => return None,
        };
        let flags = self.narrow(76);
        let has = |flag: u16| flags & flag != 0;
        let result = i64::from_ne_bytes(self.wide(16).to_ne_bytes());
        let ends = self.bytes(96);
        let family = connection::family(&ends);
        let is_known = phase != CallPhase::Entered && !has(BEGAN_BEFORE);
        Some(Call {
            name,
            phase,
            at: clock.timestamp(self.time_ns()),
            duration: is_known.then(|| Duration::from_nanos(self.wide(8))),
            result,
            length: has(HAS_LENGTH).then(|| self.wide(24)),
            transferred: if has(HAS_TRANSFERRED) {
                Some(self.wide(32))
            } else {
                transferred(name, phase, result)
            },
            fd: Some(i32::from_ne_bytes(self.word(64).to_ne_bytes())).filter(|&fd| fd != -1),
            caller: Caller {
                pid: self.word(48),
                tid: self.word(52),
                ppid: self.word(56),
                uid: self.word(60),
                comm: self.name(152),
                parent_comm: self.name(168),
            },
            family: Some(family).filter(|&family| family != 0),
            connection: has(HAS_CONNECTION).then(|| connection::parse(&ends)),
            paths: self.paths(),
            address: has(HAS_ADDRESS).then(|| self.address()),
            details: [self.word(68), self.word(72)],
        })
    }

    fn paths(self) -> [SocketPath; 2] {
        let [local, remote, _] = self.1;
        [SocketPath::new(local), SocketPath::new(remote)]
    }

    fn address(self) -> SocketAddr {
        SocketAddr::new(unmapped_address(self.bytes(80)), self.narrow(78))
    }

    fn name(self, offset: usize) -> CommandName {
        CommandName::new(&self.bytes::<16>(offset))
    }

    fn bytes<const N: usize>(self, offset: usize) -> [u8; N] {
        // Offsets are those of a record, so there are always as many bytes.
        self.0.get(offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }

    fn narrow(self, offset: usize) -> u16 {
        u16::from_ne_bytes(self.bytes(offset))
    }

    fn word(self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(offset))
    }

    fn wide(self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(offset))
    }
}

/// Reads a call as the kernel programs tell of it, with the beginning of what it sent or received;
/// its time is that of the kernel's clock since it booted. `None` where it is not that.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(Call, &[u8])> {
    let record = Record::new(bytes)?;
    Some((record.call(Clock::since_boot())?, record.payload()))
}

/// How many bytes went through a call that says so by its result.
fn transferred(name: CallName, phase: CallPhase, result: i64) -> Option<u64> {
    let says_so = match name {
        // Those return a number of messages.
        CallName::Sendmmsg | CallName::Recvmmsg => false,
        CallName::Sendfile | CallName::Splice | CallName::Tee => true,
        name => name.transfer().is_some(),
    };
    (says_so && phase == CallPhase::Returned).then(|| u64::try_from(result).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use netglass_model::Timestamp;

    use super::*;
    use proptest::{collection::vec, prelude::*};

    const HEADER: &str = include_str!("../bpf/calls/records.h");

    const CLOCK: Clock = Clock::at(1_000);

    #[test]
    fn records_are_those_of_the_header() {
        assert!(HEADER.contains(&format!("sizeof(struct call_record) == {LENGTH}, ")));
        assert!(HEADER.contains(&format!("#define MAX_PAYLOAD {MOST_PAYLOAD}\n")));
        assert!(HEADER.contains(&format!("#define MAX_PATH {}\n", SocketPath::MOST)));
        for (name, number) in
            [("RECORD_RETURN = 1", RETURN), ("RECORD_ENTRY", ENTRY), ("RECORD_PENDING", PENDING)]
        {
            assert!(HEADER.contains(name), "{name} is {number}");
        }
        let flags = [
            ("RECORD_ADDRESS = 1 << 0", HAS_ADDRESS),
            ("RECORD_BEGAN_BEFORE = 1 << 1", BEGAN_BEFORE),
            ("RECORD_LENGTH = 1 << 2", HAS_LENGTH),
            ("RECORD_TRANSFERRED = 1 << 3", HAS_TRANSFERRED),
            ("RECORD_CONNECTION = 1 << 4", HAS_CONNECTION),
        ];
        for (index, (name, flag)) in flags.into_iter().enumerate() {
            assert!(HEADER.contains(name));
            assert_eq!(flag, 1 << index);
        }
    }

    #[test]
    fn calls_have_the_numbers_of_the_header() {
        let (_, rest) = HEADER.split_once("CALL_NONE,").unwrap();
        let (names, _) = rest.split_once("CALLS,").unwrap();
        let names: Vec<_> = names
            .split(',')
            .filter_map(|name| name.lines().last()?.trim().strip_prefix("CALL_"))
            .map(str::to_lowercase)
            .collect();
        let own: Vec<_> =
            CallName::ALL.iter().map(|call| call.name().replace("io_uring:", "uring_")).collect();
        assert_eq!(names, own);
    }

    #[test]
    fn a_record_is_a_call() {
        let mut bytes = [0; LENGTH];
        let mut put = |offset: usize, value: &[u8]| {
            bytes[offset..offset + value.len()].copy_from_slice(value);
        };
        put(0, &5_000_u64.to_ne_bytes());
        put(8, &70_u64.to_ne_bytes());
        put(16, &146_i64.to_ne_bytes());
        put(24, &200_u64.to_ne_bytes());
        put(46, &[RETURN, 16]);
        put(48, &18_423_u32.to_ne_bytes());
        put(64, &3_i32.to_ne_bytes());
        put(76, &(HAS_LENGTH | HAS_CONNECTION).to_ne_bytes());
        put(96, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);
        put(112, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 2]);
        put(140, &57_032_u16.to_ne_bytes());
        put(142, &80_u16.to_ne_bytes());
        put(144, &2_u16.to_ne_bytes());
        put(146, &6_u16.to_ne_bytes());
        put(152, b"wget\0x");
        let call = Record::new(&bytes).unwrap().call(CLOCK).unwrap();
        assert_eq!((call.name, call.result, call.transferred), (CallName::Write, 146, Some(146)));
        assert_eq!(call.at, Timestamp::from_nanoseconds(6_000));
        assert_eq!(call.duration, Some(Duration::from_nanos(70)));
        assert_eq!((call.length, call.fd), (Some(200), Some(3)));
        assert_eq!((call.caller.pid, call.caller.comm.as_bytes()), (18_423, &b"wget"[..]));
        let connection = call.connection.unwrap();
        assert_eq!(connection.local, Some("127.0.0.1:57032".parse().unwrap()));
        assert_eq!(connection.remote, Some("127.0.0.2:80".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..2 * LENGTH)) {
            let call = Record::new(&bytes).and_then(|record| record.call(CLOCK));
            prop_assert!(call.is_none() || bytes.len() >= LENGTH);
        }

        #[test]
        fn any_record_of_a_known_kind_is_a_call(
            mut bytes in vec(any::<u8>(), LENGTH),
            kind in RETURN..=PENDING,
            call in 1..=CallName::ALL.len(),
        ) {
            bytes[40..46].fill(0);
            bytes[46] = kind;
            bytes[47] = u8::try_from(call).unwrap();
            prop_assert!(Record::new(&bytes).unwrap().call(CLOCK).is_some());
            bytes[40] = 3;
            prop_assert!(Record::new(&bytes).is_none());
            bytes.extend_from_slice(b"abc");
            prop_assert_eq!(Record::new(&bytes).unwrap().payload(), b"abc");
            (bytes[40], bytes[44], bytes[45]) = (1, 1, 1);
            let record = Record::new(&bytes).unwrap();
            prop_assert_eq!(record.payload(), b"c");
            prop_assert_eq!(record.paths(), [SocketPath::new(b"a"), SocketPath::new(b"b")]);
        }
    }
}
