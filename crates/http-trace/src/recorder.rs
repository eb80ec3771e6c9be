//! Where records are written to, and traces taken from. A record is changed under a lock that is
//! held for as long as the change takes; a trace shares the records, and one that changes
//! afterwards is copied. Reads and writes of sockets, and of bodies, only touch counters and logs
//! of their own.

mod batches;
mod table;

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use self::table::Table;
use crate::{
    clock::{Clock, Moment},
    connection_log::{ConnectionLog, LogWriter},
    record::{
        AddressTuple, CaptureSummary, Dial, DialOutcome, DnsExchange, DnsTransport, Dropped,
        HttpRequest, HttpTrace, Id, Layer, Missing, Phases, ProxyConnect, SCHEMA_VERSION,
        TcpConnection, TlsRole, TlsTunnel, UdpConnection, Via,
    },
    settings::Recording,
};

pub(crate) use self::batches::Dispatcher;

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
    dns: Table<DnsExchange, ()>,
    tls: Table<TlsTunnel, ()>,
    connects: Table<ProxyConnect, ()>,
    requests: Table<HttpRequest, Arc<Progress>>,
    missing: Vec<Missing>,
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

    pub(crate) fn begin_dial(
        &self,
        request: Option<Id>,
        destination: String,
        source_ip: Option<IpAddr>,
    ) -> Id {
        let mut state = self.state();
        let id = Self::next_id();
        let dial = Dial {
            id,
            request,
            destination,
            source_ip,
            began_at: self.now(),
            ended_at: None,
            outcome: DialOutcome::Running,
            lookup: None,
            resolver_dials: Vec::new(),
            skipped_nameservers: Vec::new(),
            attempts: Vec::new(),
            fallback_cost: None,
        };
        state.dials.add(id, dial, ());
        id
    }

    pub(crate) fn dial(&self, id: Id, change: impl FnOnce(&mut Dial)) {
        self.state().dials.change(id, change);
        self.after_change();
    }

    pub(crate) fn begin_tcp(
        &self,
        dial: Id,
        to_nameserver: bool,
        addresses: AddressTuple,
    ) -> (Id, LogWriter) {
        let (log, writer) = self.log();
        let mut state = self.state();
        let id = Self::next_id();
        let connection = TcpConnection {
            id,
            dial: Some(dial),
            to_nameserver,
            began_at: self.now(),
            ended_at: None,
            connected: false,
            error: None,
            closed_at: None,
            addresses,
            from_earlier_trace: false,
            requests: 0,
            sent_bytes: 0,
            received_bytes: 0,
            operations: None,
            information_at_connect: None,
            information_at_close: None,
            conntrack: None,
            http2: None,
        };
        state.tcp.add(id, connection, log);
        (id, writer)
    }

    pub(crate) fn tcp(&self, id: Id, change: impl FnOnce(&mut TcpConnection)) {
        self.state().tcp.change(id, change);
        self.after_change();
    }

    pub(crate) fn begin_udp(&self, dial: Id, addresses: AddressTuple) -> (Id, LogWriter) {
        let (log, writer) = self.log();
        let mut state = self.state();
        let id = Self::next_id();
        let connection = UdpConnection {
            id,
            dial: Some(dial),
            to_nameserver: true,
            began_at: self.now(),
            closed_at: None,
            addresses,
            sent_bytes: 0,
            received_bytes: 0,
            operations: None,
            error: None,
            conntrack: None,
        };
        state.udp.add(id, connection, log);
        (id, writer)
    }

    #[cfg(feature = "kernel")]
    pub(crate) fn udp(&self, id: Id, change: impl FnOnce(&mut UdpConnection)) {
        self.state().udp.change(id, change);
        self.after_change();
    }

    /// Nothing where DNS is not recorded.
    pub(crate) fn begin_dns(
        &self,
        dial: Id,
        connection: Id,
        transport: DnsTransport,
        nameserver: SocketAddr,
    ) -> Option<Id> {
        if !self.recording.dns {
            return None;
        }
        let mut state = self.state();
        let id = Self::next_id();
        let exchange = DnsExchange {
            id,
            dial: Some(dial),
            connection: Some(connection),
            transport,
            nameserver,
            began_at: self.now(),
            ended_at: None,
            queries: Vec::new(),
            replies: Vec::new(),
            dropped_replies: 0,
            error: None,
        };
        state.dns.add(id, exchange, ());
        Some(id)
    }

    pub(crate) fn dns(&self, id: Option<Id>, change: impl FnOnce(&mut DnsExchange)) {
        if let Some(id) = id {
            self.state().dns.change(id, change);
            self.after_change();
        }
    }

    /// Nothing where requests are not recorded.
    pub(crate) fn begin_tls(
        &self,
        connection: Id,
        request: Option<Id>,
        role: TlsRole,
        offered_protocols: Vec<String>,
    ) -> Option<Id> {
        self.recording.requests.as_ref()?;
        let mut state = self.state();
        let id = Self::next_id();
        let tunnel = TlsTunnel {
            id,
            connection: Some(connection),
            request,
            role,
            began_at: self.now(),
            ended_at: None,
            error: None,
            server_name: None,
            offered_protocols,
            protocol: None,
            version: None,
            cipher_suite: None,
            cipher_suite_name: None,
            group: None,
            resumed: false,
            certificates: Vec::new(),
            refused_certificate: None,
            alert_received: None,
            alert_sent: None,
            client_certificate_requested: false,
            ocsp_response: None,
        };
        state.tls.add(id, tunnel, ());
        Some(id)
    }

    pub(crate) fn tls(&self, id: Option<Id>, change: impl FnOnce(&mut TlsTunnel)) {
        if let Some(id) = id {
            self.state().tls.change(id, change);
            self.after_change();
        }
    }

    /// Nothing where requests are not recorded.
    pub(crate) fn begin_connect(
        &self,
        connection: Id,
        request: Option<Id>,
        protocol: &str,
        target: &str,
    ) -> Option<Id> {
        self.recording.requests.as_ref()?;
        let mut state = self.state();
        let id = Self::next_id();
        let connect = ProxyConnect {
            id,
            connection: Some(connection),
            request,
            protocol: protocol.to_owned(),
            target: target.to_owned(),
            began_at: self.now(),
            ended_at: None,
            status: None,
            headers: Vec::new(),
            error: None,
        };
        state.connects.add(id, connect, ());
        Some(id)
    }

    pub(crate) fn connect(&self, id: Option<Id>, change: impl FnOnce(&mut ProxyConnect)) {
        if let Some(id) = id {
            self.state().connects.change(id, change);
            self.after_change();
        }
    }

    /// Nothing where requests are not recorded.
    pub(crate) fn begin_request(
        &self,
        method: String,
        url: String,
        via: Option<Via>,
        progress: &Arc<Progress>,
    ) -> Option<Id> {
        self.recording.requests.as_ref()?;
        let mut state = self.state();
        let id = Self::next_id();
        let request = HttpRequest {
            id,
            connection: None,
            uses: Vec::new(),
            dial: None,
            tls: None,
            proxy_tls: None,
            proxy_connect: None,
            made_tunnels: false,
            proxy: None,
            via,
            url,
            method,
            version: None,
            stream: None,
            request: crate::record::Message::default(),
            added_headers: Vec::new(),
            status: None,
            response: None,
            informational: Vec::new(),
            decoded: None,
            phases: Phases { queued_at: self.now(), ..Phases::default() },
            error: None,
            body_error: None,
            reset: None,
            alternative_services: None,
        };
        state.requests.add(id, request, Arc::clone(progress));
        Some(id)
    }

    pub(crate) fn request(&self, id: Option<Id>, change: impl FnOnce(&mut HttpRequest)) {
        if let Some(id) = id {
            self.state().requests.change(id, change);
            self.after_change();
        }
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

    /// Says of something that it is not in the trace, once.
    pub(crate) fn missing(&self, what: &str, why: &str) {
        let mut state = self.state();
        let missing = Missing { what: what.to_owned(), why: why.to_owned() };
        if state.missing.len() < MAXIMUM_MISSING && !state.missing.contains(&missing) {
            tracing::warn!(what, why, "not recorded");
            state.missing.push(missing);
        }
    }

    /// The connections of the trace, with both ends.
    #[cfg(feature = "kernel")]
    pub(crate) fn addresses(&self) -> Vec<TracedAddresses> {
        let state = self.state();
        let tcp = state.tcp.rows().map(|(tcp, log)| TracedAddresses {
            id: tcp.id,
            is_tcp: true,
            addresses: tcp.addresses,
            tracked: tcp.conntrack.as_ref().map(|entry| (entry.captured_at, entry.reply)),
            ended_at: log.closed_at().or(tcp.ended_at.filter(|_| !tcp.connected)),
        });
        let udp = state.udp.rows().map(|(udp, log)| TracedAddresses {
            id: udp.id,
            is_tcp: false,
            addresses: udp.addresses,
            tracked: udp.conntrack.as_ref().map(|entry| (entry.captured_at, entry.reply)),
            ended_at: log.closed_at(),
        });
        tcp.chain(udp).collect()
    }

    /// All that happened since the trace began. It goes on.
    pub(crate) fn snapshot(&self, description: &str, captures: Vec<CaptureSummary>) -> HttpTrace {
        if let Some(dispatcher) = &self.dispatcher {
            let batch = self.take_over(true);
            dispatcher.give(batch);
            dispatcher.wait();
            return self.empty(description, captures);
        }
        let (began_at, ended_at, dropped, missing, shares) = {
            let state = self.state();
            (state.began_at, self.now(), state.dropped(), state.missing.clone(), state.share())
        };
        let mut trace = shares.into_trace(began_at, ended_at);
        description.clone_into(&mut trace.description);
        trace.session.clone_from(&self.session);
        trace.began_at_wall = self.clock.on_wall(began_at);
        trace.captures = captures;
        trace.dropped = dropped;
        trace.missing = missing;
        if !self.recording.conntrack {
            // It was only asked for to find packets.
            trace.tcp.iter_mut().for_each(|tcp| tcp.conntrack = None);
            trace.udp.iter_mut().for_each(|udp| udp.conntrack = None);
        }
        trace
    }

    fn empty(&self, description: &str, captures: Vec<CaptureSummary>) -> HttpTrace {
        let (began_at, missing) = {
            let state = self.state();
            (state.began_at, state.missing.clone())
        };
        HttpTrace {
            description: description.to_owned(),
            session: self.session.clone(),
            began_at_wall: self.clock.on_wall(began_at),
            captures,
            missing,
            dropped: Dropped {
                batches: self.dispatcher.as_ref().map_or(0, Dispatcher::dropped),
                ..Dropped::default()
            },
            ..Shares::default().into_trace(began_at, self.now())
        }
    }

    /// The trace begins now: what making the client took is no part of it.
    pub(crate) fn begin(&self) {
        self.state().began_at = self.now();
    }

    /// Begins a new trace: what is over is forgotten, what goes on is taken along.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.began_at = self.now();
        state.dials.forget_over();
        state.udp.forget_over();
        state.dns.forget_over();
        state.tls.forget_over();
        state.connects.forget_over();
        state.requests.forget_over();
        state.tcp.forget_over();
        state.tcp.for_each(|tcp, log| {
            tcp.from_earlier_trace = true;
            log.make_room();
        });
        state.missing.clear();
    }

    /// Takes the last trace; whatever is recorded afterwards is in none.
    pub(crate) fn close(&self, description: &str, captures: Vec<CaptureSummary>) -> HttpTrace {
        if let Some(dispatcher) = &self.dispatcher {
            let batch = self.take_over(true);
            if dispatcher.flushes_on_close() {
                dispatcher.give(batch);
            }
            dispatcher.wait();
        }
        let trace = if self.dispatcher.is_some() {
            self.empty(description, captures)
        } else {
            self.snapshot(description, captures)
        };
        let mut state = self.state();
        *state = State::new(self.now(), 0);
        state.closed = true;
        trace
    }

    /// Gives batches away when there are enough records for one.
    fn after_change(&self) {
        let Some(dispatcher) = &self.dispatcher else { return };
        if self.state().has_batch(dispatcher.threshold()) {
            dispatcher.give(self.take_over(false));
        }
    }

    /// Takes the records that are complete, or all of them.
    fn take_over(&self, all: bool) -> HttpTrace {
        let (shares, began_at) = {
            let mut state = self.state();
            (state.take(all), state.began_at)
        };
        let mut trace = shares.into_trace_of_batch(began_at, self.now());
        trace.session.clone_from(&self.session);
        trace.began_at_wall = self.clock.on_wall(began_at);
        trace
    }
}

