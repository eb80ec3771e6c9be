//! Capturing: packets from interfaces or files, put together into conversations, which are logged.

mod arguments;
mod conversations;
mod files;
mod filter;
#[cfg(all(feature = "capture", feature = "ebpf"))]
mod in_kernel;
mod ledger;
#[cfg(feature = "capture")]
mod live;
mod outputs;
mod packet_file;
mod progress;
mod report;
mod stream;
mod table;

use anyhow::Context as _;
use netglass_kernel::Needs;
use netglass_store::{
    Interrupt,
    flow_log::{FlowLog, WhenFull},
};

use self::{
    arguments::Engine, conversations::Conversations, files::Files, packet_file::PacketFile,
    report::Reporter, table::Writers,
};
pub(crate) use self::{
    arguments::{FlowArguments, InputArguments, ReportArguments},
    outputs::OutputArguments,
    packet_file::PacketFileArguments,
    stream::Stream,
};
use crate::{
    database::DatabaseArguments,
    probing::{RegisteredSignals, drop_privileges},
    usage::UsageError,
};

/// What packets go to, and who tells how that goes.
struct Work {
    conversations: Conversations,
    packets: Option<PacketFile>,
    reporter: Reporter,
}

/// Captures until it is told to end, or until all files are read.
pub(crate) fn run(
    input: &InputArguments,
    flows: &FlowArguments,
    outputs: &OutputArguments,
    packets: &PacketFileArguments,
    report: &ReportArguments,
    database: &DatabaseArguments,
) -> anyhow::Result<()> {
    input.check()?;
    if input.engine == Engine::Kernel {
        check_kernel_engine(input, flows, packets)?;
    }
    if packets.take_standard_output() && outputs.take_standard_output() {
        return Err(UsageError(
            "standard output is where packets go (-w -), and cannot take conversations, too: name \
             another place for those with --output"
                .to_owned(),
        )
        .into());
    }
    // First of all, so that from the start no signal ends the program with something unwritten.
    let signals = RegisteredSignals::new()?;
    let packets = packets.open(&input.files)?;
    // Before there is anything to capture, which would be lost while a server is asked.
    let mut prepared = outputs.open(database)?;
    let mut source = Source::open(input, flows)?;
    let foreign_files = packets.is_some() || prepared.needs_foreign_files;
    let kept = source.drop_privileges(foreign_files);
    let notes: Vec<_> = prepared.notes.drain(..).chain(kept).collect();
    let interrupt = Interrupt::new(outputs.drain_timeout());
    let log = prepared.start(source.when_full())?.interrupted_by(&interrupt);
    let signals = signals.listen_and(move || interrupt.raise())?;
    // Not before, so that its thread has as few privileges.
    let writers = source.writers(&log);
    let (settings, tunnels) = (flows.settings(), flows.tunnels());
    let conversations = Conversations::new(settings, tunnels, log, flows.threads, writers)
        .context("cannot start a thread to put packets together")?;
    let mut work = Work { conversations, packets, reporter: Reporter::new(report, signals) };
    for note in notes {
        work.reporter.tell(&note);
    }
    let captured = source.run(&mut work);
    let logged = outputs::finish(&mut work, outputs.drain_timeout());
    work.reporter.tell_ledger(&work.conversations, work.packets.as_ref());
    captured.and(logged)
}

/// Fails unless conversations can be added up in the kernel.
#[cfg(all(feature = "capture", feature = "ebpf"))]
fn check_kernel_engine(
    input: &InputArguments,
    flows: &FlowArguments,
    packets: &PacketFileArguments,
) -> Result<(), UsageError> {
    in_kernel::check(input, flows, packets)
}

#[cfg(not(all(feature = "capture", feature = "ebpf")))]
fn check_kernel_engine(
    _: &InputArguments,
    _: &FlowArguments,
    _: &PacketFileArguments,
) -> Result<(), UsageError> {
    Err(UsageError(
        "this program was built without --engine kernel: build it with --features capture,ebpf"
            .to_owned(),
    ))
}

/// Where packets come from.
enum Source {
    Files(Files),
    #[cfg(feature = "capture")]
    Live(Box<live::Live>),
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    InKernel(Box<in_kernel::InKernel>),
}

impl Source {
    /// Opens what takes privileges to open.
    fn open(
        input: &InputArguments,
        #[cfg_attr(
            not(feature = "capture"),
            expect(unused_variables, reason = "files ask nobody about conversations")
        )]
        flows: &FlowArguments,
    ) -> anyhow::Result<Self> {
        if !input.files.is_empty() {
            return Ok(Self::Files(Files::new(input)?));
        }
        #[cfg(all(feature = "capture", feature = "ebpf"))]
        if input.engine == Engine::Kernel {
            let timeout = flows.settings().idle_timeout;
            return Ok(Self::InKernel(Box::new(in_kernel::InKernel::open(input, timeout)?)));
        }
        #[cfg(feature = "capture")]
        return Ok(Self::Live(Box::new(live::Live::open(input, flows.settings().idle_timeout)?)));
        #[cfg(not(feature = "capture"))]
        Err(UsageError(
            "this program was built without live capture: build it with --features capture, or read \
             files with -r"
                .to_owned(),
        )
        .into())
    }

    /// What becomes of conversations where there is no room for more: a file waits.
    fn when_full(&self) -> WhenFull {
        match self {
            Self::Files(_) => WhenFull::Wait,
            #[cfg(feature = "capture")]
            Self::Live(_) => WhenFull::DropOldest,
            #[cfg(all(feature = "capture", feature = "ebpf"))]
            Self::InKernel(_) => WhenFull::DropOldest,
        }
    }

    /// Who writes records: of packets from files nobody knows more than they tell.
    fn writers(&self, log: &FlowLog) -> Writers {
        match self {
            Self::Files(_) if log.takes_json() => Writers::Both(log.limits().records),
            _ => Writers::One,
        }
    }

    /// Gives up privileges that are not needed any more. What could not be given up is returned.
    fn drop_privileges(&self, foreign_files: bool) -> Option<String> {
        match self {
            Self::Files(_) => {
                drop_privileges(Needs { foreign_files, ..Needs::default() }, || true, || true)
            }
            #[cfg(feature = "capture")]
            Self::Live(live) => live.drop_privileges(foreign_files),
            #[cfg(all(feature = "capture", feature = "ebpf"))]
            Self::InKernel(in_kernel) => in_kernel.drop_privileges(foreign_files),
        }
    }

    fn run(&mut self, work: &mut Work) -> anyhow::Result<()> {
        match self {
            Self::Files(files) => files.run(work),
            #[cfg(feature = "capture")]
            Self::Live(live) => live.run(work),
            #[cfg(all(feature = "capture", feature = "ebpf"))]
            Self::InKernel(in_kernel) => in_kernel.run(work),
        }
    }
}
