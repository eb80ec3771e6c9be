//! When a flow ends, and how many there may be.

use std::time::Duration;

/// When a flow ends, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// For how long nothing comes of a flow that has ended.
    pub idle_timeout: Duration,
    /// After how long a flow that goes on is written and begun anew, if ever.
    ///
    /// It is written when a packet comes by then, which is the first one of another record. That keeps
    /// source and destination, the status, the state of the TCP connection with its round trip time; flags and all else are counted anew. Where no packet comes it ends by being idle.
    pub active_timeout: Option<Duration>,
    /// Whether a flow of TCP ends when its connection is closed or reset: after
    /// [`LINGER`](Self::LINGER), or when another connection begins between the same ports.
    pub tcp_close: bool,
    /// How many flows there are at most at the same time, one at least. At that, the one that would end
    /// next makes way: one whose connection is closed, or else the one that was idle for the longest
    /// time, to 1/256 of the idle timeout.
    pub max_flows: usize,
}

impl Settings {
    /// For how long nothing comes of a flow whose connection is closed before it ends, so that what is
    /// sent again belongs to it. Before both ends have acknowledged that the other one has closed, it is
    /// the idle timeout: a last acknowledgment that comes late would make a flow of its own.
    pub const LINGER: Duration = Duration::from_secs(5);
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(120),
            active_timeout: None,
            tcp_close: true,
            max_flows: 1 << 20,
        }
    }
}

/// The settings in the units of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Nanoseconds.
    pub(crate) idle: u64,
    /// Nanoseconds.
    pub(crate) linger: u64,
    /// Nanoseconds.
    pub(crate) active: Option<u64>,
    pub(crate) tcp_close: bool,
    pub(crate) max_flows: usize,
}

impl From<Settings> for Limits {
    fn from(settings: Settings) -> Self {
        let idle = nanoseconds(settings.idle_timeout);
        // Flows are told apart by 32 bits, of which one value stands for none.
        let representable = usize::try_from(u32::MAX - 1).unwrap_or(usize::MAX);
        Self {
            idle,
            linger: if settings.tcp_close { nanoseconds(Settings::LINGER).min(idle) } else { idle },
            active: settings.active_timeout.map(nanoseconds),
            tcp_close: settings.tcp_close,
            max_flows: settings.max_flows.clamp(1, representable),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
