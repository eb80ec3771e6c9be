//! Streaming: system calls about sockets, one by one, as they return.

mod arguments;
mod command;
mod delivery;
mod errno;
mod file;
#[cfg(test)]
mod fixtures;
mod json;
#[cfg(feature = "kafka")]
mod kafka;
mod ledger;
mod output;
mod overload;
mod payload;
mod selection;
mod separated;
mod sink;
mod snapshot;
pub(crate) mod socket_words;
mod store;
mod summary;
mod summing;
mod table;
mod text;
mod words;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use netglass_kernel::{
    Needs,
    calls::{CallCounts, CallOptions, CallWatcher, THREADS},
    wait_for_turns,
};

pub(crate) use self::{
    arguments::{FilterArguments, SelectionArguments, SummaryArguments, WritingArguments},
    errno::words as errno_name,
    snapshot::show as show_snapshot,
};
use self::{
    arguments::{Interval, OnOverload},
    command::{NoCommand, Traced},
    ledger::{CallLedger, Undelivered},
    overload::Overload,
    sink::Sink,
};
use crate::database::{DatabaseArguments, StorageArguments};
use crate::probing::{Event, RegisteredSignals, Signals, drop_privileges, tell};

/// For how long calls are waited for before something else is looked at.
const WAIT: Duration = Duration::from_millis(50);

/// Streams calls until it is told to end, or until the command has ended, whose status is passed on.
pub(crate) fn run(
    selection: &SelectionArguments,
    writing: &WritingArguments,
    summary: &SummaryArguments,
    (database, storage): (&DatabaseArguments, &StorageArguments),
) -> anyhow::Result<ExitCode> {
    summary.check(writing)?;
    match summary.summary {
        Some(interval) => {
            let every = match interval {
                Interval::End => None,
                Interval::Each(every) => Some(every),
            };
            let arguments = summing::Arguments { selection, writing, summary, database, storage };
            summing::run(&arguments, every)
        }
        None => stream(selection, writing, summary),
    }
}

fn stream(
    selection: &SelectionArguments,
    writing: &WritingArguments,
    summary: &SummaryArguments,
) -> anyhow::Result<ExitCode> {
    let adds_up = writing.on_overload == OnOverload::Aggregate;
    let options = CallOptions {
        selection: selection.selection()?,
        entries: writing.phases,
        pending: true,
        payload: writing.payload,
        buffer_size: u32::try_from(writing.buffer_size).unwrap_or(u32::MAX),
        sums: adds_up.then_some(summary.max_sums),
        threads: THREADS,
    };
    // First of all, so that from the start no signal ends the program with something unwritten.
    let signals = RegisteredSignals::new()?;
    let mut sink = Sink::open(writing)?;
    let mut watcher = CallWatcher::new(&options).context("getting ready to follow system calls")?;
    tell(watcher.take_degradation().map(|it| it.to_string()).as_slice());
    // Before privileges are given up, which the command is to have.
    let traced = match Traced::start(&selection.command, |is| watcher.follow_next_child(is))? {
        None => None,
        Some(Ok(traced)) => Some(traced),
        Some(Err(NoCommand { reason, status })) => {
            tell(&[reason]);
            return Ok(status);
        }
    };
    let kept = drop_privileges(Needs::default(), watcher.trial(), || true);
    tell(kept.as_slice());
    // After the command was started, which is to run as it would without us. What there is to be read
    // can wait in the buffer; where this is forbidden, what is watched is somewhat slower.
    let _ = wait_for_turns();
    sink.start()?;
    let signals = signals.listen()?;
    let mut streaming = Streaming {
        watcher,
        sink,
        overload: adds_up.then(|| Overload::new(writing)),
        traced,
        signals,
        told: CallCounts::default(),
        told_undelivered: Undelivered::default(),
        is_ending: false,
    };
    let streamed = streaming.run();
    let finished = streaming.finish();
    streamed.and(finished)?;
    Ok(streaming.traced.map_or(ExitCode::SUCCESS, |traced| traced.status()))
}

