//! Outputs that may be away.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::Context as _;
use clap::Args;
use netglass_kernel::Needs;
use netglass_store::{
    Spool,
    flow_log::{FlowOutput, FlowSink, WhenFull},
};

use crate::{
    database::{is_foreign, parse_spool_limit},
    probing::drop_privileges,
    time::parse_duration,
};

/// How long the start waits for a server that may be away.
const PATIENCE: Duration = Duration::from_secs(5);

/// What waits for outputs that are away, and for how long.
#[derive(Debug, Args)]
#[command(next_help_heading = "Outputs that may be away")]
pub(super) struct RemoteArguments {
    /// Where waits on disk, until the next capture if need be, what a server cannot take yet; without,
    /// it waits in memory
    #[arg(long, env = "NETGLASS_SPOOL_DIR", value_name = "DIRECTORY")]
    spool_dir: Option<PathBuf>,

    /// Most bytes that wait there for each output; beyond that the oldest make way
    #[arg(long, env = "NETGLASS_SPOOL_LIMIT", value_name = "BYTES", default_value = "256MiB")]
    #[arg(value_parser = parse_spool_limit)]
    spool_limit: u64,

    /// How long the end waits for an output that takes nothing; another signal ends the wait
    #[arg(long, env = "NETGLASS_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = parse_duration)]
    pub(super) drain_timeout: Duration,
}

/// A spool of one output.
pub(super) struct OutputSpool {
    /// Where it is, and room for what else belongs to the output.
    pub(super) directory: PathBuf,
    spool: Spool,
}

/// An output that may be away. It is open, and no thread is started for it yet.
pub(super) struct Remote {
    sink: Box<dyn FlowSink>,
    target: String,
    spool: Option<OutputSpool>,
}

impl RemoteArguments {
    /// Opens the spool of the output of this kind and name, if there is to be any. What waits for one
    /// output is never delivered to another.
    pub(super) fn open_spool(&self, kind: &str, name: &str) -> anyhow::Result<Option<OutputSpool>> {
        let Some(directory) = &self.spool_dir else { return Ok(None) };
        let directory = directory.join(kind).join(name);
        let spool = FlowOutput::open_spool(&directory, self.spool_limit)?;
        Ok(Some(OutputSpool { directory, spool }))
    }
}

impl Remote {
    pub(super) fn new(sink: Box<dyn FlowSink>, target: String, spool: Option<OutputSpool>) -> Self {
        Self { sink, target, spool }
    }

    /// Finds out whether anything can be logged there. That somebody has to set something right is an
    /// error; that it is away is none, and returned.
    pub(super) fn prepare(&mut self) -> anyhow::Result<Option<String>> {
        // Privileges are a thread's own: what a server says is not listened to with them.
        let prepared = thread::scope(|scope| {
            let prepare = || {
                // That some are kept is told when all are given up.
                let _ = drop_privileges(Needs::default(), || true, || true);
                self.sink.prepare(PATIENCE)
            };
            let thread = thread::Builder::new().name("prepare".to_owned());
            let thread = thread.spawn_scoped(scope, prepare)?;
            anyhow::Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
        .context("starting a thread")?;
        match prepared {
            Ok(()) => Ok(None),
            Err(error) if error.is_lasting() => Err(error.into()),
            Err(error) => Ok(Some(format!("{error}; packets are captured all the same"))),
        }
    }

    /// Whether it takes more than this user's own rights to write to its spool.
    pub(super) fn needs_foreign_files(&self) -> bool {
        let spool = self.spool.as_ref();
        spool.is_some_and(|OutputSpool { directory, .. }| is_foreign(&directory.join("lock")))
    }

    /// Starts to deliver, with the privileges that there are.
    pub(super) fn start(self, queue_limit: u64, when_full: WhenFull) -> anyhow::Result<FlowOutput> {
        let Self { sink, target, spool } = self;
        let started = match spool {
            Some(OutputSpool { spool, .. }) => FlowOutput::spooled(sink, target, spool, when_full),
            None => FlowOutput::queued(sink, target, queue_limit, when_full),
        };
        started.context("starting the thread that delivers conversations")
    }
}
