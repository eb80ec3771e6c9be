//! What the kernel programs write of a call (`bpf/calls/records.h`), taken apart.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use netglass_model::{
    Call, CallConnection, CallName, CallPhase, Caller, CommandName, NamespaceInode, SocketPath,
    unmapped_address,
};

use super::{clock::Clock, connection};
use crate::program::{u16_at, u64_at};

pub(super) const LENGTH: usize = 128;
/// What few calls have (`struct call_extra`).
pub(super) const EXTRA: usize = 64;
/// The last bytes of a record: who called, with which descriptor, and on which connection.
pub type Subject = [u8; 82];
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
const HAS_ADDRESSES: u16 = 1 << 5;

/// The bytes of a record, without what stands behind.
#[derive(Debug, Clone, Copy)]
struct Fields<'a>(&'a [u8; LENGTH]);

/// `struct call_record`, and what stands behind it: what few calls have, two paths, and what was sent
/// or received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    fields: Fields<'a>,
    extra: Option<&'a [u8; EXTRA]>,
    paths: [&'a [u8]; 2],
    payload: &'a [u8],
}

/// The time of a record, by `CLOCK_MONOTONIC`.
pub(super) fn time_ns(fields: &[u8; LENGTH]) -> u64 {
    Fields(fields).wide(0)
}

/// How many bytes stand behind a record, at most as many as there can be.
pub(super) fn length_behind(fields: &[u8; LENGTH]) -> usize {
    let fields = Fields(fields);
    let [local, remote] = fields.path_lengths();
    let extra = if fields.has_extra() { EXTRA } else { 0 };
    extra + local + remote + fields.payload_length().min(MOST_PAYLOAD)
}

/// The first one of records that stand one behind the other, if all of it is there.
pub(super) fn first(bytes: &[u8]) -> Option<&[u8]> {
    let fields = bytes.first_chunk()?;
    bytes.get(..LENGTH + length_behind(fields))
}