/// A connection of the trace, for whoever has to find its packets or its tracking.
#[cfg(feature = "kernel")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct TracedAddresses {
    pub(crate) id: Id,
    pub(crate) is_tcp: bool,
    pub(crate) addresses: AddressTuple,
    /// As the kernel tracks it: when it was asked for, and the reply's direction.
    pub(crate) tracked: Option<(Moment, AddressTuple)>,
    pub(crate) ended_at: Option<Moment>,
}

/// Records that a trace shares with the recorder.
#[derive(Default)]
struct Shares {
    dials: Vec<Arc<Dial>>,
    tcp: Vec<(Arc<TcpConnection>, Arc<ConnectionLog>)>,
    udp: Vec<(Arc<UdpConnection>, Arc<ConnectionLog>)>,
    dns: Vec<Arc<DnsExchange>>,
    tls: Vec<Arc<TlsTunnel>>,
    connects: Vec<Arc<ProxyConnect>>,
    requests: Vec<(Arc<HttpRequest>, Arc<Progress>)>,
}

fn first<T>(rows: Vec<(Arc<T>, ())>) -> Vec<Arc<T>> {
    rows.into_iter().map(|(record, ())| record).collect()
}

impl State {
    fn share(&self) -> Shares {
        Shares {
            dials: first(self.dials.share()),
            tcp: self.tcp.share(),
            udp: self.udp.share(),
            dns: first(self.dns.share()),
            tls: first(self.tls.share()),
            connects: first(self.connects.share()),
            requests: self.requests.share(),
        }
    }

