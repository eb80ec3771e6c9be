//! Where records are written to, and traces taken from. A record is changed under a lock that is
//! held for as long as the change takes; a trace shares the records, and one that changes
//! afterwards is copied. Reads and writes of sockets, and of bodies, only touch counters and logs
//! of their own.

mod batches;
mod dns;
mod entries;
mod quic;
mod references;
mod shares;
mod table;
mod taking;

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use self::table::Table;
#[cfg(feature = "kernel")]
use crate::record::{AddressTuple, ConntrackEntry, ConntrackEventKind};
use crate::{
    clock::{Clock, Moment},
    connection_log::{ConnectionLog, LogWriter},
    record::{
        Dial, DnsExchange, Failure, Headers, HttpRequest, Id, Layer, Missing, Phases, ProxyConnect,
        TcpConnection, TlsTunnel, UdpConnection,
    },
    settings::Recording,
};

pub(crate) use self::{batches::Dispatcher, dns::DnsMessages};

/// Names what a record is of, for all clients of the process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// How many different things are told of that could not be recorded.
const MAXIMUM_MISSING: usize = 64;

/// What moves while a request is under way, beside its record.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) request_body: AtomicU64,
    pub(crate) request_wire: AtomicU64,
    pub(crate) response_body: AtomicU64,
    pub(crate) response_wire: AtomicU64,
    pub(crate) headers: OnceLock<Headers>,
    pub(crate) added_headers: OnceLock<Headers>,
    pub(crate) response_headers: OnceLock<Headers>,
}

impl Progress {
    /// Keeps headers of a message, which are set once.
    pub(crate) fn keep(place: &OnceLock<Headers>, headers: Option<Headers>) {
        if let Some(headers) = headers {
            // Of a request that is sent again, they are the same.
            let _ = place.set(headers);
        }
    }

    /// Completes the record by what there is until now.
    fn tell(self: Arc<Self>, record: &mut HttpRequest) {
        record.request.body_bytes = self.request_body.load(Relaxed);
        record.request.wire_body_bytes = self.request_wire.load(Relaxed);
        if let Some(response) = &mut record.response {
            response.body_bytes = self.response_body.load(Relaxed);
            response.wire_body_bytes = self.response_wire.load(Relaxed);
        }
        let [headers, added, response_headers] = match Arc::try_unwrap(self) {
            Ok(own) => [own.headers, own.added_headers, own.response_headers]
                .map(|headers| headers.into_inner().unwrap_or_default()),
            Err(shared) => [&shared.headers, &shared.added_headers, &shared.response_headers]
                .map(|headers| headers.get().cloned().unwrap_or_default()),
        };
        record.request.headers = headers;
        record.added_headers = added;
        if let Some(response) = &mut record.response {
            response.headers = response_headers;
        }
    }
}

/// Records what a client does.
#[derive(Debug)]
pub(crate) struct Recorder {
    clock: Clock,
    recording: Recording,
    session: String,
    state: Mutex<State>,
    dispatcher: Option<Dispatcher>,
}

#[derive(Debug)]
struct State {
    began_at: Moment,
    closed: bool,
    dials: Table<Dial, ()>,
    tcp: Table<TcpConnection, Arc<ConnectionLog>>,
    udp: Table<UdpConnection, Arc<ConnectionLog>>,
    dns: Table<DnsExchange, Arc<DnsMessages>>,
    tls: Table<TlsTunnel, ()>,
    connects: Table<ProxyConnect, ()>,
    requests: Table<HttpRequest, Arc<Progress>>,
    missing: Vec<Missing>,
    conntrack_events_lost: u64,
}

impl State {
    fn new(began_at: Moment, limit: usize) -> Self {
        Self {
            began_at,
            closed: false,
            dials: Table::new(limit),
            tcp: Table::new(limit),
            udp: Table::new(limit),
            dns: Table::new(limit),
            tls: Table::new(limit),
            connects: Table::new(limit),
            requests: Table::new(limit),
            missing: Vec::new(),
            conntrack_events_lost: 0,
        }
    }
}

