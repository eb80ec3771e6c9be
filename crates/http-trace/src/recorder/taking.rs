//! Traces are taken, cleared and closed.

use std::sync::Arc;

use super::{Dispatcher, Recorder, State, shares::Shares};
use crate::{
    clock::Moment,
    record::{CaptureSummary, Dropped, HttpTrace, Missing},
};

/// What a trace tells beside its records.
struct Told {
    began_at: Moment,
    ended_at: Moment,
    dropped: Dropped,
    missing: Vec<Missing>,
}

impl Told {
    fn of(state: &State, ended_at: Moment) -> Self {
        let (dropped, missing) = (state.dropped(), state.missing.clone());
        Self { began_at: state.began_at, ended_at, dropped, missing }
    }
}

impl Recorder {
    /// All that happened since the trace began. It goes on.
    pub(crate) fn snapshot(&self, description: &str, captures: Vec<CaptureSummary>) -> HttpTrace {
        if let Some(dispatcher) = &self.dispatcher {
            let batch = self.take_over(true);
            dispatcher.give(batch);
            dispatcher.wait();
            return self.empty(description, captures);
        }
        let (told, shares) = {
            let state = self.state();
            (Told::of(&state, self.now()), state.share())
        };
        self.trace(told, shares, description, captures)
    }

    fn trace(
        &self,
        told: Told,
        shares: Shares,
        description: &str,
        captures: Vec<CaptureSummary>,
    ) -> HttpTrace {
        let Told { began_at, ended_at, dropped, missing } = told;
        let mut trace = shares.into_trace(began_at, ended_at);
        description.clone_into(&mut trace.description);
        trace.session.clone_from(&self.session);
        trace.began_at_wall = self.clock.on_wall(began_at);
        trace.captures = captures;
        trace.dropped = dropped;
        trace.missing = missing;
        if !self.recording.conntrack {
            // It was only asked for to find packets.
            for tcp in trace.tcp.iter_mut().filter(|tcp| tcp.conntrack.is_some()) {
                Arc::make_mut(tcp).conntrack = None;
            }
            for udp in trace.udp.iter_mut().filter(|udp| udp.conntrack.is_some()) {
                Arc::make_mut(udp).conntrack = None;
            }
            trace.dropped.conntrack_events = 0;
        }
        trace
    }

    fn empty(&self, description: &str, captures: Vec<CaptureSummary>) -> HttpTrace {
        let (began_at, missing) = {
            let state = self.state();
            (state.began_at, state.missing.clone())
        };
        HttpTrace {
            description: description.to_owned(),
            session: self.session.clone(),
            began_at_wall: self.clock.on_wall(began_at),
            captures,
            missing,
            dropped: Dropped {
                batches: self.dispatcher.as_ref().map_or(0, Dispatcher::dropped),
                ..Dropped::default()
            },
            ..Shares::default().into_trace(began_at, self.now())
        }
    }

    /// The trace begins now: what making the client took is no part of it.
    pub(crate) fn begin(&self) {
        self.state().began_at = self.now();
    }

    /// Begins a new trace: what is over is forgotten, what goes on is taken along.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.began_at = self.now();
        state.dials.forget_over();
        state.udp.forget_over();
        state.dns.forget_over();
        state.tls.forget_over();
        state.connects.forget_over();
        state.requests.forget_over();
        state.tcp.forget_over();
        state.tcp.for_each(|tcp, log| {
            tcp.from_earlier_trace = true;
            log.make_room();
        });
        state.udp.for_each(|udp, log| {
            if let Some(quic) = &mut udp.quic {
                quic.from_earlier_trace = true;
                log.make_room();
            }
        });
        state.missing.clear();
        state.conntrack_events_lost = 0;
    }

    /// Takes the last trace; whatever is recorded afterwards is in none.
    pub(crate) fn close(&self, description: &str, captures: Vec<CaptureSummary>) -> HttpTrace {
        if let Some(dispatcher) = &self.dispatcher {
            let batch = self.take_over(true);
            if dispatcher.flushes_on_close() {
                dispatcher.give(batch);
            }
            dispatcher.wait();
        }
        let of_batches = match self.dispatcher {
            Some(_) => Ok(self.empty(description, captures)),
            None => Err(captures),
        };
        // Records that nobody else has any more need not be copied.
        let (told, shares) = {
            let mut state = self.state();
            let told = Told::of(&state, self.now());
            let shares = state.take(true);
            *state = State::new(told.ended_at, 0);
            state.closed = true;
            (told, shares)
        };
        of_batches.unwrap_or_else(|captures| self.trace(told, shares, description, captures))
    }

    /// Gives batches away when there are enough records for one.
    pub(super) fn after_change(&self) {
        let Some(dispatcher) = &self.dispatcher else { return };
        if self.state().has_batch(dispatcher.threshold()) {
            dispatcher.give(self.take_over(false));
        }
    }

    /// Takes the records that are complete, or all of them.
    fn take_over(&self, all: bool) -> HttpTrace {
        let (shares, began_at) = {
            let mut state = self.state();
            (state.take(all), state.began_at)
        };
        let mut trace = shares.into_trace_of_batch(began_at, self.now());
        trace.session.clone_from(&self.session);
        trace.began_at_wall = self.clock.on_wall(began_at);
        trace
    }
}
