//! Connections as the kernel tracks them. Where it tells of them by itself, that is listened to;
//! else, and where some of it was lost, they are asked for once in a while. When a trace is taken
//! they are asked for in any case, since only their end is told with counters.

mod news;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    },
    time::{Duration, Instant},
};

use netglass_kernel::{Error, Lookups, Tracked, TrackedNews};
use netglass_model::Protocol;

use self::news::News;
use crate::{
    clock::Moment,
    record::{AddressTuple, ConntrackEntry},
    recorder::{Recorder, TracedAddresses},
};

const WHAT: &str = "connection tracking";
/// How often connections are asked for, or told news sorted out, whose trace nobody takes.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the client may go unnoticed while there are no news.
const PAUSE: Duration = Duration::from_millis(200);
/// How long after its end a connection is looked for that was not found.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct ConntrackRecorder {
    state: Arc<Mutex<State>>,
    recorder: Weak<Recorder>,
    /// The thread ends when it is gone.
    alive: Mutex<Option<Sender<()>>>,
}

#[derive(Debug)]
struct State {
    lookups: Option<Lookups>,
    /// Nothing where the kernel does not tell.
    listener: Option<Arc<TrackedNews>>,
    news: News,
}

impl ConntrackRecorder {
    pub(super) fn start(recorder: &Arc<Recorder>) -> Self {
        let lookups = said(recorder, Lookups::open());
        // Who may not ask may not listen either, and is told once.
        let listener = lookups.as_ref().and_then(|_| said(recorder, TrackedNews::open()).flatten());
        let listener = listener.map(Arc::new);
        let state = State { lookups, listener: listener.clone(), news: News::default() };
        let state = Arc::new(Mutex::new(state));
        let recorder = Arc::downgrade(recorder);
        let (alive, gone) = channel::<()>();
        let (for_thread, recorder_of_thread) = (Arc::clone(&state), Weak::clone(&recorder));
        std::thread::spawn(move || match listener {
            Some(listener) => listen(&listener, &gone, &for_thread, &recorder_of_thread),
            None => ask(&gone, &for_thread, &recorder_of_thread),
        });
        Self { state, recorder, alive: Mutex::new(Some(alive)) }
    }

    pub(super) fn update(&self) {
        if let Some(recorder) = self.recorder.upgrade() {
            let mut state = lock(&self.state);
            state.listen(&recorder);
            state.sort_out(&recorder);
            state.ask(&recorder);
        }
    }

    pub(super) fn stop(&self) {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for all connections once in a while.
fn ask(gone: &Receiver<()>, state: &Mutex<State>, recorder: &Weak<Recorder>) {
    while gone.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let Some(recorder) = recorder.upgrade() else { return };
        lock(state).ask(&recorder);
    }
}

/// Takes news as they come, so that their times are right.
fn listen(
    listener: &TrackedNews,
    gone: &Receiver<()>,
    state: &Mutex<State>,
    recorder: &Weak<Recorder>,
) {
    let mut sorted_at = Instant::now();
    while gone.try_recv() == Err(TryRecvError::Empty) {
        let waited = listener.wait(PAUSE);
        let Some(recorder) = recorder.upgrade() else { return };
        let mut state = lock(state);
        if said(&recorder, waited).is_none() {
            state.listener = None;
        }
        state.listen(&recorder);
        if sorted_at.elapsed() >= INTERVAL {
            sorted_at = Instant::now();
            state.sort_out(&recorder);
        }
        if state.listener.is_none() {
            break;
        }
    }
    // Until the client goes, or at once where it has gone.
    ask(gone, state, recorder);
}

impl State {
    /// Takes the news until now. Where some were lost, connections are asked for.
    fn listen(&mut self, recorder: &Recorder) {
        let Some(listener) = &self.listener else { return };
        let news = &mut self.news;
        let taken = listener.take(|happening, tracked| {
            news.add(recorder.now(), happening, tracked);
        });
        let Some(lost) = said(recorder, taken) else {
            self.listener = None;
            return;
        };
        let lost = lost + news.take_dropped();
        if lost > 0 {
            recorder.lost_conntrack_events(lost);
            self.ask(recorder);
        }
    }

    fn sort_out(&mut self, recorder: &Recorder) {
        if self.listener.is_some() {
            self.news.sort_out(recorder);
        }
    }

    /// Asks for all connections of which there may be news.
    fn ask(&mut self, recorder: &Recorder) {
        let Some(lookups) = self.lookups.as_mut() else { return };
        let now = recorder.now();
        for connection in recorder.addresses() {
            let Some(source) = connection.addresses.source else { continue };
            if !is_of_interest(&connection, now) {
                continue;
            }
            let protocol = if connection.is_tcp { Protocol::Tcp } else { Protocol::Udp };
            match lookups.find(protocol, source, connection.addresses.destination) {
                Ok(Some(tracked)) => {
                    let found = entry(recorder.now(), &tracked);
                    change(recorder, &connection, |entry| match entry {
                        Some(entry) => {
                            let events = std::mem::take(&mut entry.events);
                            let dropped_events = entry.dropped_events;
                            **entry = ConntrackEntry { events, dropped_events, ..found };
                        }
                        None => *entry = Some(Box::new(found)),
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    missing(recorder, &error);
                    self.lookups = None;
                    return;
                }
            }
        }
    }
}

/// Changes what is known of how a connection is tracked.
fn change(
    recorder: &Recorder,
    connection: &TracedAddresses,
    change: impl FnOnce(&mut Option<Box<ConntrackEntry>>),
) {
    if connection.is_tcp {
        recorder.tcp(connection.id, |tcp| change(&mut tcp.conntrack));
    } else {
        recorder.udp(connection.id, |udp| change(&mut udp.conntrack));
    }
}

/// Whether there may be news of a connection.
fn is_of_interest(connection: &TracedAddresses, now: Moment) -> bool {
    match (connection.ended_at, connection.tracked) {
        // Another one may have its addresses meanwhile.
        (_, Some(tracked)) if tracked.is_destroyed => false,
        (None, _) => true,
        (Some(ended_at), Some(tracked)) => tracked.captured_at <= ended_at,
        (Some(ended_at), None) => now.since(ended_at) < PATIENCE,
    }
}

/// What was returned; an error is told in the trace.
fn said<T>(recorder: &Recorder, result: Result<T, Error>) -> Option<T> {
    result.map_err(|error| missing(recorder, &error)).ok()
}

/// Says so where the user asked for it.
fn missing(recorder: &Recorder, error: &Error) {
    if !recorder.recording().conntrack {
        return;
    }
    let why = match error {
        Error::Netlink { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            format!("{error}; run as root, or with the capability CAP_NET_ADMIN")
        }
        _ => error.to_string(),
    };
    recorder.missing(WHAT, &why);
}

fn entry(captured_at: Moment, tracked: &Tracked) -> ConntrackEntry {
    let tuple = |tuple: netglass_kernel::conntrack::message::Tuple| AddressTuple {
        source: Some((tuple.source, tuple.source_port).into()),
        destination: (tuple.destination, tuple.destination_port).into(),
    };
    ConntrackEntry {
        captured_at,
        status: tracked.status,
        tcp_state: tracked.tcp_state,
        mark: tracked.mark,
        original: tuple(tracked.original),
        reply: tuple(tracked.reply),
        packets_sent: tracked.sent.0,
        packets_received: tracked.received.0,
        bytes_sent: tracked.sent.1,
        bytes_received: tracked.received.1,
        events: Vec::new(),
        dropped_events: 0,
    }
}