impl Fields<'_> {
    fn flags(self) -> u16 {
        self.narrow(36)
    }

    fn has(self, flag: u16) -> bool {
        self.flags() & flag != 0
    }

    fn has_extra(self) -> bool {
        self.has(HAS_ADDRESS | HAS_TRANSFERRED | HAS_ADDRESSES)
    }

    fn payload_length(self) -> usize {
        self.narrow(38).into()
    }

    fn path_lengths(self) -> [usize; 2] {
        let [local, remote] = self.bytes(40);
        [usize::from(local), usize::from(remote)]
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

impl<'a> Record<'a> {
    /// The record that is as long as all of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (fields, rest) = bytes.split_first_chunk()?;
        let fields = Fields(fields);
        let (extra, rest) = if fields.has_extra() {
            rest.split_first_chunk().map(|(extra, rest)| (Some(extra), rest))?
        } else {
            (None, rest)
        };
        let [local, remote] = fields.path_lengths();
        let (local, rest) = rest.split_at_checked(local)?;
        let (remote, payload) = rest.split_at_checked(remote)?;
        let length = fields.payload_length();
        let is_whole = length == payload.len() && length <= MOST_PAYLOAD;
        (is_whole && local.len().max(remote.len()) <= SocketPath::MOST).then_some(Self {
            fields,
            extra,
            paths: [local, remote],
            payload,
        })
    }

    /// The beginning of what was sent or received, where that is told.
    pub(super) fn payload(self) -> &'a [u8] {
        self.payload
    }

    /// By `CLOCK_MONOTONIC`.
    pub(super) fn time_ns(self) -> u64 {
        self.fields.wide(0)
    }

    /// None of a call that is not known.
    pub(super) fn name(self) -> Option<CallName> {
        let [number] = self.fields.bytes(43);
        CallName::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// None of a kind that is not known.
    pub(super) fn phase(self) -> Option<CallPhase> {
        let [kind] = self.fields.bytes(42);
        match kind {
            RETURN => Some(CallPhase::Returned),
            ENTRY => Some(CallPhase::Entered),
            PENDING => Some(CallPhase::Pending),
            _ => None,
        }
    }

    /// How long a call in that phase took or takes.
    pub(super) fn duration_ns(self, phase: CallPhase) -> Option<u64> {
        let is_known = phase != CallPhase::Entered && !self.fields.has(BEGAN_BEFORE);
        is_known.then(|| self.fields.wide(8))
    }

    pub(super) fn result(self) -> i64 {
        i32::from_ne_bytes(self.fields.bytes(24)).into()
    }

    /// How many bytes were asked for.
    pub(super) fn length(self) -> Option<u64> {
        self.fields.has(HAS_LENGTH).then(|| self.fields.wide(16))
    }

    pub(super) fn pid(self) -> u32 {
        self.fields.word(48)
    }

    /// Who called, with which descriptor, and on which connection, where that is all there is.
    pub(super) fn subject(self) -> Option<&'a Subject> {
        let is_all = self.fields.has(HAS_CONNECTION)
            && self.extra.is_none()
            && self.payload.is_empty()
            && self.paths.iter().all(|path| path.is_empty());
        self.fields.0.last_chunk().filter(|_| is_all)
    }

    /// The call; `None` where it is of no known kind.
    pub(super) fn call(self, clock: Clock) -> Option<Call> {
        Some(self.call_of(self.name()?, self.phase()?, clock))
    }

    /// The call of that name in that phase.
    pub(super) fn call_of(self, name: CallName, phase: CallPhase, clock: Clock) -> Call {
        let fields = self.fields;
        let result = self.result();
        let family = fields.narrow(92);
        Call {
            name,
            phase,
            at: clock.timestamp(self.time_ns()),
            duration: self.duration_ns(phase).map(Duration::from_nanos),
            result,
            length: self.length(),
            transferred: if fields.has(HAS_TRANSFERRED) {
                self.extra.and_then(|extra| u64_at(extra, 48))
            } else {
                transferred(name, phase, result)
            },
            fd: Some(i32::from_ne_bytes(fields.bytes(64))).filter(|&fd| fd != -1),
            caller: Caller {
                pid: self.pid(),
                tid: fields.word(52),
                ppid: fields.word(56),
                uid: fields.word(60),
                comm: fields.name(96),
                parent_comm: fields.name(112),
            },
            family: Some(family).filter(|&family| family != 0),
            connection: fields.has(HAS_CONNECTION).then(|| self.connection(family)),
            paths: self.paths.map(SocketPath::new),
            address: fields.has(HAS_ADDRESS).then(|| self.address()).flatten(),
            details: [fields.word(28), fields.word(32)],
        }
    }

    fn connection(self, family: u16) -> CallConnection {
        let fields = self.fields;
        let addresses = match self.extra.filter(|_| fields.has(HAS_ADDRESSES)) {
            Some(extra) => [address_at(extra, 0), address_at(extra, 16)],
            None => [84, 88].map(|offset| fields.bytes::<4>(offset).into()),
        };
        let [local, remote] =
            connection::endpoints(family, addresses, [fields.narrow(80), fields.narrow(82)]);
        let [state] = fields.bytes(44);
        CallConnection {
            family,
            protocol: fields.narrow(94),
            socket_type: fields.narrow(46),
            state,
            local,
            remote,
            namespace: NamespaceInode(fields.word(68).into()),
            cookie: Some(fields.wide(72)).filter(|&cookie| cookie != 0),
        }
    }

    fn address(self) -> Option<SocketAddr> {
        let extra = self.extra?;
        Some(SocketAddr::new(address_at(extra, 32), u16_at(extra, 56)?))
    }
}

