//! Monitoring: events of Cilium's datapath and agent and of our own datapath, from where they come to what
//! is shown.

mod arguments;
mod file;
mod interfaces;
#[cfg(all(feature = "capture", feature = "ebpf"))]
pub(crate) mod kernel;
mod ledger;
#[cfg(feature = "ebpf")]
mod map;
mod recording;
mod sink;
mod socket;
mod summary;

use std::path::Path;

pub(crate) use self::arguments::{
    FilterArguments, KernelArguments, LineArguments, SourceArguments,
};
use self::{file::File, sink::Sink, socket::Socket};
use crate::{
    probing::{RegisteredSignals, drop_privileges},
    usage::UsageError,
};
use netglass_kernel::Needs;

/// Shows events until it is told to end, or until there are no more.
pub(crate) fn run(
    source: &SourceArguments,
    lines: &LineArguments,
    filter: &FilterArguments,
) -> anyhow::Result<()> {
    // First of all, so that from the start no signal ends the program with something unwritten.
    let signals = RegisteredSignals::new()?;
    let mut sink = Sink::open(lines, filter, source)?;
    let mut source = Source::open(source, lines, filter)?;
    let kept = source.drop_privileges();
    sink.listen(signals.listen()?);
    if let Some(note) = kept {
        sink::tell(&note);
    }
    let read = source.run(&mut sink);
    let written = sink.finish();
    read.and(written)
}

/// Where events come from.
enum Source {
    File(Box<File>),
    Socket(Socket),
    #[cfg(feature = "ebpf")]
    Map(map::Map),
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    Kernel(Box<kernel::Kernel>),
}

impl Source {
    /// Opens what takes privileges to open.
    fn open(
        source: &SourceArguments,
        lines: &LineArguments,
        filter: &FilterArguments,
    ) -> anyhow::Result<Self> {
        if source.kernel.kernel {
            return Self::open_kernel(&source.kernel, filter);
        }
        if let Some(path) = &source.file {
            return Ok(Self::File(Box::new(File::open(path, lines)?)));
        }
        if let Some(path) = &source.map {
            return Self::open_map(path);
        }
        let socket = Socket::connect(source.socket.as_deref(), source.reconnect, lines)?;
        Ok(Self::Socket(socket))
    }

    #[cfg(all(feature = "capture", feature = "ebpf"))]
    fn open_kernel(arguments: &KernelArguments, filter: &FilterArguments) -> anyhow::Result<Self> {
        Ok(Self::Kernel(Box::new(kernel::Kernel::open(arguments, filter)?)))
    }

    #[cfg(not(all(feature = "capture", feature = "ebpf")))]
    fn open_kernel(_: &KernelArguments, _: &FilterArguments) -> anyhow::Result<Self> {
        Err(UsageError(
            "this program was built without --kernel: build it with --features capture,ebpf"
                .to_owned(),
        )
        .into())
    }

    #[cfg(feature = "ebpf")]
    fn open_map(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::Map(map::Map::open(path)?))
    }

    #[cfg(not(feature = "ebpf"))]
    fn open_map(_: &Path) -> anyhow::Result<Self> {
        Err(UsageError(
            "this program was built without kernel programs: build it with --features ebpf, or read \
             the agent's socket"
                .to_owned(),
        )
        .into())
    }

    /// Gives up privileges that are not needed any more. What could not be given up is returned.
    fn drop_privileges(&self) -> Option<String> {
        #[cfg(all(feature = "capture", feature = "ebpf"))]
        if let Self::Kernel(kernel) = self {
            return kernel.drop_privileges();
        }
        // A socket of others may have to be opened again.
        let foreign_files = matches!(self, Self::Socket(_));
        drop_privileges(Needs { foreign_files, ..Needs::default() }, || true, || true)
    }

    fn run(&mut self, sink: &mut Sink) -> anyhow::Result<()> {
        match self {
            Self::File(it) => it.run(sink),
            Self::Socket(it) => it.run(sink),
            #[cfg(feature = "ebpf")]
            Self::Map(it) => it.run(sink),
            #[cfg(all(feature = "capture", feature = "ebpf"))]
            Self::Kernel(it) => it.run(sink),
        }
    }
}

impl SourceArguments {
    /// Fails if events are to come from more than one place.
    fn check(&self) -> Result<(), UsageError> {
        let named =
            [self.file.is_some(), self.map.is_some(), self.socket.is_some(), self.kernel.kernel];
        if named.into_iter().filter(|is_named| *is_named).count() > 1 {
            return Err(UsageError(
                "events come from a file (-r), a socket (--socket), a map (--map) or the kernel \
                 (--kernel), not from several of them"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}
