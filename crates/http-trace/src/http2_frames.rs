//! The frames of a connection of HTTP/2 (RFC 9113, section 4), as they pass: which stream is
//! whose request, and how streams and the connection are ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    clock::Clock,
    record::{GoAway, Http2Connection, Id, Reset, ResetBy},
    recorder::Recorder,
};

const PREFACE: usize = 24;
const HEADER: usize = 9;
/// As much of a frame as is looked at: all of `GOAWAY` but its text, and six settings.
const LOOKED_AT: usize = 36;
/// How many streams of a connection are known at once by their request.
const MAXIMUM_STREAMS: usize = 1024;
/// How many settings are kept.
const MAXIMUM_SETTINGS: usize = 32;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;

/// Requests that wait for their stream, and those that have one.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: std::collections::VecDeque<Option<Id>>,
    open: HashMap<u32, Open>,
    at_once: u32,
}

/// A stream whose ends have not both been told (RFC 9113, section 5.1).
#[derive(Debug)]
struct Open {
    request: Option<Id>,
    is_sent: bool,
    is_received: bool,
}

impl Streams {
    /// A request that is given to the connection. They are sent in this order.
    pub(crate) fn expect(&self, request: Option<Id>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting.len() < MAXIMUM_STREAMS {
            state.waiting.push_back(request);
        }
    }

    fn open(&self, stream: u32) -> Option<Id> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open.contains_key(&stream) || state.open.len() >= MAXIMUM_STREAMS {
            return None;
        }
        let request = state.waiting.pop_front().flatten();
        state.open.insert(stream, Open { request, is_sent: false, is_received: false });
        state.at_once = state.at_once.max(u32::try_from(state.open.len()).unwrap_or(u32::MAX));
        request
    }

    fn request(&self, stream: u32) -> Option<Id> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.get(&stream)?.request
    }

    /// One direction of a stream is over.
    fn end(&self, stream: u32, by_peer: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = state.open.get_mut(&stream) else { return };
        open.is_sent |= !by_peer;
        open.is_received |= by_peer;
        if open.is_sent && open.is_received {
            state.open.remove(&stream);
        }
    }

    fn close(&self, stream: u32) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&stream);
    }

    fn at_once(&self) -> u32 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).at_once
    }
}

/// Finds frames in what passes.
pub(crate) struct FrameObserver {
    sent: Scanner,
    received: Scanner,
    effects: Effects,
}

struct Effects {
    clock: Clock,
    recorder: Arc<Recorder>,
    connection: Id,
    streams: Arc<Streams>,
}

impl FrameObserver {
    pub(crate) fn new(recorder: Arc<Recorder>, connection: Id, streams: Arc<Streams>) -> Self {
        let clock = recorder.clock();
        recorder.tcp(connection, |tcp| tcp.http2 = Some(Box::default()));
        Self {
            sent: Scanner::after(PREFACE),
            received: Scanner::after(0),
            effects: Effects { clock, recorder, connection, streams },
        }
    }

    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let effects = &self.effects;
        self.sent.scan(bytes, |passed| match passed {
            Passed::Begin(frame) => effects.of(&frame, false),
            Passed::End(header) => effects.of_end(header, false),
        });
    }

    pub(crate) fn received(&mut self, bytes: &[u8]) {
        let effects = &self.effects;
        self.received.scan(bytes, |passed| match passed {
            Passed::Begin(frame) => effects.of(&frame, true),
            Passed::End(header) => effects.of_end(header, true),
        });
    }
}

/// How many frames begin in what comes in pieces.
pub(crate) fn count(pieces: &[&[u8]]) -> usize {
    let mut scanner = Scanner::after(0);
    let mut frames = 0;
    for piece in pieces {
        scanner.scan(piece, |passed| frames += usize::from(matches!(passed, Passed::Begin(_))));
    }
    frames
}

