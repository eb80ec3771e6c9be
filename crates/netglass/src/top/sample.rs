//! What processes did in one interval, as the kernel has added it up.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use netglass_kernel::calls::{CallSelection, CallSums, SumCounts, SumOptions, SumsBy, THREADS};
use netglass_model::{
    CallName, CallSum, CallingProcess, Degradation, Latencies, Timestamp, Transfer,
};

use super::state::ProcessKey;

/// What a process did.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    pub(super) process: CallingProcess,
    /// Bytes.
    pub(super) sent: u64,
    /// Bytes.
    pub(super) received: u64,
    pub(super) calls: u64,
    /// How many of them failed.
    pub(super) errors: u64,
    pub(super) latencies: Latencies,
    pub(super) by_call: BTreeMap<CallName, u64>,
    /// How many failed with which error (`errno`).
    pub(super) by_error: BTreeMap<u32, u64>,
}

impl Activity {
    pub(super) fn new(process: CallingProcess) -> Self {
        Self {
            process,
            sent: 0,
            received: 0,
            calls: 0,
            errors: 0,
            latencies: Latencies::default(),
            by_call: BTreeMap::new(),
            by_error: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, sum: &CallSum) {
        let calls = sum.calls();
        self.calls += calls;
        match sum.transfer {
            Some(Transfer::Send) => self.sent += sum.bytes,
            Some(Transfer::Receive) => self.received += sum.bytes,
            None => {}
        }
        *self.by_call.entry(sum.name).or_default() += calls;
        if let Some(error) = sum.error {
            self.errors += calls;
            *self.by_error.entry(error).or_default() += calls;
        }
        self.latencies.merge(&sum.latencies);
    }
}

/// What processes did in one interval.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// When it was taken.
    pub(super) at: Timestamp,
    pub(super) elapsed: Duration,
    pub(super) activities: Vec<Activity>,
    /// What was counted since the start.
    pub(super) counts: SumCounts,
}

impl Sample {
    /// What a process did.
    pub(super) fn of(&self, key: ProcessKey) -> Option<&Activity> {
        self.activities.iter().find(|it| (it.process.pid, it.process.comm) == (key.pid, key.comm))
    }
}

/// Takes samples.
#[derive(Debug)]
pub(super) struct Sampler {
    sums: CallSums,
    since: Instant,
}

impl Sampler {
    pub(super) fn start(selection: CallSelection, most: u32) -> anyhow::Result<Self> {
        let options = SumOptions { selection, by: SumsBy::Service, most, threads: THREADS };
        let sums = CallSums::start(&options).context("getting ready to add up system calls")?;
        Ok(Self { sums, since: Instant::now() })
    }

    pub(super) fn sums(&self) -> &CallSums {
        &self.sums
    }

    pub(super) fn take_degradation(&mut self) -> Option<Degradation> {
        self.sums.take_degradation()
    }

    /// What was done since the last time.
    pub(super) fn sample(&mut self) -> anyhow::Result<Sample> {
        let mut by_process: HashMap<ProcessKey, Activity> = HashMap::new();
        let collected = self.sums.collect(&mut |sum| {
            by_process
                .entry(ProcessKey { pid: sum.process.pid, comm: sum.process.comm })
                .or_insert_with(|| Activity::new(sum.process))
                .add(sum);
        });
        collected.context("collecting what the kernel has added up")?;
        let now = Instant::now();
        let elapsed = now.duration_since(self.since);
        self.since = now;
        Ok(Sample {
            at: Timestamp::from(std::time::SystemTime::now()),
            elapsed,
            activities: by_process.into_values().collect(),
            counts: self.sums.counts().context("reading what the kernel has counted")?,
        })
    }

    /// Stops, and says what became of each call.
    pub(super) fn finish(&mut self) -> anyhow::Result<SumLedger> {
        self.sums.finish(&mut |_| {}).context("collecting what the kernel has added up")?;
        Ok(SumLedger(self.sums.counts().context("reading what the kernel has counted")?))
    }
}

/// `seen = added up + filtered + lost`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SumLedger(pub(super) SumCounts);

impl SumLedger {
    pub(super) const fn lost(&self) -> u64 {
        self.0.full + self.0.malformed
    }
}

impl fmt::Display for SumLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SumCounts { seen, filtered, collected, full, malformed, not_followed, not_remembered } =
            self.0;
        let calls = if seen == 1 { "call" } else { "calls" };
        let lost = self.lost();
        write!(f, "{seen} {calls} = {collected} added up + {filtered} filtered + {lost} lost")?;
        let reasons = [(full, "no room for another sum"), (malformed, "malformed")];
        let given = reasons.iter().filter(|(count, _)| *count > 0);
        let given: Vec<_> = given.map(|(count, reason)| format!("{count} {reason}")).collect();
        if !given.is_empty() {
            write!(f, " ({})", given.join(", "))?;
        }
        if not_remembered > 0 {
            write!(f, "; {not_remembered} operations of io_uring not followed")?;
        }
        if not_followed > 0 {
            write!(f, "; {not_followed} children not followed")?;
        }
        Ok(())
    }
}