    fn take(&mut self, all: bool) -> Shares {
        Shares {
            dials: first(self.dials.take(all)),
            tcp: self.tcp.take(all),
            udp: self.udp.take(all),
            dns: first(self.dns.take(all)),
            tls: first(self.tls.take(all)),
            connects: first(self.connects.take(all)),
            requests: self.requests.take(all),
        }
    }

    fn has_batch(&self, threshold: usize) -> bool {
        self.dials.over() >= threshold
            || self.tcp.over() >= threshold
            || self.udp.over() >= threshold
            || self.dns.over() >= threshold
            || self.tls.over() >= threshold
            || self.connects.over() >= threshold
            || self.requests.over() >= threshold
    }

    fn dropped(&self) -> Dropped {
        Dropped {
            dials: self.dials.dropped(),
            tcp: self.tcp.dropped(),
            udp: self.udp.dropped(),
            dns: self.dns.dropped(),
            tls: self.tls.dropped(),
            connects: self.connects.dropped(),
            requests: self.requests.dropped(),
            batches: 0,
        }
    }
}

impl Shares {
    /// The trace, in which no record refers to one that is not there.
    fn into_trace(self, began_at: Moment, ended_at: Moment) -> HttpTrace {
        let mut trace = self.into_trace_of_batch(began_at, ended_at);
        remove_dangling(&mut trace);
        trace
    }

