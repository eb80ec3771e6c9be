//! The frames of HTTP/3 (RFC 9114, section 7) on their way to h3, which keeps all of a frame in
//! memory unless it is of a body. So none that is too long goes on, nor any of a kind that is not
//! known; nor one of a body that is empty, which h3 takes for its end.

use std::collections::VecDeque;

use bytes::Bytes;

const DATA: u64 = 0x0;
pub(super) const SETTINGS: u64 = 0x4;
pub(super) const GOAWAY: u64 = 0x7;
const MAX_PUSH_ID: u64 = 0xd;

/// The unidirectional stream whose frames are of no single request.
const CONTROL: u64 = 0x0;

/// As much of a frame as is looked at.
const LOOKED_AT: usize = 512;

/// A frame is longer than what is taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes is longer than what is taken")]
pub(super) struct TooLong(pub(super) u64);

/// What passes of one stream.
#[derive(Debug)]
pub(super) struct Filter {
    state: State,
    longest: u64,
}

#[derive(Debug)]
enum State {
    /// The type of a unidirectional stream, so far.
    StreamType(Vec<u8>),
    /// The type and the length of a frame, so far.
    Header(Vec<u8>),
    Payload {
        left: u64,
        passes: bool,
        kind: u64,
        looked_at: Vec<u8>,
    },
    /// No frames.
    Other,
}

/// A number at the beginning of bytes, and what follows it (RFC 9000, section 16).
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let (number, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = number.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    // The two bits of the length are none of the number.
    Some((value & !(0b11 << (8 * number.len() - 2)), rest))
}

/// Whether h3 knows frames of a kind. Those that HTTP/2 had, it refuses.
fn is_known(kind: u64) -> bool {
    kind <= 0x9 || kind == MAX_PUSH_ID
}

impl Filter {
    pub(super) fn of_request(longest: u64) -> Self {
        Self { state: State::Header(Vec::new()), longest }
    }

    pub(super) fn of_unidirectional(longest: u64) -> Self {
        Self { state: State::StreamType(Vec::new()), longest }
    }

    /// Whether the stream may end here.
    pub(super) fn is_between_frames(&self) -> bool {
        match &self.state {
            State::Header(held) => held.is_empty(),
            State::Payload { .. } => false,
            State::StreamType(_) | State::Other => true,
        }
    }