struct Streaming {
    watcher: CallWatcher,
    sink: Sink,
    /// Where calls are to be added up when they come too fast.
    overload: Option<Overload>,
    traced: Option<Traced>,
    signals: Signals,
    /// What was told of as lost.
    told: CallCounts,
    told_undelivered: Undelivered,
    /// A signal has asked for the end.
    is_ending: bool,
}

impl Streaming {
    fn run(&mut self) -> anyhow::Result<()> {
        loop {
            // Looked at first, so that all that it has called is read then.
            let has_ended = self.traced.as_mut().is_some_and(Traced::has_ended);
            let Self { watcher, sink, overload, .. } = self;
            watcher.read(WAIT, &mut |call| sink.write(call))?;
            if let Some(overload) = overload {
                overload.look(watcher, sink)?;
            }
            self.tell_losses()?;
            self.sink.tick().context("writing calls")?;
            if has_ended || self.heed_signals()? {
                return Ok(());
            }
        }
    }

    /// Whether a signal asks for the end. A command is asked to end first.
    fn heed_signals(&mut self) -> anyhow::Result<bool> {
        while let Some(event) = self.signals.pending() {
            match event {
                Event::Report => self.tell_ledger()?,
                Event::End | Event::HangUp => {
                    let Some(traced) = self.traced.as_ref().filter(|_| !self.is_ending) else {
                        return Ok(true);
                    };
                    traced.terminate();
                    self.is_ending = true;
                }
                Event::Scan | Event::Flush => {}
            }
        }
        Ok(false)
    }

    /// Says at once that calls were lost.
    fn tell_losses(&mut self) -> anyhow::Result<()> {
        let counts = self.watcher.counts()?;
        let lost = |now: u64, before: u64| now.saturating_sub(before);
        self.tell_undelivered();
        for (reason, words, count) in [
            (
                "ring_full",
                "the ring buffer was full (--buffer-size makes it larger)",
                lost(counts.ring_full, self.told.ring_full),
            ),
            (
                "sums_full",
                "there are more connections to add up calls by than there is room for (--max-sums \
                 makes more)",
                lost(counts.sums_full, self.told.sums_full),
            ),
            ("malformed", "not understood", lost(counts.malformed, self.told.malformed)),
        ] {
            if count > 0 {
                self.sink.write_loss(reason, words, count);
                tell(&[format!("{count} calls were lost: {words}")]);
            }
        }
        if counts.not_followed > self.told.not_followed {
            tell(&["there are more children than can be followed at a time".to_owned()]);
        }
        if counts.not_remembered > self.told.not_remembered {
            tell(&[
                "there are more operations of io_uring than can be followed at a time".to_owned()
            ]);
        }
        self.told = counts;
        Ok(())
    }

    /// Says at once that calls did not arrive.
    fn tell_undelivered(&mut self) {
        let (now, before) = (self.sink.undelivered(), self.told_undelivered);
        for (words, count) in [
            (
                "more waits to be acknowledged than there is room for (--kafka-queue makes more)",
                now.queue_full.saturating_sub(before.queue_full),
            ),
            (
                "no broker has acknowledged them in time (--kafka-timeout)",
                now.timed_out.saturating_sub(before.timed_out),
            ),
            ("the brokers do not take them", now.refused.saturating_sub(before.refused)),
        ] {
            if count > 0 {
                tell(&[format!("{count} calls were lost: {words}")]);
            }
        }
        self.told_undelivered = now;
        tell(self.sink.take_note().as_slice());
    }

    /// Writes what was called until now, and the ledger.
    fn finish(&mut self) -> anyhow::Result<()> {
        let Self { watcher, sink, overload, .. } = self;
        watcher.finish(&mut |call| sink.write(call))?;
        if let Some(overload) = overload {
            overload.finish(watcher, sink)?;
        }
        self.tell_losses()?;
        self.sink.flush().context("writing calls")?;
        self.sink.finish();
        self.tell_undelivered();
        self.tell_ledger()
    }

    fn tell_ledger(&self) -> anyhow::Result<()> {
        let ledger =
            CallLedger::new(&self.watcher.counts()?, self.sink.written(), self.overload.is_some())
                .with_undelivered(self.sink.undelivered());
        tell(&[format!("ledger: {ledger}")]);
        Ok(())
    }
}