    /// The same with all references: what they refer to may be in another batch.
    fn into_trace_of_batch(self, began_at: Moment, ended_at: Moment) -> HttpTrace {
        let tcp = self.tcp.into_iter().map(|(record, log)| {
            let mut record = Arc::unwrap_or_clone(record);
            record.sent_bytes = log.sent();
            record.received_bytes = log.received();
            record.closed_at = log.closed_at().filter(|&at| at <= ended_at);
            if record.connected {
                record.operations = log.operations(ended_at);
            }
            record
        });
        let udp = self.udp.into_iter().map(|(record, log)| {
            let mut record = Arc::unwrap_or_clone(record);
            record.sent_bytes = log.sent();
            record.received_bytes = log.received();
            record.closed_at = log.closed_at().filter(|&at| at <= ended_at);
            record.operations = log.operations(ended_at);
            record
        });
        let requests = self.requests.into_iter().map(|(record, progress)| {
            let mut record = Arc::unwrap_or_clone(record);
            record.request.body_bytes = progress.request_body.load(Relaxed);
            record.request.wire_body_bytes = progress.request_wire.load(Relaxed);
            if let Some(response) = &mut record.response {
                response.body_bytes = progress.response_body.load(Relaxed);
                response.wire_body_bytes = progress.response_wire.load(Relaxed);
            }
            record
        });
        HttpTrace {
            schema: SCHEMA_VERSION,
            description: String::new(),
            session: String::new(),
            began_at,
            began_at_wall: jiff::Timestamp::UNIX_EPOCH,
            ended_at,
            tcp: tcp.collect(),
            udp: udp.collect(),
            requests: requests.collect(),
            dials: self.dials,
            dns: self.dns,
            tls: self.tls,
            connects: self.connects,
            captures: Vec::new(),
            dropped: Dropped::default(),
            missing: Vec::new(),
        }
    }
}

