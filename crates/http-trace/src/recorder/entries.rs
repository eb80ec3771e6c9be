//! A record of each kind: how it begins, and how it is changed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{Progress, Recorder};
use crate::{
    connection_log::LogWriter,
    record::{
        AddressTuple, Dial, DialOutcome, DnsExchange, DnsTransport, HttpRequest, Id, Message,
        Phases, ProxyConnect, TcpConnection, TlsRole, TlsTunnel, UdpConnection, Via,
    },
};

impl Recorder {
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
            quic: None,
        };
        state.udp.add(id, connection, log);
        (id, writer)
    }

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
            request: Message::default(),
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
            alternatives: None,
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
}
