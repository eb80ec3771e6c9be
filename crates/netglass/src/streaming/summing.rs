//! Adding calls up: nothing but sums leaves the kernel, and from time to time it is written who
//! talked to whom.

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use netglass_kernel::{
    Needs,
    calls::{CallSums, Callers, SumCounts, SumOptions, SumsBy, THREADS},
};
use netglass_model::{CallSum, Timestamp};

use super::{
    arguments::{SelectionArguments, SummaryArguments, WritingArguments},
    command::{NoCommand, Traced},
    ledger::CallLedger,
    output::Output,
    store::{PreparedStore, Store},
    summary::Summary,
};
use crate::{
    database::{DatabaseArguments, StorageArguments},
    probing::{Event, RegisteredSignals, Signals, drop_privileges, tell},
};

/// For how long signals are waited for before something else is looked at.
const WAIT: Duration = Duration::from_millis(50);
/// How often sums are taken out of the kernel, so that its table does not fill up and processes are
/// looked at while they live.
const COLLECTION: Duration = Duration::from_secs(1);
/// How often what was added up is stored.
const FLUSH: Duration = Duration::from_secs(10);

/// What it takes to add up calls.
pub(super) struct Arguments<'a> {
    pub(super) selection: &'a SelectionArguments,
    pub(super) writing: &'a WritingArguments,
    pub(super) summary: &'a SummaryArguments,
    pub(super) database: &'a DatabaseArguments,
    pub(super) storage: &'a StorageArguments,
}

/// Adds up calls until it is told to end, or until the command has ended, whose status is passed on.
pub(super) fn run(arguments: &Arguments<'_>, every: Option<Duration>) -> anyhow::Result<ExitCode> {
    let Arguments { selection, writing, summary, database, storage } = arguments;
    let options = SumOptions {
        selection: selection.selection()?,
        by: SumsBy::Service,
        most: summary.max_sums,
        threads: THREADS,
    };
    // First of all, so that from the start no signal ends the program with something unwritten.
    let signals = RegisteredSignals::new()?;
    let output = Output::open(writing)?;
    let prepared = PreparedStore::open(database, storage)?;
    let mut sums = CallSums::start(&options).context("getting ready to add up system calls")?;
    let callers = Callers::new().context("getting ready to look at processes")?;
    tell(sums.take_degradation().map(|it| it.to_string()).as_slice());
    // Before privileges are given up, which the command is to have.
    let traced = match Traced::start(&selection.command, |is| sums.follow_next_child(is))? {
        None => None,
        Some(Ok(traced)) => Some(traced),
        Some(Err(NoCommand { reason, status })) => {
            tell(&[reason]);
            return Ok(status);
        }
    };
    let needs = Needs {
        processes: true,
        foreign_files: prepared.as_ref().is_some_and(PreparedStore::is_foreign),
        ..Needs::default()
    };
    let kept = drop_privileges(needs, sums.trial(), || true);
    tell(kept.as_slice());
    let store = prepared.map(|prepared| prepared.start(storage)).transpose()?;
    let signals = signals.listen()?;
    let mut summing = Summing {
        sums,
        callers,
        output,
        store,
        traced,
        signals,
        summary: Summary::default(),
        since: now(),
        full: 0,
        told: SumCounts::default(),
        is_ending: false,
    };
    let summed = summing.run(every);
    let finished = summing.finish();
    summed.and(finished)?;
    Ok(summing.traced.map_or(ExitCode::SUCCESS, |traced| traced.status()))
}

struct Summing {
    sums: CallSums,
    callers: Callers,
    output: Output,
    store: Option<Store>,
    traced: Option<Traced>,
    signals: Signals,
    /// What was not written yet.
    summary: Summary,
    since: Timestamp,
    /// Calls for which there was no room in summaries that were written.
    full: u64,
    /// What was told of as lost.
    told: SumCounts,
    /// A signal has asked for the end.
    is_ending: bool,
}

impl Summing {
    fn run(&mut self, every: Option<Duration>) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut collection = start + COLLECTION;
        let mut flush = start + FLUSH;
        let mut writing = every.map(|every| start + every);
        loop {
            // Looked at first, so that all that it has called is added up then.
            let has_ended = self.traced.as_mut().is_some_and(Traced::has_ended);
            if has_ended || self.heed_signals()? {
                return Ok(());
            }
            let now = Instant::now();
            let is_written = writing.is_some_and(|writing| now >= writing);
            if is_written || now >= collection {
                self.collect()?;
                collection = now + COLLECTION;
            }
            if is_written {
                self.write()?;
                writing = every.map(|every| now + every);
            }
            if now >= flush {
                self.flush();
                flush = now + FLUSH;
            }
        }
    }

    /// Whether a signal asks for the end. A command is asked to end first.
    fn heed_signals(&mut self) -> anyhow::Result<bool> {
        match self.signals.wait(WAIT) {
            Some(Event::Report) => {
                self.collect()?;
                self.tell_ledger()?;
            }
            Some(Event::End | Event::HangUp) => {
                let Some(traced) = self.traced.as_ref().filter(|_| !self.is_ending) else {
                    return Ok(true);
                };
                traced.terminate();
                self.is_ending = true;
            }
            Some(Event::Scan | Event::Flush) | None => {}
        }
        Ok(false)
    }

    fn collect(&mut self) -> anyhow::Result<()> {
        self.collect_by(CallSums::collect)
    }

    fn collect_by(
        &mut self,
        collect: impl FnOnce(
            &mut CallSums,
            &mut dyn FnMut(&CallSum),
        ) -> Result<(), netglass_kernel::Error>,
    ) -> anyhow::Result<()> {
        let Self { sums, callers, summary, store, .. } = self;
        let full = summary.full();
        collect(sums, &mut |sum| {
            let process = callers.find(&sum.process);
            summary.add(sum, &process);
            if let Some(store) = store {
                store.add(sum, &process);
            }
        })?;
        if summary.full() > full && full == 0 {
            tell(&["there are more connections in a summary than there is room for; a shorter \
                    --summary interval helps"
                .to_owned()]);
        }
        self.tell_losses()
    }

    fn tell_losses(&mut self) -> anyhow::Result<()> {
        let counts = self.sums.counts()?;
        if counts.full > self.told.full {
            let lost = counts.full - self.told.full;
            tell(&[format!(
                "{lost} calls were lost: there are more connections than the kernel has room for \
                 (--max-sums makes more)"
            )]);
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

    /// Writes what was added up since the last time.
    fn write(&mut self) -> anyhow::Result<()> {
        let until = now();
        let mut summary = std::mem::take(&mut self.summary);
        summary.settle();
        self.full = self.full.saturating_add(summary.full());
        let written = self.output.write(&summary, (self.since, until));
        self.since = until;
        written.context("writing a summary")
    }

    fn flush(&mut self) {
        if let Some(store) = &mut self.store {
            store.flush(false);
            tell(&store.take_notes());
        }
    }

    /// Writes and stores what was called until now, and the ledger.
    fn finish(&mut self) -> anyhow::Result<()> {
        self.collect_by(CallSums::finish)?;
        let written = self.write();
        let stored = self.store.as_mut().map_or(Ok(()), |store| {
            let stored = store.finish();
            tell(&store.take_notes());
            stored
        });
        self.tell_ledger()?;
        written.and(stored)
    }

    fn tell_ledger(&self) -> anyhow::Result<()> {
        let full = self.full.saturating_add(self.summary.full());
        let ledger = CallLedger::of_sums(&self.sums.counts()?, full);
        tell(&[format!("ledger: {ledger}")]);
        Ok(())
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