/// What stands before the payload of a frame, without its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// The beginning of a frame.
#[derive(Debug, PartialEq, Eq)]
struct Frame<'a> {
    header: Header,
    payload: &'a [u8],
}

/// How far a frame has passed.
#[derive(Debug, PartialEq, Eq)]
enum Passed<'a> {
    /// As much of it as is looked at.
    Begin(Frame<'a>),
    /// Its last byte.
    End(Header),
}

/// Where in the stream of frames we are.
#[derive(Debug)]
struct Scanner {
    /// Bytes that are not looked at.
    skip: usize,
    /// The frame that they are of.
    passing: Option<Header>,
    /// The frame so far: its header and as much of it as is looked at.
    held: Vec<u8>,
}

impl Scanner {
    fn after(skip: usize) -> Self {
        Self { skip, passing: None, held: Vec::with_capacity(HEADER + LOOKED_AT) }
    }

    fn scan(&mut self, mut bytes: &[u8], mut found: impl FnMut(Passed<'_>)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if self.skip == 0
                && let Some(header) = self.passing.take()
            {
                found(Passed::End(header));
            }
            if self.skip > 0 || bytes.is_empty() {
                return;
            }
            let length = |held: &[u8]| match held {
                [a, b, c, ..] => usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c),
                _ => 0,
            };
            let wanted = if self.held.len() < HEADER {
                HEADER
            } else {
                HEADER + length(&self.held).min(LOOKED_AT)
            };
            let taken = (wanted - self.held.len()).min(bytes.len());
            self.held.extend_from_slice(bytes.get(..taken).unwrap_or_default());
            bytes = bytes.get(taken..).unwrap_or_default();
            let Some((header, payload)) = self.held.split_first_chunk::<HEADER>() else { return };
            let whole = length(header);
            if payload.len() < whole.min(LOOKED_AT) {
                continue;
            }
            let [_, _, _, kind, flags, a, b, c, d] = *header;
            let stream = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
            let header = Header { kind, flags, stream };
            found(Passed::Begin(Frame { header, payload }));
            self.skip = whole - payload.len();
            self.passing = Some(header);
            self.held.clear();
        }
    }
}

fn number(payload: &[u8], at: usize) -> u32 {
    let bytes = payload.get(at..).and_then(<[u8]>::first_chunk);
    bytes.copied().map_or(0, u32::from_be_bytes)
}

impl Effects {
    fn connection(&self, change: impl FnOnce(&mut Http2Connection)) {
        self.recorder.tcp(self.connection, |tcp| change(tcp.http2.get_or_insert_default()));
    }

    fn of(&self, frame: &Frame<'_>, by_peer: bool) {
        let at = self.clock.now();
        let Header { kind, flags, stream } = frame.header;
        match kind {
            HEADERS if !by_peer => {
                if let Some(request) = self.streams.open(stream) {
                    self.recorder.request(Some(request), |request| {
                        request.stream = Some(stream.into());
                        request.phases.request_began_at = Some(at);
                    });
                }
                let at_once = self.streams.at_once();
                self.connection(|http2| http2.streams_at_once = at_once);
            }
            HEADERS => {
                if let Some(request) = self.streams.request(stream) {
                    self.recorder.request(Some(request), |request| {
                        request.phases.first_byte_at.get_or_insert(at);
                    });
                }
            }
            RST_STREAM => {
                let by = if by_peer { ResetBy::Server } else { ResetBy::Client };
                let code = number(frame.payload, 0).into();
                if let Some(request) = self.streams.request(stream) {
                    self.recorder.request(Some(request), |request| {
                        request.reset.get_or_insert(Reset { at, by, code });
                    });
                }
                self.streams.close(stream);
            }
            SETTINGS if by_peer && flags & ACK == 0 => self.connection(|http2| {
                for setting in frame.payload.chunks_exact(6) {
                    let [a, b, value @ ..] = setting else { continue };
                    let identifier = u16::from_be_bytes([*a, *b]);
                    http2.settings.retain(|(other, _)| *other != identifier);
                    if http2.settings.len() < MAXIMUM_SETTINGS {
                        http2.settings.push((identifier, number(value, 0)));
                    }
                }
            }),
            PING if by_peer && flags & ACK == 0 => self.connection(|http2| http2.pings += 1),
            GOAWAY => self.connection(|http2| {
                http2.go_away.get_or_insert(GoAway {
                    at,
                    by_peer,
                    last_stream: number(frame.payload, 0) & 0x7fff_ffff,
                    code: number(frame.payload, 4),
                });
            }),
            _ => {}
        }
    }