fn address_at(extra: &[u8; EXTRA], offset: usize) -> IpAddr {
    let bytes = extra.get(offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    unmapped_address(bytes)
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
        assert!(HEADER.contains(&format!("sizeof(struct call_extra) == {EXTRA}, ")));
        assert!(
            HEADER
                .contains("RECORD_EXTRA (RECORD_ADDRESS | RECORD_TRANSFERRED | RECORD_ADDRESSES)")
        );
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
            ("RECORD_ADDRESSES = 1 << 5", HAS_ADDRESSES),
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
        put(16, &200_u64.to_ne_bytes());
        put(24, &146_i32.to_ne_bytes());
        put(36, &(HAS_LENGTH | HAS_CONNECTION).to_ne_bytes());
        put(42, &[RETURN, 16]);
        put(48, &18_423_u32.to_ne_bytes());
        put(64, &3_i32.to_ne_bytes());
        put(80, &57_032_u16.to_ne_bytes());
        put(82, &80_u16.to_ne_bytes());
        put(84, &[127, 0, 0, 1, 127, 0, 0, 2]);
        put(92, &2_u16.to_ne_bytes());
        put(94, &6_u16.to_ne_bytes());
        put(96, b"wget\0x");
        let call = Record::new(&bytes).unwrap().call(CLOCK).unwrap();
        assert_eq!((call.name, call.result, call.transferred), (CallName::Write, 146, Some(146)));
        assert_eq!(call.at, Timestamp::from_nanoseconds(6_000));
        assert_eq!(call.duration, Some(Duration::from_nanos(70)));
        assert_eq!((call.length, call.fd), (Some(200), Some(3)));
        assert_eq!((call.caller.pid, call.caller.comm.as_bytes()), (18_423, &b"wget"[..]));
        let record = Record::new(&bytes).unwrap();
        assert_eq!(record.subject().unwrap()[2..6], 18_423_u32.to_ne_bytes());
        let connection = call.connection.unwrap();
        assert_eq!(connection.local, Some("127.0.0.1:57032".parse().unwrap()));
        assert_eq!(connection.remote, Some("127.0.0.2:80".parse().unwrap()));
    }

    #[test]
    fn what_few_calls_have_stands_behind() {
        let mut bytes = [0; LENGTH + EXTRA];
        let mut put = |offset: usize, value: &[u8]| {
            bytes[offset..offset + value.len()].copy_from_slice(value);
        };
        let flags = HAS_ADDRESS | HAS_TRANSFERRED | HAS_ADDRESSES | HAS_CONNECTION;
        put(36, &flags.to_ne_bytes());
        put(42, &[RETURN, 16]);
        put(82, &80_u16.to_ne_bytes());
        put(92, &10_u16.to_ne_bytes());
        put(LENGTH + 15, &[1]);
        put(LENGTH + 16, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 2]);
        put(LENGTH + 47, &[3]);
        put(LENGTH + 48, &77_u64.to_ne_bytes());
        put(LENGTH + 56, &53_u16.to_ne_bytes());
        assert_eq!(length_behind(bytes.first_chunk().unwrap()), EXTRA);
        assert!(Record::new(&bytes[..LENGTH]).is_none());
        let call = Record::new(&bytes).unwrap().call(CLOCK).unwrap();
        assert_eq!(call.transferred, Some(77));
        assert_eq!(call.address, Some("[::3]:53".parse().unwrap()));
        let connection = call.connection.unwrap();
        assert_eq!(connection.local, Some("[::1]:0".parse().unwrap()));
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
            extra in vec(any::<u8>(), EXTRA),
            kind in RETURN..=PENDING,
            call in 1..=CallName::ALL.len(),
        ) {
            bytes[38..42].fill(0);
            bytes[42] = kind;
            bytes[43] = u8::try_from(call).unwrap();
            if Fields(bytes.first_chunk().unwrap()).has_extra() {
                bytes.extend(extra);
            }
            prop_assert!(Record::new(&bytes).unwrap().call(CLOCK).is_some());
            bytes[38] = 3;
            prop_assert!(Record::new(&bytes).is_none());
            bytes.extend_from_slice(b"abc");
            prop_assert_eq!(Record::new(&bytes).unwrap().payload(), b"abc");
            (bytes[38], bytes[40], bytes[41]) = (1, 1, 1);
            let record = Record::new(&bytes).unwrap();
            prop_assert_eq!(record.payload(), b"c");
            prop_assert_eq!(record.paths, [&b"a"[..], &b"b"[..]]);
            let behind = length_behind(bytes.first_chunk().unwrap());
            prop_assert_eq!(behind, bytes.len() - LENGTH);
        }
    }
}
