//! What is seen of a connection while HTTP/3 is spoken: which stream is whose request, what the
//! server announces, and how we end it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::frames::{GOAWAY, SETTINGS, varint};
use crate::{
    record::{Http3GoAway, Id},
    recorder::Recorder,
};

/// How many settings are kept.
const MAXIMUM_SETTINGS: usize = 32;

pub(super) struct Observed {
    pub(super) connection: Id,
    /// How long a frame may be that is none of a body.
    pub(super) longest_frame: u64,
    recorder: Arc<Recorder>,
    is_going: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests whose response has not begun, by their stream.
    waiting: HashMap<u64, Option<Id>>,
    said: Option<(u64, String)>,
}

impl Observed {
    pub(super) fn new(connection: Id, longest_frame: u64, recorder: Arc<Recorder>) -> Self {
        let (is_going, state) = (AtomicBool::new(false), Mutex::default());
        Self { connection, longest_frame, recorder, is_going, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was given to a stream.
    pub(super) fn opened(&self, stream: u64, request: Option<Id>) {
        let at = Some(self.recorder.now());
        self.recorder.request(request, |request| {
            request.stream = Some(stream);
            request.phases.request_began_at = at;
        });
        self.state().waiting.insert(stream, request);
    }

    /// Something came on a stream.
    pub(super) fn received(&self, stream: u64) {
        let request = self.state().waiting.remove(&stream);
        let at = self.recorder.now();
        self.recorder.request(request.flatten(), |request| {
            request.phases.first_byte_at.get_or_insert(at);
        });
    }

    /// Nobody waits for anything on a stream.
    pub(super) fn abandoned(&self, stream: u64) {
        self.state().waiting.remove(&stream);
    }

    /// A frame that is of no single request.
    pub(super) fn frame(&self, kind: u64, payload: &[u8]) {
        match kind {
            SETTINGS => {
                let mut settings = Vec::new();
                let mut rest = payload;
                while settings.len() < MAXIMUM_SETTINGS
                    && let Some((identifier, after)) = varint(rest)
                    && let Some((value, after)) = varint(after)
                {
                    settings.push((identifier, value));
                    rest = after;
                }
                self.recorder.quic(self.connection, |quic| quic.settings = settings);
            }
            GOAWAY => {
                self.is_going.store(true, Relaxed);
                let Some((stream, _)) = varint(payload) else { return };
                let at = self.recorder.now();
                self.recorder.quic(self.connection, |quic| {
                    // Each says less than the one before.
                    quic.go_away = Some(Http3GoAway { at, stream });
                });
            }
            _ => {}
        }
    }

    /// Whether the server takes no further requests.
    pub(super) fn is_going(&self) -> bool {
        self.is_going.load(Relaxed)
    }

    /// Notes how we end the connection.
    pub(super) fn say(&self, code: u64, reason: &str) {
        self.state().said.get_or_insert_with(|| (code, reason.to_owned()));
    }

    pub(super) fn said(&self) -> Option<(u64, String)> {
        self.state().said.clone()
    }
}