    /// A frame has passed as a whole. The last one of a stream says so; where that has headers,
    /// their rest may follow in frames of their own.
    fn of_end(&self, header: Header, by_peer: bool) {
        let Header { kind, flags, stream } = header;
        let is_last = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        if !by_peer && (is_last || kind == CONTINUATION) {
            let at = self.clock.now();
            if let Some(request) = self.streams.request(stream) {
                self.recorder.request(Some(request), |request| {
                    let ended_at = &mut request.phases.request_ended_at;
                    if is_last || ended_at.is_some() {
                        *ended_at = Some(at);
                    }
                });
            }
        }
        if is_last {
            self.streams.end(stream, by_peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(pieces: &[&[u8]]) -> Vec<(u8, u32, Vec<u8>)> {
        let mut scanner = Scanner::after(PREFACE);
        let mut found = Vec::new();
        for piece in pieces {
            scanner.scan(piece, |passed| {
                if let Passed::Begin(Frame { header, payload }) = passed {
                    found.push((header.kind, header.stream, payload.to_vec()));
                }
            });
        }
        found
    }

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn long_frames_are_looked_at_from_their_beginning_alone() {
        let bytes =
            [vec![b'P'; PREFACE], frame(0, 3, &[7; 1000]), frame(GOAWAY, 0, &[0; 8])].concat();
        let expected = vec![(0, 3, vec![7; LOOKED_AT]), (GOAWAY, 0, vec![0; 8])];
        assert_eq!(frames(&[&bytes]), expected);
    }

    #[test]
    fn a_frame_ends_with_its_last_byte() {
        let bytes =
            [vec![b'P'; PREFACE], frame(DATA, 3, &[7; 100]), frame(SETTINGS, 0, &[])].concat();
        let mut scanner = Scanner::after(PREFACE);
        let mut ends = Vec::new();
        for (index, byte) in bytes.iter().enumerate() {
            scanner.scan(&[*byte], |passed| {
                if let Passed::End(header) = passed {
                    ends.push((index, header.kind));
                }
            });
        }
        assert_eq!(ends, [(PREFACE + 9 + 100 - 1, DATA), (bytes.len() - 1, SETTINGS)]);
    }

    #[test]
    fn a_stream_is_open_until_both_directions_are_over() {
        let streams = Streams::default();
        streams.expect(Some(Id(7)));
        assert_eq!(streams.open(1), Some(Id(7)));
        streams.end(1, true);
        assert_eq!(streams.request(1), Some(Id(7)));
        streams.end(1, false);
        assert_eq!(streams.request(1), None);
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(
            lengths in proptest::collection::vec(0usize..100, 0..8),
            cuts in proptest::collection::vec(0usize..900, 0..8),
        ) {
            let mut bytes = vec![0; PREFACE];
            for length in &lengths {
                bytes.extend(frame(9, 5, &vec![1; *length]));
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let found = frames(&pieces);
            prop_assert_eq!(found.len(), lengths.len());
            for ((_, _, payload), length) in found.iter().zip(&lengths) {
                prop_assert_eq!(payload.len(), (*length).min(LOOKED_AT));
            }
        }

        #[test]
        fn any_bytes_pass(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            frames(&[&bytes]);
        }
    }
}
