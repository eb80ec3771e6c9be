//! When a flow ends, and how many there may be.

use std::time::Duration;

/// When a flow ends, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// For how long nothing comes of a flow that has ended.
    pub idle_timeout: Duration,
    /// After how long a flow that goes on is written and begun anew, if ever.
    pub active_timeout: Option<Duration>,
    /// Whether a flow of TCP ends when its connection is closed or reset.
    pub tcp_close: bool,
    /// How many flows there are at most at the same time: at that, the one that was idle for the
    /// longest time makes way.
    pub max_flows: usize,
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
