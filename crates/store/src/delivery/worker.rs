//! The thread that delivers.

use std::{
    mem::Discriminant,
    sync::{Arc, PoisonError},
};

use super::{
    End, Shared, Task,
    backoff::Backoff,
    parcel::{Failure, Parcel, Recipient},
    queue::Next,
};
use crate::{Loss, Record};

/// The thread that delivers: it alone waits for the recipient.
pub(super) struct Worker<P: Parcel, R: Recipient<P>> {
    shared: Arc<Shared<P>>,
    recipient: R,
    backoff: Backoff,
    /// What failed last, until something went well.
    failure: Option<Discriminant<R::Error>>,
}

impl<P: Parcel, R: Recipient<P>> Worker<P, R> {
    pub(super) fn new(shared: Arc<Shared<P>>, recipient: R, backoff: Backoff) -> Self {
        Self { shared, recipient, backoff, failure: None }
    }

    /// Delivers until the end.
    pub(super) fn run(mut self) {
        loop {
            match self.shared.next(self.recipient.interval()) {
                Task::Deliver(next) => self.deliver(next),
                Task::Tend => self.tend(),
                Task::End => break,
            }
        }
        self.finish();
        let mut state = self.shared.state();
        state.end = End::Reached;
        self.shared.changed.notify_all();
    }

    fn deliver(&mut self, next: Next<P>) {
        let (parcel, loss) = match next {
            Next::Plain(parcel) => {
                let sightings = parcel.count();
                (parcel, Loss { records: 1, sightings, ..Loss::default() })
            }
            Next::Encoded(Record { content, payload, sightings, inherited }) => {
                let bytes = payload.len() as u64;
                let (sightings, inherited) =
                    if inherited { (0, sightings) } else { (sightings, 0) };
                match P::decode(content, &payload) {
                    Ok(parcel) => (parcel, Loss { records: 1, sightings, inherited, bytes }),
                    Err(reason) => return self.shared.state().discard(&reason),
                }
            }
        };
        while let Err(error) = self.recipient.take(&parcel) {
            if error.is_final() {
                let mut state = self.shared.state();
                state.note(format!("{error}; {} is left out", P::WORDS.one));
                state.reject(loss);
                drop(state);
                self.shared.changed.notify_all();
                return;
            }
            let wait = self.backoff.after_failure(error.is_lasting());
            self.tell(&error);
            if self.shared.pause(wait) {
                // There is not much time left.
                self.backoff.reset();
            }
            if self.shared.state().has_ended() {
                return;
            }
        }
        self.backoff.reset();
        let is_back = self.failure.take().is_some();
        let refusals = self.recipient.take_refusals();
        let mut state = self.shared.state();
        if let Some((count, reason)) = refusals {
            let unit = P::WORDS.unit;
            let recipient = &self.shared.recipient;
            state.note(format!("{recipient} refuses {unit}, which are left out: {reason}"));
            state.refuse(loss, count);
        }
        state.delivered(self.recipient.unfinished());
        state.fails = false;
        if is_back {
            let recipient = &self.shared.recipient;
            state.note(format!("{recipient} is back; what had waited is delivered"));
        }
        drop(state);
        self.shared.changed.notify_all();
        self.tend();
    }

    fn tend(&mut self) {
        let note = self.recipient.tend();
        let mut state = self.shared.state();
        state.unfinished = self.recipient.unfinished();
        if let Some(note) = note {
            state.note(note);
        }
    }

    /// Tries for as long as there is time.
    fn finish(&mut self) {
        while let Err(error) = self.recipient.finish() {
            let wait = self.backoff.after_failure(error.is_lasting());
            self.shared.state().note(error.to_string());
            let state = self.shared.state();
            if error.is_final() || state.has_ended() {
                return;
            }
            drop(self.shared.changed.wait_timeout(state, wait).map_err(PoisonError::into_inner));
        }
        let mut state = self.shared.state();
        if state.end != End::Reached {
            state.unfinished = self.recipient.unfinished();
        }
    }

    /// Says what failed, unless that has failed already.
    fn tell(&mut self, error: &R::Error) {
        let kind = std::mem::discriminant(error);
        let is_new = self.failure.replace(kind) != Some(kind);
        let mut state = self.shared.state();
        state.fails = true;
        if is_new {
            let place = state.queue.place();
            state.note(format!("{error}; {} waits {place}", P::WORDS.contents));
        }
        drop(state);
        // Whoever waits for room need not wait any longer.
        self.shared.changed.notify_all();
    }
}
