//! A record of each kind: how it begins, and how it is changed.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, Method, StatusCode};

use super::{
    DnsMessages, Progress, Recorder, State,
    table::{Live, Table},
};
use crate::{
    clock::Moment,
    connection_log::{ConnectionLog, LogWriter},
    record::{
        AddressTuple, Dial, DialOutcome, DnsExchange, DnsTransport, Headers, HttpRequest, Id,
        Informational, Message, Phases, ProxyConnect, QuicConnection, TcpConnection, TlsRole,
        TlsTunnel, UdpConnection, Via,
    },
};

/// How many responses before the final one are recorded of a request.
const MAXIMUM_INFORMATIONAL: usize = 32;

/// A kind of record, and the table that holds those.
trait Kind: Live<Self::Beside> + Clone {
    /// What stands beside a record, and changes without its lock.
    type Beside: Clone;

    fn table(state: &mut State) -> &mut Table<Self, Self::Beside>;
}

macro_rules! kinds {
    ($($kind:ty, $beside:ty, $table:ident;)*) => {
        $(impl Kind for $kind {
            type Beside = $beside;

            fn table(state: &mut State) -> &mut Table<Self, $beside> {
                &mut state.$table
            }
        })*
    };
}

kinds! {
    Dial, (), dials;
    TcpConnection, Arc<ConnectionLog>, tcp;
    UdpConnection, Arc<ConnectionLog>, udp;
    DnsExchange, Arc<DnsMessages>, dns;
    TlsTunnel, (), tls;
    ProxyConnect, (), connects;
    HttpRequest, Arc<Progress>, requests;
}

impl Recorder {
    /// Adds a record, which is given its id and the moment.
    fn add<T: Kind>(&self, beside: T::Beside, record: impl FnOnce(Id, Moment) -> T) -> Id {
        let mut state = self.state();
        let id = Self::next_id();
        // Under the lock, so that records stand in the order of their times.
        let record = record(id, self.now());
        T::table(&mut state).add(id, record, beside);
        id
    }

    /// Changes a record, where there is one.
    fn change<T: Kind>(&self, id: Option<Id>, change: impl FnOnce(&mut T)) {
        let Some(id) = id else { return };
        T::table(&mut self.state()).change(id, change);
        self.after_change();
    }

    pub(crate) fn begin_dial(
        &self,
        request: Option<Id>,
        destination: String,
        source_ip: Option<IpAddr>,
    ) -> Id {
        self.add((), |id, began_at| Dial {
            id,
            request,
            destination,
            source_ip,
            began_at,
            ended_at: None,
            outcome: DialOutcome::Running,
            lookup: None,
            resolver_dials: Vec::new(),
            skipped_nameservers: Vec::new(),
            attempts: Vec::new(),
            fallback_cost: None,
        })
    }

    pub(crate) fn dial(&self, id: Id, change: impl FnOnce(&mut Dial)) {
        self.change(Some(id), change);
    }

    pub(crate) fn begin_tcp(
        &self,
        dial: Id,
        to_nameserver: bool,
        addresses: AddressTuple,
    ) -> (Id, LogWriter) {
        let (log, writer) = self.log();
        let id = self.add(log, |id, began_at| TcpConnection {
            id,
            dial: Some(dial),
            to_nameserver,
            began_at,
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
        });
        (id, writer)
    }

    pub(crate) fn tcp(&self, id: Id, change: impl FnOnce(&mut TcpConnection)) {
        self.change(Some(id), change);
    }

    /// Without QUIC it leads to a name server.
    pub(crate) fn begin_udp(
        &self,
        dial: Id,
        addresses: AddressTuple,
        quic: Option<QuicConnection>,
    ) -> (Id, LogWriter) {
        let (log, writer) = self.log();
        let id = self.add(log, |id, began_at| UdpConnection {
            id,
            dial: Some(dial),
            to_nameserver: quic.is_none(),
            began_at,
            closed_at: None,
            addresses,
            sent_bytes: 0,
            received_bytes: 0,
            operations: None,
            error: None,
            conntrack: None,
            quic: quic
                .map(|quic| Box::new(QuicConnection { handshake_began_at: began_at, ..quic })),
        });
        (id, writer)
    }

