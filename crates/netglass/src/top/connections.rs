//! The connections of one process: what the kernel tells of its sockets.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use netglass_kernel::{HeldSocket, Inventory, InventoryOptions, socket::SocketState};
use netglass_model::printable;

use super::state::ProcessKey;
use crate::streaming::socket_words;

/// How many connections are shown of one process: those of the lowest descriptors.
const MOST: usize = 10_000;

/// A socket of the process that is looked at.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Connection {
    pub(super) fd: u32,
    pub(super) protocol: String,
    pub(super) state: Option<SocketState>,
    pub(super) local: String,
    pub(super) remote: String,
    /// Smoothed round trip time of TCP.
    pub(super) rtt: Option<Duration>,
    /// Segments of TCP that were sent again.
    pub(super) retransmits: Option<u32>,
    pub(super) receive_queue: Option<u32>,
    pub(super) send_queue: Option<u32>,
    /// Bytes a second since the last look; none where nobody counts, or at the first look.
    pub(super) sent: Option<u64>,
    /// The same.
    pub(super) received: Option<u64>,
}

/// What is known of the connections of a process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Connections {
    /// The busiest first.
    Known(Vec<Connection>),
    /// Why they are not known.
    Unknown(String),
}

/// Looks at the connections of one process again and again.
#[derive(Debug)]
pub(super) struct Watched {
    options: InventoryOptions,
    process: Option<ProcessKey>,
    connections: Connections,
    /// How many sockets are beyond those that are looked at.
    hidden: usize,
    before: Option<Totals>,
}

/// What each socket, by inode, had sent and received at one moment.
#[derive(Debug)]
struct Totals {
    at: Instant,
    bytes: HashMap<u32, (u64, u64)>,
}

impl Watched {
    /// Of these families, `AF_…`; of all where there is none.
    pub(super) fn new(families: Vec<u16>) -> Self {
        Self {
            options: InventoryOptions { families, ..InventoryOptions::default() },
            process: None,
            connections: Connections::Known(Vec::new()),
            hidden: 0,
            before: None,
        }
    }

    pub(super) fn process(&self) -> Option<ProcessKey> {
        self.process
    }

    pub(super) fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// How many sockets the process has beyond those.
    pub(super) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Looks at the connections of a process.
    pub(super) fn look(&mut self, process: Option<ProcessKey>) {
        if self.process != process {
            self.process = process;
            self.before = None;
        }
        self.hidden = 0;
        let Some(process) = process else {
            self.connections = Connections::Known(Vec::new());
            return;
        };
        let inventory = match Inventory::of_process(process.pid, &self.options) {
            Ok(inventory) => inventory,
            Err(error) => {
                self.connections = Connections::Unknown(error.to_string());
                return;
            }
        };
        let Some(holder) = inventory.holders.first() else {
            self.connections = Connections::Unknown("the process has ended".to_owned());
            return;
        };
        self.hidden = holder.sockets.len().saturating_sub(MOST);
        let now = Instant::now();
        let before = self.before.take();
        let mut totals = Totals { at: now, bytes: HashMap::new() };
        let mut found: Vec<Connection> = Vec::new();
        for socket in holder.sockets.iter().take(MOST) {
            let mut connection = describe(socket);
            let traffic = socket.listed.as_ref().and_then(|(listed, _)| listed.traffic);
            if let Some(traffic) = traffic {
                let total = (traffic.bytes_sent, traffic.bytes_received);
                totals.bytes.insert(socket.inode, total);
                if let Some(Totals { at, bytes }) = &before {
                    let elapsed = now.duration_since(*at);
                    // One that was not there has begun since.
                    let (sent, received) = bytes.get(&socket.inode).copied().unwrap_or_default();
                    connection.sent = Some(rate(total.0.saturating_sub(sent), elapsed));
                    connection.received = Some(rate(total.1.saturating_sub(received), elapsed));
                }
            }
            found.push(connection);
        }
        self.before = Some(totals);
        found.sort_by_key(|it| {
            let bytes = it.sent.unwrap_or_default().saturating_add(it.received.unwrap_or_default());
            (std::cmp::Reverse(bytes), it.fd)
        });
        let reason = inventory.degradations.first().filter(|_| found.is_empty());
        self.connections = match reason {
            Some(reason) => Connections::Unknown(reason.to_string()),
            None => Connections::Known(found),
        };
    }
}

fn describe(socket: &HeldSocket) -> Connection {
    let listed = socket.listed.as_ref().map(|(listed, _)| &**listed);
    let end = |name| socket_words::end(name).map(|end| printable(&end).into_owned());
    let protocol = socket_words::protocol(socket).or(socket_words::family(socket));
    let traffic = listed.and_then(|it| it.traffic);
    let queues = listed.and_then(|it| it.queues);
    let state = listed.and_then(|it| it.state);
    let is_listening = state == Some(SocketState::Listen);
    Connection {
        fd: socket.fd,
        protocol: printable(&protocol.unwrap_or_else(|| "?".to_owned())).into_owned(),
        state,
        local: listed.and_then(|it| end(&it.local)).unwrap_or_default(),
        remote: listed.and_then(|it| end(&it.remote)).unwrap_or_default(),
        rtt: traffic
            .filter(|it| it.rtt_us > 0 && !is_listening)
            .map(|it| Duration::from_micros(it.rtt_us.into())),
        retransmits: traffic.map(|it| it.retransmits),
        receive_queue: queues.map(|it| it.receive),
        send_queue: queues.map(|it| it.send),
        sent: None,
        received: None,
    }
}

/// So many a second; what is there at all is not rounded to nothing.
pub(super) fn rate(count: u64, elapsed: Duration) -> u64 {
    let milliseconds = elapsed.as_millis().max(1);
    let rate = (u128::from(count) * 1000 + milliseconds / 2) / milliseconds;
    u64::try_from(rate).unwrap_or(u64::MAX).max(count.min(1))
}