    /// Takes what came, and gives what goes on. `found` is told of settings and of the end that is
    /// announced.
    pub(super) fn pass(
        &mut self,
        mut bytes: &[u8],
        out: &mut VecDeque<Bytes>,
        mut found: impl FnMut(u64, &[u8]),
    ) -> Result<(), TooLong> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.state {
                State::Other => {
                    out.push_back(Bytes::copy_from_slice(bytes));
                    return Ok(());
                }
                State::StreamType(held) => {
                    held.push(first);
                    bytes = rest;
                    if let Some((kind, _)) = varint(held) {
                        out.push_back(std::mem::take(held).into());
                        let has_frames = kind == CONTROL;
                        self.state =
                            if has_frames { State::Header(Vec::new()) } else { State::Other };
                    }
                }
                State::Header(held) => {
                    held.push(first);
                    bytes = rest;
                    let Some((kind, after)) = varint(held) else { continue };
                    let Some((left, _)) = varint(after) else { continue };
                    let header = std::mem::take(held);
                    let passes = is_known(kind) && (kind, left) != (DATA, 0);
                    if passes && kind != DATA && left > self.longest {
                        return Err(TooLong(left));
                    }
                    if passes {
                        out.push_back(header.into());
                    }
                    if left > 0 {
                        let looked_at = Vec::new();
                        self.state = State::Payload { left, passes, kind, looked_at };
                    } else if passes {
                        found(kind, &[]);
                    }
                }
                State::Payload { left, passes, kind, looked_at } => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let Some((payload, rest)) = bytes.split_at_checked(length) else { break };
                    bytes = rest;
                    *left -= payload.len() as u64;
                    if *passes {
                        out.push_back(Bytes::copy_from_slice(payload));
                    }
                    if matches!(*kind, SETTINGS | GOAWAY) {
                        let room = LOOKED_AT.saturating_sub(looked_at.len());
                        looked_at.extend_from_slice(payload.get(..room).unwrap_or(payload));
                    }
                    if *left == 0 {
                        found(*kind, looked_at);
                        self.state = State::Header(Vec::new());
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many frames of a request's stream end in what comes in pieces, and how many bytes pass.
pub(crate) fn count(pieces: &[&[u8]]) -> (usize, usize) {
    const LONGEST: u64 = 1 << 20;
    let mut filter = Filter::of_request(LONGEST);
    let (mut frames, mut out) = (0, VecDeque::new());
    for piece in pieces {
        if filter.pass(piece, &mut out, |_, _| frames += 1).is_err() {
            break;
        }
    }
    (frames, out.iter().map(Bytes::len).sum())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: u64 = 1000;

    fn number(value: u64) -> Vec<u8> {
        match value {
            0..0x40 => vec![u8::try_from(value).unwrap()],
            0x40..0x4000 => (0x4000 | u16::try_from(value).unwrap()).to_be_bytes().to_vec(),
            0x4000..0x4000_0000 => {
                (0x8000_0000 | u32::try_from(value).unwrap()).to_be_bytes().to_vec()
            }
            _ => (0xc000_0000_0000_0000 | value).to_be_bytes().to_vec(),
        }
    }

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        [&number(kind)[..], &number(payload.len() as u64), payload].concat()
    }

    fn passed(mut filter: Filter, bytes: &[u8]) -> (Vec<u8>, Vec<(u64, Vec<u8>)>) {
        let (mut out, mut seen) = (VecDeque::new(), Vec::new());
        let found = |kind, payload: &[u8]| seen.push((kind, payload.to_vec()));
        filter.pass(bytes, &mut out, found).unwrap();
        (out.iter().flatten().copied().collect(), seen)
    }

    #[test]
    fn numbers_are_those_of_the_standard() {
        // RFC 9000, appendix A.1.
        for (bytes, value) in [
            (&b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"[..], 151_288_809_941_952_652),
            (b"\x9d\x7f\x3e\x7d", 494_878_333),
            (b"\x7b\xbd", 15_293),
            (b"\x25", 37),
            (b"\x40\x25", 37),
        ] {
            assert_eq!(varint(bytes), Some((value, &[][..])));
            assert_eq!(varint(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn unknown_frames_and_empty_ones_of_a_body_do_not_pass() {
        let headers = frame(1, b"headers");
        let data = frame(DATA, b"data");
        let (empty, unknown) = (frame(DATA, b""), frame(0x21, &[7; 5000]));
        let bytes = [&headers[..], &empty, &unknown, &data].concat();
        let (out, _) = passed(Filter::of_request(LONGEST), &bytes);
        assert_eq!(out, [headers, data].concat());
    }

    #[test]
    fn frames_that_are_too_long_are_refused_but_those_of_bodies() {
        let mut filter = Filter::of_request(LONGEST);
        let mut out = VecDeque::new();
        filter.pass(&frame(DATA, &[0; 5000]), &mut out, |_, _| {}).unwrap();
        let long = [number(1), number(1001)].concat();
        assert_eq!(filter.pass(&long, &mut out, |_, _| {}), Err(TooLong(1001)));
    }

    #[test]
    fn what_is_announced_on_the_control_stream_is_found() {
        let bytes = [&[0][..], &frame(SETTINGS, b"\x06\x20"), &frame(GOAWAY, b"\x08")].concat();
        let (out, seen) = passed(Filter::of_unidirectional(LONGEST), &bytes);
        assert_eq!(
            (out, seen),
            (bytes.clone(), vec![(SETTINGS, b"\x06\x20".to_vec()), (GOAWAY, b"\x08".to_vec())])
        );
        let encoder = b"\x02\x07\xff\xff\xff\xff\xff";
        assert_eq!(passed(Filter::of_unidirectional(LONGEST), encoder), (encoder.to_vec(), vec![]));
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_is_told_from_one_that_does_not() {
        let bytes = frame(1, b"headers");
        for length in 0..=bytes.len() {
            let mut filter = Filter::of_request(LONGEST);
            filter.pass(&bytes[..length], &mut VecDeque::new(), |_, _| {}).unwrap();
            assert_eq!(filter.is_between_frames(), length == 0 || length == bytes.len());
        }
    }

    proptest! {
        #[test]
        fn as_much_passes_however_the_bytes_are_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            cut in 0usize..300,
        ) {
            let whole = count(&[&bytes]);
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(count(&[first, second]), whole);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(count(&single), whole);
        }
    }
}
