//! The end, while somebody waits for room.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// Tells whoever waits for room in a queue that the end was asked for, on whatever thread.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    times: Arc<AtomicU32>,
    patience: Duration,
}

impl Interrupt {
    /// One after which what is there already may wait for room for as long as `patience` while
    /// nothing is taken.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { times: Arc::default(), patience }
    }

    /// Asks for the end. The second time, nothing is waited for any more.
    pub fn raise(&self) {
        self.times.fetch_add(1, Ordering::Relaxed);
    }

    /// For how long to wait while nothing is taken; none where the end was not asked for. What comes
    /// while there could be more of it does not wait then: whoever brings it is to end.
    pub(crate) fn patience(&self, is_last: bool) -> Option<Duration> {
        match self.times.load(Ordering::Relaxed) {
            0 => None,
            1 if is_last => Some(self.patience),
            _ => Some(Duration::ZERO),
        }
    }

    /// Whether the end was asked for once.
    pub(crate) fn is_first(&self) -> bool {
        self.times.load(Ordering::Relaxed) == 1
    }
}
