//! A call as the kernel programs told of it, of which only what is asked for is taken apart.

use netglass_model::{Call, CallName, CallPhase, Timestamp};

use super::{
    clock::Clock,
    record::{Record, Subject},
};

/// A call that was told of, and the beginning of what it sent or received.
#[derive(Debug, Clone, Copy)]
pub struct ToldCall<'a> {
    record: Record<'a>,
    name: CallName,
    phase: CallPhase,
    clock: Clock,
}

impl<'a> ToldCall<'a> {
    /// `None` where it is of no known kind.
    pub(super) fn new(record: Record<'a>, clock: Clock) -> Option<Self> {
        Some(Self { record, name: record.name()?, phase: record.phase()?, clock })
    }

    /// All of it.
    #[must_use]
    pub fn call(&self) -> Call {
        self.record.call_of(self.name, self.phase, self.clock)
    }

    /// The beginning of what was sent or received, where that is told.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.record.payload()
    }

    /// As [`Call::name`].
    #[must_use]
    pub fn name(&self) -> CallName {
        self.name
    }

    /// As [`Call::phase`].
    #[must_use]
    pub fn phase(&self) -> CallPhase {
        self.phase
    }

    /// As [`Call::at`].
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.clock.timestamp(self.record.time_ns())
    }

    /// As [`Call::duration`], in nanoseconds.
    #[must_use]
    pub fn duration_ns(&self) -> Option<u64> {
        self.record.duration_ns(self.phase)
    }

    /// As [`Call::result`].
    #[must_use]
    pub fn result(&self) -> i64 {
        self.record.result()
    }

    /// As [`Call::length`].
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.record.length()
    }

    /// The process that called.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.record.pid()
    }

    /// Who called, with which descriptor, and on which connection, but for its state: of two calls of
    /// which these bytes are the same, all of that is. None of calls that have more to tell: another
    /// address, paths, a payload, or how many bytes went through where that is not the result.
    #[must_use]
    pub fn subject(&self) -> Option<&'a Subject> {
        self.record.subject()
    }
}
