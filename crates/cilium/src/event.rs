//! What comes from the datapath or the agent, before it is decoded.

use netglass_model::Timestamp;

/// The type of a payload that carries a notification (`PERF_RECORD_SAMPLE`).
pub const SAMPLE: i64 = 9;
/// The type of a payload that tells how many were lost (`PERF_RECORD_LOST`).
pub const LOST: i64 = 2;

/// One payload of Cilium's monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// When it was received, where that is known: Cilium does not tell.
    pub at: Option<Timestamp>,
    /// The processor on which it was made.
    pub cpu: i64,
    /// [`SAMPLE`], [`LOST`], or something that only newer agents know.
    pub payload_type: i64,
    /// How many notifications were lost. Old agents tell of those that they lost themselves in samples.
    pub lost: u64,
    /// The notification, its type first.
    pub data: &'a [u8],
}

impl<'a> Event<'a> {
    /// A notification.
    #[must_use]
    pub const fn sample(cpu: i64, data: &'a [u8]) -> Self {
        Self { at: None, cpu, payload_type: SAMPLE, lost: 0, data }
    }

    /// So many notifications were lost.
    #[must_use]
    pub const fn lost(cpu: i64, lost: u64) -> Self {
        Self { at: None, cpu, payload_type: LOST, lost, data: &[] }
    }
}

/// What a notification is about, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// A packet was dropped.
    Drop = 1,
    /// The datapath tells what it does.
    Debug = 2,
    /// A packet, for debugging.
    Capture = 3,
    /// A packet was seen.
    Trace = 4,
    /// What a policy says of a packet; since 1.8.
    PolicyVerdict = 5,
    /// A packet for the recorder; 1.10 to 1.18.
    Recorder = 6,
    /// A socket's address was translated; since 1.13.
    TraceSock = 7,
    /// A proxy saw a request or an answer.
    L7 = 129,
    /// The agent tells of itself.
    Agent = 130,
}

impl MessageType {
    /// All of them, by their names.
    pub const ALL: [Self; 9] = [
        Self::Agent,
        Self::Capture,
        Self::Debug,
        Self::Drop,
        Self::L7,
        Self::PolicyVerdict,
        Self::Recorder,
        Self::Trace,
        Self::TraceSock,
    ];

    /// Its name on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Debug => "debug",
            Self::Capture => "capture",
            Self::Trace => "trace",
            Self::PolicyVerdict => "policy-verdict",
            Self::Recorder => "recorder",
            Self::TraceSock => "trace-sock",
            Self::L7 => "l7",
            Self::Agent => "agent",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The one that a notification begins with.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Drop,
            2 => Self::Debug,
            3 => Self::Capture,
            4 => Self::Trace,
            5 => Self::PolicyVerdict,
            6 => Self::Recorder,
            7 => Self::TraceSock,
            129 => Self::L7,
            130 => Self::Agent,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_name_and_number_and_sorted_by_name() {
        for kind in MessageType::ALL {
            assert_eq!(MessageType::from_name(kind.name()), Some(kind));
            assert_eq!(MessageType::from_byte(kind as u8), Some(kind));
        }
        assert!(MessageType::ALL.is_sorted_by_key(|kind| kind.name()));
        assert_eq!(MessageType::from_byte(0), None);
        assert_eq!(MessageType::from_name("drop,trace"), None);
    }
}