    pub(crate) fn udp(&self, id: Id, change: impl FnOnce(&mut UdpConnection)) {
        self.change(Some(id), change);
    }

    /// Nothing where DNS is not recorded.
    pub(crate) fn begin_dns(
        &self,
        dial: Id,
        connection: Id,
        transport: DnsTransport,
        nameserver: SocketAddr,
    ) -> Option<(Id, Arc<DnsMessages>)> {
        if !self.recording.dns {
            return None;
        }
        let messages = Arc::<DnsMessages>::default();
        let id = self.add(Arc::clone(&messages), |id, began_at| DnsExchange {
            id,
            dial: Some(dial),
            connection: Some(connection),
            transport,
            nameserver,
            began_at,
            ended_at: None,
            queries: Vec::new(),
            replies: Vec::new(),
            dropped_replies: 0,
            error: None,
        });
        Some((id, messages))
    }

    pub(crate) fn dns(&self, id: Option<Id>, change: impl FnOnce(&mut DnsExchange)) {
        self.change(id, change);
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
        Some(self.add((), |id, began_at| TlsTunnel {
            id,
            connection: Some(connection),
            request,
            role,
            began_at,
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
        }))
    }

    pub(crate) fn tls(&self, id: Option<Id>, change: impl FnOnce(&mut TlsTunnel)) {
        self.change(id, change);
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
        Some(self.add((), |id, began_at| ProxyConnect {
            id,
            connection: Some(connection),
            request,
            protocol: protocol.to_owned(),
            target: target.to_owned(),
            began_at,
            ended_at: None,
            status: None,
            headers: Headers::default(),
            error: None,
        }))
    }

    pub(crate) fn connect(&self, id: Option<Id>, change: impl FnOnce(&mut ProxyConnect)) {
        self.change(id, change);
    }

    /// Nothing where requests are not recorded.
    pub(crate) fn begin_request(
        &self,
        method: &Method,
        url: &Arc<str>,
        via: Option<Via>,
        progress: &Arc<Progress>,
    ) -> Option<Id> {
        self.recording.requests.as_ref()?;
        Some(self.add(Arc::clone(progress), |id, queued_at| HttpRequest {
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
            url: Arc::clone(url),
            method: method_name(method),
            version: None,
            stream: None,
            request: Message::default(),
            added_headers: Headers::default(),
            status: None,
            response: None,
            informational: Vec::new(),
            decoded: None,
            phases: Phases { queued_at, ..Phases::default() },
            error: None,
            body_error: None,
            redirect_error: None,
            reset: None,
            alternative_services: None,
            alternatives: None,
        }))
    }

    /// Adds a response before the final one to a request, as long as there is room.
    pub(crate) fn informational(&self, id: Option<Id>, status: StatusCode, headers: &HeaderMap) {
        let informational = Informational {
            at: self.now(),
            status: status.as_u16(),
            headers: crate::headers::record(headers, self.recording()),
        };
        self.request(id, |request| {
            if request.informational.len() < MAXIMUM_INFORMATIONAL {
                request.informational.push(informational);
            }
        });
    }

    pub(crate) fn request(&self, id: Option<Id>, change: impl FnOnce(&mut HttpRequest)) {
        self.change(id, change);
    }
}

/// As it is recorded: what is common takes no memory.
fn method_name(method: &Method) -> Cow<'static, str> {
    match *method {
        Method::GET => "GET".into(),
        Method::POST => "POST".into(),
        Method::HEAD => "HEAD".into(),
        Method::PUT => "PUT".into(),
        _ => method.to_string().into(),
    }
}
