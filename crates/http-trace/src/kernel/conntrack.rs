//! Connections as the kernel tracks them: asked for once in a while, when a trace is taken, and
//! when a connection has ended, so that its last state and its counters are seen.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use netglass_kernel::{Error, Lookups, Tracked};
use netglass_model::Protocol;

use crate::{
    clock::Moment,
    record::{AddressTuple, ConntrackEntry},
    recorder::{Recorder, TracedAddresses},
};

const WHAT: &str = "connection tracking";
/// How often connections are asked for whose trace nobody takes.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long after its end a connection is looked for that was not found.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct ConntrackRecorder {
    lookups: Arc<Mutex<Option<Lookups>>>,
    recorder: Weak<Recorder>,
    /// The thread ends when it is gone.
    alive: Mutex<Option<Sender<()>>>,
}

impl ConntrackRecorder {
    pub(super) fn start(recorder: &Arc<Recorder>) -> Self {
        let lookups = match Lookups::open() {
            Ok(lookups) => Some(lookups),
            Err(error) => {
                missing(recorder, &error);
                None
            }
        };
        let lookups = Arc::new(Mutex::new(lookups));
        let recorder = Arc::downgrade(recorder);
        let (alive, gone) = channel::<()>();
        let (for_thread, recorder_of_thread) = (Arc::clone(&lookups), Weak::clone(&recorder));
        std::thread::spawn(move || {
            while gone.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let Some(recorder) = recorder_of_thread.upgrade() else { return };
                look(&for_thread, &recorder);
            }
        });
        Self { lookups, recorder, alive: Mutex::new(Some(alive)) }
    }

    pub(super) fn update(&self) {
        if let Some(recorder) = self.recorder.upgrade() {
            look(&self.lookups, &recorder);
        }
    }

    pub(super) fn stop(&self) {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Whether there may be news of a connection.
fn is_of_interest(connection: &TracedAddresses, now: Moment) -> bool {
    match (connection.ended_at, connection.tracked) {
        (None, _) => true,
        (Some(ended_at), Some((captured_at, _))) => captured_at <= ended_at,
        (Some(ended_at), None) => now.since(ended_at) < PATIENCE,
    }
}

fn look(lookups: &Mutex<Option<Lookups>>, recorder: &Recorder) {
    let mut lookups = lookups.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(open) = lookups.as_mut() else { return };
    let now = recorder.now();
    for connection in recorder.addresses() {
        let Some(source) = connection.addresses.source else { continue };
        if !is_of_interest(&connection, now) {
            continue;
        }
        let protocol = if connection.is_tcp { Protocol::Tcp } else { Protocol::Udp };
        match open.find(protocol, source, connection.addresses.destination) {
            Ok(Some(tracked)) => {
                let entry = Some(Box::new(entry(recorder.now(), &tracked)));
                if connection.is_tcp {
                    recorder.tcp(connection.id, |tcp| tcp.conntrack = entry);
                } else {
                    recorder.udp(connection.id, |udp| udp.conntrack = entry);
                }
            }
            Ok(None) => {}
            Err(error) => {
                missing(recorder, &error);
                *lookups = None;
                return;
            }
        }
    }
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
    }
}