impl Recorder {
    pub(crate) fn new(recording: Recording, session: String) -> Arc<Self> {
        let clock = Clock::start();
        let limit = recording.records.get();
        let dispatcher = recording.batches.clone().map(Dispatcher::start);
        let state = Mutex::new(State::new(clock.now(), limit));
        Arc::new(Self { clock, recording, session, state, dispatcher })
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(crate) fn recording(&self) -> &Recording {
        &self.recording
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id() -> Id {
        Id(NEXT_ID.fetch_add(1, Relaxed))
    }

    fn log(&self) -> (Arc<ConnectionLog>, LogWriter) {
        let limit = self.recording.operations_per_connection.get() as u64;
        ConnectionLog::new(self.recording.operations.then_some(limit))
    }

    /// What a request was waiting for, and which layer that is of.
    pub(crate) fn stage(&self, request: Option<Id>) -> (Layer, String) {
        let state = self.state();
        let found = request.and_then(|request| state.requests.get(request));
        let Some(request) = found.filter(|request| request.connection.is_none()) else {
            return (Layer::Request, "waiting for the response".to_owned());
        };
        let Some(dial) = request.dial.and_then(|dial| state.dials.get(dial)) else {
            return (Layer::Connect, "waiting for a connection".to_owned());
        };
        if dial.ended_at.is_some() && request.phases.quic_ended_at.is_some() {
            return (Layer::Request, "waiting for a stream of HTTP/3".to_owned());
        }
        if dial.ended_at.is_some() {
            return match request.phases.tls_ended_at {
                None if request.proxy_connect.is_some() => {
                    (Layer::Proxy, "waiting for the proxy".to_owned())
                }
                _ => (Layer::Tls, "in the TLS handshake".to_owned()),
            };
        }
        if dial.lookup.as_ref().is_some_and(|lookup| lookup.ended_at.is_none()) {
            return (Layer::Dns, "looking up the name".to_owned());
        }
        (Layer::Connect, format!("connecting to {}", dial.destination))
    }

    /// The parts of a request's time that its dial took until now.
    pub(crate) fn phases_of_dial(&self, dial: Id) -> Phases {
        self.state().dials.get(dial).map(Phases::of_dial).unwrap_or_default()
    }

    /// Ends a request that failed. What its dial did until then counts as its own, also where
    /// nobody waited for the end of that.
    pub(crate) fn fail_request(&self, id: Option<Id>, failure: &Failure) {
        let Some(id) = id else { return };
        let mut state = self.state();
        let ended_at = self.now();
        let waiting = state.requests.get(id).filter(|request| request.connection.is_none());
        let dial = waiting.and_then(|request| request.dial).and_then(|dial| state.dials.get(dial));
        let dialled = dial.map(Phases::of_dial);
        state.requests.change(id, |request| {
            if let Some(dialled) = dialled {
                request.phases.take_up(dialled);
            }
            request.phases.ended_at = Some(ended_at);
            request.error = Some(failure.clone());
        });
        drop(state);
        self.after_change();
    }

    /// Says of something that it is not in the trace, once.
    pub(crate) fn missing(&self, what: &str, why: &str) {
        let mut state = self.state();
        let missing = Missing { what: what.to_owned(), why: why.to_owned() };
        if state.missing.len() < MAXIMUM_MISSING && !state.missing.contains(&missing) {
            tracing::warn!(what, why, "not recorded");
            state.missing.push(missing);
        }
    }

    /// Counts events of connection tracking that were lost.
    #[cfg(feature = "kernel")]
    pub(crate) fn lost_conntrack_events(&self, count: u64) {
        self.state().conntrack_events_lost += count;
    }

    /// The connections of the trace, with both ends.
    #[cfg(feature = "kernel")]
    pub(crate) fn addresses(&self) -> Vec<TracedAddresses> {
        let state = self.state();
        let tcp = state.tcp.rows().map(|(tcp, log)| TracedAddresses {
            id: tcp.id,
            is_tcp: true,
            began_at: tcp.began_at,
            addresses: tcp.addresses,
            tracked: tcp.conntrack.as_deref().map(TrackedAddresses::of),
            ended_at: log.closed_at().or(tcp.ended_at.filter(|_| !tcp.connected)),
        });
        let udp = state.udp.rows().map(|(udp, log)| TracedAddresses {
            id: udp.id,
            is_tcp: false,
            began_at: udp.began_at,
            addresses: udp.addresses,
            tracked: udp.conntrack.as_deref().map(TrackedAddresses::of),
            ended_at: log.closed_at(),
        });
        tcp.chain(udp).collect()
    }
}

/// A connection of the trace, for whoever has to find its packets or its tracking.
#[cfg(feature = "kernel")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct TracedAddresses {
    pub(crate) id: Id,
    pub(crate) is_tcp: bool,
    pub(crate) began_at: Moment,
    pub(crate) addresses: AddressTuple,
    /// As the kernel tracks it.
    pub(crate) tracked: Option<TrackedAddresses>,
    pub(crate) ended_at: Option<Moment>,
}

/// How a connection of the trace is tracked.
#[cfg(feature = "kernel")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrackedAddresses {
    /// When all of it was known.
    pub(crate) captured_at: Moment,
    /// From the server, after translation.
    pub(crate) reply: AddressTuple,
    /// Whether it is not tracked any more.
    pub(crate) is_destroyed: bool,
}

#[cfg(feature = "kernel")]
impl TrackedAddresses {
    fn of(entry: &ConntrackEntry) -> Self {
        let last = entry.events.last().map(|event| event.kind);
        Self {
            captured_at: entry.captured_at,
            reply: entry.reply,
            is_destroyed: last == Some(ConntrackEventKind::Destroyed),
        }
    }
}
