//! Which notifications are wanted.

mod packets;

use netglass_model::Timestamp;

pub use self::packets::{AddressPrefix, Protocol};
use self::packets::{Ends, PacketFilter};
use crate::{event::MessageType, notification::Notification, style::Style};

/// What is wanted: all of the given kinds, of each kind any value. Nothing given, everything is.
#[derive(Debug, Clone, Default)]
pub struct Criteria {
    /// Of these types.
    pub types: Vec<MessageType>,
    /// From these endpoints.
    pub from: Vec<u16>,
    /// To these endpoints.
    pub to: Vec<u16>,
    /// From or to these endpoints.
    pub related_to: Vec<u16>,
    /// Dropped for these reasons.
    pub drop_reasons: Vec<u8>,
    /// Dropped by the kernel for these reasons: names in capital letters, or numbers.
    pub kernel_reasons: Vec<String>,
    /// From or to these addresses.
    pub addresses: Vec<AddressPrefix>,
    /// From or to these ports.
    pub ports: Vec<u16>,
    /// Of these protocols.
    pub protocols: Vec<Protocol>,
    /// Received then or later.
    pub since: Option<Timestamp>,
}

/// Lets through what is wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    criteria: Criteria,
    packets: PacketFilter,
}

impl Filter {
    /// With these criteria.
    #[must_use]
    pub fn new(criteria: Criteria) -> Self {
        Self { criteria, packets: PacketFilter::default() }
    }

    /// Whether what was received then is wanted.
    #[must_use]
    pub fn wants_time(&self, at: Option<Timestamp>) -> bool {
        self.criteria.since.is_none_or(|since| at.is_some_and(|at| at >= since))
    }

    /// Whether a notification is wanted.
    pub fn wants(&mut self, notification: &Notification<'_>, style: Style) -> bool {
        self.wants_endpoints(notification, style)
            && self.wants_reason(notification)
            && self.wants_packet(notification)
    }

    fn wants_endpoints(&self, notification: &Notification<'_>, style: Style) -> bool {
        let kind = notification.kind();
        // Cilium forgets to ask.
        if kind == MessageType::TraceSock && !style.is_ours() {
            return true;
        }
        let (source, destination) = endpoints(notification, style);
        let has = |wanted: &[u16], endpoint: u16| wanted.is_empty() || wanted.contains(&endpoint);
        (self.criteria.types.is_empty() || self.criteria.types.contains(&kind))
            && has(&self.criteria.from, source)
            && has(&self.criteria.to, destination)
            && (has(&self.criteria.related_to, source)
                || has(&self.criteria.related_to, destination))
    }

    fn wants_reason(&self, notification: &Notification<'_>) -> bool {
        let Criteria { drop_reasons, kernel_reasons, .. } = &self.criteria;
        if drop_reasons.is_empty() && kernel_reasons.is_empty() {
            return true;
        }
        let Notification::Drop(drop) = notification else { return false };
        match &drop.kernel {
            None => drop_reasons.contains(&drop.reason),
            Some(facts) => {
                let name = facts.names().reason;
                kernel_reasons.iter().any(|wanted| {
                    Some(wanted.as_str()) == name || wanted.parse() == Ok(facts.reason)
                })
            }
        }
    }

    fn wants_packet(&mut self, notification: &Notification<'_>) -> bool {
        if self.criteria.addresses.is_empty()
            && self.criteria.ports.is_empty()
            && self.criteria.protocols.is_empty()
        {
            return true;
        }
        let ends = match notification {
            Notification::Drop(it) => self.packets.ends(&it.captured),
            Notification::Capture(it) => self.packets.ends(&it.captured),
            Notification::Trace(it) => self.packets.ends(&it.captured),
            Notification::PolicyVerdict(it) => self.packets.ends(&it.captured),
            Notification::Recorder(it) => self.packets.ends(&it.captured),
            Notification::TraceSock(it) => Ends::of_sock(it),
            Notification::L7(it) => Ends::of_record(it),
            Notification::Debug(_) | Notification::Agent(_) => return false,
        };
        ends.match_addresses(&self.criteria.addresses)
            && ends.match_ports(&self.criteria.ports)
            && ends.match_protocols(&self.criteria.protocols)
    }
}

/// The endpoints that a notification is from and to.
fn endpoints(notification: &Notification<'_>, style: Style) -> (u16, u16) {
    match notification {
        Notification::Drop(it) => (it.source, low_half(it.destination)),
        Notification::Trace(it) => (it.source, it.destination),
        Notification::Debug(it) => (it.source, 0),
        Notification::Capture(it) => (it.source, 0),
        // Cilium takes the identity of the other end for an endpoint.
        Notification::PolicyVerdict(it) if style.is_ours() => (it.source, 0),
        Notification::PolicyVerdict(it) => (it.source, low_half(it.remote_identity)),
        Notification::L7(it) => (endpoint(it.source.id), endpoint(it.destination.id)),
        Notification::Recorder(_) | Notification::TraceSock(_) | Notification::Agent(_) => (0, 0),
    }
}

const fn low_half(number: u32) -> u16 {
    (number & 0xffff) as u16
}

/// Endpoints have 16 bits, whatever a proxy writes.
const fn endpoint(number: u64) -> u16 {
    (number & 0xffff) as u16
}

impl Notification<'_> {
    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> MessageType {
        match self {
            Self::Drop(_) => MessageType::Drop,
            Self::Debug(_) => MessageType::Debug,
            Self::Capture(_) => MessageType::Capture,
            Self::Trace(_) => MessageType::Trace,
            Self::PolicyVerdict(_) => MessageType::PolicyVerdict,
            Self::Recorder(_) => MessageType::Recorder,
            Self::TraceSock(_) => MessageType::TraceSock,
            Self::L7(_) => MessageType::L7,
            Self::Agent(_) => MessageType::Agent,
        }
    }
}
