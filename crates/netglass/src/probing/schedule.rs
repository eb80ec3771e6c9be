//! What is to be done next: a scan, a flush, or what a signal asks for.

use std::{
    fs::File,
    sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator,
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Look at the sockets.
    Scan,
    /// Write what was seen.
    Flush,
    /// Print the ledger (SIGUSR1).
    Report,
    /// Open files anew (SIGHUP, where no terminal can have hung up); whoever has none ends.
    HangUp,
    /// Flush and end (SIGINT, SIGTERM, and SIGHUP of a terminal).
    End,
}

/// The signals that ask for something. They wait until somebody listens.
pub(crate) struct RegisteredSignals(iterator::Signals);

/// The signals that the program listens to.
pub(crate) struct Signals(Receiver<Event>);

/// Says what is to be done, and when.
pub(crate) struct Schedule {
    signals: Signals,
    scan: Deadline,
    flush: Deadline,
}

impl Schedule {
    /// The first scan is due at once; the first flush after one `flush` interval.
    pub(crate) fn new(signals: Signals, scan: Duration, flush: Duration) -> Self {
        let now = Instant::now();
        Self {
            signals,
            scan: Deadline { next: now, interval: scan },
            flush: Deadline { next: now + flush, interval: flush },
        }
    }

    /// Waits until something is to be done.
    pub(crate) fn next(&mut self) -> Event {
        let (due, event) = if self.flush.next < self.scan.next {
            (&mut self.flush, Event::Flush)
        } else {
            (&mut self.scan, Event::Scan)
        };
        let wait = due.next.saturating_duration_since(Instant::now());
        match self.signals.0.recv_timeout(wait) {
            Ok(signal) => signal,
            Err(RecvTimeoutError::Timeout) => {
                due.advance(Instant::now());
                event
            }
            Err(RecvTimeoutError::Disconnected) => Event::End,
        }
    }
}

#[derive(Debug)]
struct Deadline {
    next: Instant,
    interval: Duration,
}

impl Deadline {
    /// Keeps to the rhythm; what was missed is not made up for.
    fn advance(&mut self, now: Instant) {
        self.next = (self.next + self.interval).max(now);
    }
}

impl Signals {
    /// What a signal asks for, within so long.
    pub(crate) fn wait(&self, patience: Duration) -> Option<Event> {
        match self.0.recv_timeout(patience) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::End),
        }
    }

    /// What a signal asked for since the last time, without waiting.
    pub(crate) fn pending(&self) -> Option<Event> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Event::End),
        }
    }
}

impl RegisteredSignals {
    /// From now on, the signals that ask for something no longer end the program.
    pub(crate) fn new() -> anyhow::Result<Self> {
        iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])
            .map(Self)
            .context("getting ready to receive signals")
    }

    /// Starts to listen, on a thread of its own. What came since they were registered is heard too.
    ///
    /// A thread has the privileges that the one which starts it has at that moment, and keeps them:
    /// privileges are given up before.
    pub(crate) fn listen(self) -> anyhow::Result<Signals> {
        self.listen_and(|| {})
    }

    /// The same; `end` is called at once when the end is asked for.
    pub(crate) fn listen_and(
        self,
        mut end: impl FnMut() + Send + 'static,
    ) -> anyhow::Result<Signals> {
        let Self(mut signals) = self;
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    let event = match signal {
                        SIGUSR1 => Event::Report,
                        SIGHUP if !has_terminal() => Event::HangUp,
                        _ => Event::End,
                    };
                    if event == Event::End {
                        end();
                    }
                    if sender.send(event).is_err() {
                        return;
                    }
                }
            })
            .context("starting the thread that receives signals")?;
        Ok(Signals(receiver))
    }
}

/// Whether there is a terminal that a SIGHUP could come from. To others it is sent by whoever wants
/// files to be opened anew.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut deadline = Deadline { next: start, interval: second };
        deadline.advance(start);
        assert_eq!(deadline.next, start + second);
        deadline.advance(start + 10 * second);
        assert_eq!(deadline.next, start + 10 * second);
    }

    #[test]
    fn a_scan_comes_first_and_a_flush_after_the_last_scan_before_it() {
        let tick = Duration::from_millis(1);
        let signals = RegisteredSignals::new().unwrap().listen().unwrap();
        let mut schedule = Schedule::new(signals, tick, 3 * tick);
        let events: Vec<_> = std::iter::repeat_with(|| schedule.next()).take(5).collect();
        assert_eq!(events[0], Event::Scan);
        assert!(events.contains(&Event::Flush), "{events:?}");
    }
}
