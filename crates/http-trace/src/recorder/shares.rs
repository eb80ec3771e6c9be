//! What a trace takes from the recorder, and how a trace is made of it.

use std::sync::Arc;

use super::{DnsMessages, Progress, State, references::remove_dangling};
use crate::{
    clock::Moment,
    connection_log::ConnectionLog,
    record::{
        Dial, DnsExchange, Dropped, HttpRequest, HttpTrace, ProxyConnect, SCHEMA_VERSION,
        TcpConnection, TlsTunnel, UdpConnection,
    },
};

/// Records that a trace shares with the recorder.
#[derive(Default)]
pub(super) struct Shares {
    dials: Vec<Arc<Dial>>,
    tcp: Vec<(Arc<TcpConnection>, Arc<ConnectionLog>)>,
    udp: Vec<(Arc<UdpConnection>, Arc<ConnectionLog>)>,
    dns: Vec<(Arc<DnsExchange>, Arc<DnsMessages>)>,
    tls: Vec<Arc<TlsTunnel>>,
    connects: Vec<Arc<ProxyConnect>>,
    requests: Vec<(Arc<HttpRequest>, Arc<Progress>)>,
}

fn first<T>(rows: Vec<(Arc<T>, ())>) -> Vec<Arc<T>> {
    rows.into_iter().map(|(record, ())| record).collect()
}

impl State {
    pub(super) fn share(&self) -> Shares {
        Shares {
            dials: first(self.dials.share()),
            tcp: self.tcp.share(),
            udp: self.udp.share(),
            dns: self.dns.share(),
            tls: first(self.tls.share()),
            connects: first(self.connects.share()),
            requests: self.requests.share(),
        }
    }

    pub(super) fn take(&mut self, all: bool) -> Shares {
        Shares {
            dials: first(self.dials.take(all)),
            tcp: self.tcp.take(all),
            udp: self.udp.take(all),
            dns: self.dns.take(all),
            tls: first(self.tls.take(all)),
            connects: first(self.connects.take(all)),
            requests: self.requests.take(all),
        }
    }

    pub(super) fn has_batch(&self, threshold: usize) -> bool {
        self.dials.over() >= threshold
            || self.tcp.over() >= threshold
            || self.udp.over() >= threshold
            || self.dns.over() >= threshold
            || self.tls.over() >= threshold
            || self.connects.over() >= threshold
            || self.requests.over() >= threshold
    }

    pub(super) fn dropped(&self) -> Dropped {
        Dropped {
            dials: self.dials.dropped(),
            tcp: self.tcp.dropped(),
            udp: self.udp.dropped(),
            dns: self.dns.dropped(),
            tls: self.tls.dropped(),
            connects: self.connects.dropped(),
            requests: self.requests.dropped(),
            batches: 0,
            conntrack_events: self.conntrack_events_lost,
        }
    }
}

impl Shares {
    /// The trace, in which no record refers to one that is not there.
    pub(super) fn into_trace(self, began_at: Moment, ended_at: Moment) -> HttpTrace {
        let mut trace = self.into_trace_of_batch(began_at, ended_at);
        remove_dangling(&mut trace);
        trace
    }

    /// The same with all references: what they refer to may be in another batch.
    pub(super) fn into_trace_of_batch(self, began_at: Moment, ended_at: Moment) -> HttpTrace {
        // Records that nobody else has are completed where they are.
        let tcp = self.tcp.into_iter().map(|(mut record, log)| {
            let tcp = Arc::make_mut(&mut record);
            tcp.sent_bytes = log.sent();
            tcp.received_bytes = log.received();
            tcp.closed_at = log.closed_at().filter(|&at| at <= ended_at);
            if tcp.connected {
                tcp.operations = log.operations(ended_at);
            }
            record
        });
        let udp = self.udp.into_iter().map(|(mut record, log)| {
            let udp = Arc::make_mut(&mut record);
            udp.sent_bytes = log.sent();
            udp.received_bytes = log.received();
            udp.closed_at = log.closed_at().filter(|&at| at <= ended_at);
            udp.operations = log.operations(ended_at);
            record
        });
        let dns = self.dns.into_iter().map(|(mut record, messages)| {
            messages.tell(Arc::make_mut(&mut record), ended_at);
            record
        });
        let requests = self.requests.into_iter().map(|(mut record, progress)| {
            progress.tell(Arc::make_mut(&mut record));
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
            dns: dns.collect(),
            tls: self.tls,
            connects: self.connects,
            captures: Vec::new(),
            dropped: Dropped::default(),
            missing: Vec::new(),
        }
    }
}