fn remove_dangling(trace: &mut HttpTrace) {
    let dials: HashSet<Id> = trace.dials.iter().map(|dial| dial.id).collect();
    let tls: HashSet<Id> = trace.tls.iter().map(|tunnel| tunnel.id).collect();
    let connects: HashSet<Id> = trace.connects.iter().map(|connect| connect.id).collect();
    let requests: HashSet<Id> = trace.requests.iter().map(|request| request.id).collect();
    let connections: HashSet<Id> =
        (trace.tcp.iter().map(|tcp| tcp.id)).chain(trace.udp.iter().map(|udp| udp.id)).collect();
    let keep = |known: &HashSet<Id>, reference: &mut Option<Id>| {
        *reference = reference.filter(|id| known.contains(id));
    };
    let dangles = |known: &HashSet<Id>, reference: Option<Id>| {
        reference.is_some_and(|id| !known.contains(&id))
    };
    for dial in &mut trace.dials {
        let connection_dangles = dangles(&connections, dial.outcome.connection())
            || dial.attempts.iter().any(|attempt| dangles(&connections, attempt.connection))
            || dial.resolver_dials.iter().any(|dial| dangles(&connections, dial.connection));
        if !connection_dangles && !dangles(&requests, dial.request) {
            continue;
        }
        let dial = Arc::make_mut(dial);
        keep(&requests, &mut dial.request);
        if let DialOutcome::Connected { connection } = &mut dial.outcome {
            keep(&connections, connection);
        }
        for attempt in &mut dial.attempts {
            keep(&connections, &mut attempt.connection);
        }
        for resolver_dial in &mut dial.resolver_dials {
            keep(&connections, &mut resolver_dial.connection);
        }
    }
    for tcp in &mut trace.tcp {
        keep(&dials, &mut tcp.dial);
    }
    for udp in &mut trace.udp {
        keep(&dials, &mut udp.dial);
    }
    for exchange in &mut trace.dns {
        if dangles(&dials, exchange.dial) || dangles(&connections, exchange.connection) {
            let exchange = Arc::make_mut(exchange);
            keep(&dials, &mut exchange.dial);
            keep(&connections, &mut exchange.connection);
        }
    }
    for tunnel in &mut trace.tls {
        if dangles(&connections, tunnel.connection) || dangles(&requests, tunnel.request) {
            let tunnel = Arc::make_mut(tunnel);
            keep(&connections, &mut tunnel.connection);
            keep(&requests, &mut tunnel.request);
        }
    }
    for connect in &mut trace.connects {
        if dangles(&connections, connect.connection) || dangles(&requests, connect.request) {
            let connect = Arc::make_mut(connect);
            keep(&connections, &mut connect.connection);
            keep(&requests, &mut connect.request);
        }
    }
    for request in &mut trace.requests {
        keep(&connections, &mut request.connection);
        keep(&dials, &mut request.dial);
        keep(&tls, &mut request.tls);
        keep(&tls, &mut request.proxy_tls);
        keep(&connects, &mut request.proxy_connect);
        for used in &mut request.uses {
            keep(&connections, &mut used.connection);
        }
        if let Some(Via::Redirect { from, .. }) = &mut request.via {
            keep(&requests, from);
        }
    }
}
