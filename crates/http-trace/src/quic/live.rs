//! Connections that are there: what they have counted is asked for when a trace is taken, and when
//! they end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quinn::{ConnectionError, VarInt};
use tokio::time::{Instant, timeout_at};

use super::{QuicStream, socket::TracedSocket};
use crate::{
    record::{Id, QuicClose, QuicCloseLayer, QuicClosedBy, QuicStatistics},
    recorder::Recorder,
};

/// How long the last packets of connections are waited for.
const FAREWELL: Duration = Duration::from_millis(100);

/// All connections of a client.
#[derive(Debug)]
pub(crate) struct Live {
    recorder: Arc<Recorder>,
    connections: Mutex<HashMap<Id, Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    connection: quinn::Connection,
    socket: Arc<TracedSocket>,
}

impl Live {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Arc<Self> {
        Arc::new(Self { recorder, connections: Mutex::default() })
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<Id, Entry>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, stream: &QuicStream) {
        let (connection, socket) = (stream.connection.clone(), Arc::clone(&stream.socket.socket));
        self.connections().insert(stream.id, Entry { connection, socket });
    }

    /// Brings what is counted up to date.
    pub(crate) fn update(&self) {
        for (&id, entry) in &*self.connections() {
            self.count(id, &entry.connection);
        }
    }

    fn count(&self, id: Id, connection: &quinn::Connection) {
        let statistics = statistics(&self.recorder, connection);
        self.recorder.quic(id, |quic| quic.statistics = Some(statistics));
    }

    /// A connection has ended. `said` are the code and the words with which we ended it.
    pub(crate) fn end(&self, id: Id, said: Option<(u64, String)>) {
        let Some(entry) = self.connections().remove(&id) else { return };
        self.record_end(id, &entry.connection, said);
    }

    fn record_end(&self, id: Id, connection: &quinn::Connection, said: Option<(u64, String)>) {
        self.count(id, connection);
        let Some(error) = connection.close_reason() else { return };
        let close = close(&self.recorder, &error, said);
        self.recorder.quic(id, |quic| {
            quic.close.get_or_insert(close);
        });
    }

    /// Ends all connections, and their records.
    pub(crate) fn close(&self) {
        for (id, entry) in self.connections().drain() {
            let code = h3::error::Code::H3_NO_ERROR.value();
            entry.connection.close(VarInt::from_u64(code).unwrap_or_default(), &[]);
            self.record_end(id, &entry.connection, Some((code, String::new())));
            entry.socket.close(self.recorder.now());
        }
    }

    /// Ends all connections, and waits until they have said so to the servers.
    pub(crate) async fn say_farewell(&self) {
        let deadline = Instant::now() + FAREWELL;
        let sockets: Vec<(u64, Arc<TracedSocket>)> = (self.connections().values())
            .map(|entry| (entry.socket.sent(), Arc::clone(&entry.socket)))
            .collect();
        self.close();
        let farewell = async {
            for (before, socket) in sockets {
                while socket.sent() == before {
                    tokio::task::yield_now().await;
                }
            }
        };
        // What is not sent in time is not waited for.
        let _ = timeout_at(deadline, farewell).await;
    }
}

fn statistics(recorder: &Recorder, connection: &quinn::Connection) -> QuicStatistics {
    let statistics = connection.stats();
    let (path, sent, received) = (&statistics.path, &statistics.udp_tx, &statistics.udp_rx);
    let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    QuicStatistics {
        at: recorder.now(),
        rtt_us: microseconds(path.rtt),
        minimum_rtt_us: microseconds(path.min_rtt),
        congestion_window: path.cwnd,
        congestion_events: path.congestion_events,
        sent_packets: path.sent_packets,
        lost_packets: path.lost_packets,
        lost_bytes: path.lost_bytes,
        path_mtu: path.current_mtu,
        sent_datagrams: sent.datagrams,
        sent_bytes: sent.bytes,
        received_datagrams: received.datagrams,
        received_bytes: received.bytes,
    }
}

fn close(recorder: &Recorder, error: &ConnectionError, said: Option<(u64, String)>) -> QuicClose {
    use QuicCloseLayer::{Application, Transport};
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (by, layer, code, reason) = match error {
        ConnectionError::LocallyClosed => {
            let (code, reason) = said.unzip();
            (QuicClosedBy::Client, Some(Application), code, reason.unwrap_or_default())
        }
        ConnectionError::TransportError(error) => {
            let code = u64::from(error.code);
            (QuicClosedBy::Client, Some(Transport), Some(code), error.reason.clone())
        }
        ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            (QuicClosedBy::Server, Some(Transport), Some(code), text(&close.reason))
        }
        ConnectionError::ApplicationClosed(close) => {
            let code = close.error_code.into_inner();
            (QuicClosedBy::Server, Some(Application), Some(code), text(&close.reason))
        }
        ConnectionError::Reset => (QuicClosedBy::Reset, None, None, String::new()),
        ConnectionError::TimedOut => (QuicClosedBy::Timeout, None, None, String::new()),
        ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {
            (QuicClosedBy::Client, None, None, error.to_string())
        }
    };
    QuicClose { at: recorder.now(), by, layer, code, reason }
}
