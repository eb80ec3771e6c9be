//! Where sightings come from: scans of all sockets, or kernel programs that watch them.

use anyhow::Context as _;
use netglass_kernel::{Collector, Limits, ScanOptions, Scanner, Sightings};
#[cfg(feature = "ebpf")]
use netglass_kernel::{Selection, Sizes, StreamOptions, Streamer};
use netglass_model::{Degradation, NamespaceInode};

use super::{
    arguments::{Mode, ScanArguments},
    trial::TriedMode,
};

/// Where sightings come from.
pub(super) enum Source {
    Polling(Box<Scanner>),
    #[cfg(feature = "ebpf")]
    Streaming(Box<Streamer>),
}

impl Source {
    /// Gets ready; where that is not done in the best way, the reason stands beside it.
    pub(super) fn open(
        arguments: &ScanArguments,
        sightings: Sightings,
    ) -> anyhow::Result<(Self, Option<Degradation>)> {
        let polling = || -> anyhow::Result<Self> {
            let scanner = Scanner::new(arguments.scan_options(), sightings, arguments.limits());
            Ok(Self::Polling(Box::new(scanner.context("getting ready to scan sockets")?)))
        };
        // One look is a scan, whatever is done at other times.
        let mode = match sightings {
            Sightings::One => Mode::Polling,
            Sightings::Repeated => arguments.mode,
        };
        match mode {
            Mode::Polling => Ok((polling()?, None)),
            Mode::Streaming => Ok((Self::streaming(arguments)?, None)),
            Mode::Auto => match Self::streaming(arguments) {
                Ok(streaming) => Ok((streaming, None)),
                Err(error) => Ok((polling()?, Some(instead_of_streaming(&error)))),
            },
        }
    }

    /// What [`open`](Self::open) gives where every option has its default.
    pub(super) fn open_by_default() -> anyhow::Result<(Self, Option<Degradation>)> {
        match Self::streaming_by_default() {
            Ok(streaming) => Ok((streaming, None)),
            Err(error) => {
                // As many as one look at a large host finds.
                let limits = Limits { flows: 1 << 18, sockets: 1 << 20 };
                let scanner = Scanner::new(ScanOptions::default(), Sightings::One, limits)?;
                let polling = Self::Polling(Box::new(scanner));
                Ok((polling, Some(instead_of_streaming(&error))))
            }
        }
    }

    #[cfg(feature = "ebpf")]
    fn streaming_by_default() -> anyhow::Result<Self> {
        let options = StreamOptions { selection: Selection::default(), sizes: Sizes::of_host() };
        Self::stream(options)
    }

    #[cfg(feature = "ebpf")]
    fn streaming(arguments: &ScanArguments) -> anyhow::Result<Self> {
        Self::stream(arguments.stream_options())
    }

    #[cfg(feature = "ebpf")]
    fn stream(options: StreamOptions) -> anyhow::Result<Self> {
        let streamer = Streamer::new(options);
        Ok(Self::Streaming(Box::new(streamer.context("getting ready to watch sockets")?)))
    }

    #[cfg(not(feature = "ebpf"))]
    fn streaming(_: &ScanArguments) -> anyhow::Result<Self> {
        Self::streaming_by_default()
    }

    #[cfg(not(feature = "ebpf"))]
    fn streaming_by_default() -> anyhow::Result<Self> {
        anyhow::bail!("this program was built without kernel programs")
    }

    /// Looks at what sockets do.
    pub(super) fn look(&mut self, collector: &mut Collector) -> anyhow::Result<()> {
        match self {
            Self::Polling(scanner) => scanner.scan(collector).context("scanning sockets"),
            #[cfg(feature = "ebpf")]
            Self::Streaming(streamer) => {
                streamer.collect(collector).context("collecting what sockets did")
            }
        }
    }

    /// There is a last flush to come. What was not looked at since the last time is looked at,
    /// unless that would be what a scan sees.
    #[cfg_attr(
        not(feature = "ebpf"),
        expect(unused_variables, reason = "a scan does not look before the end")
    )]
    pub(super) fn look_before_the_end(&mut self, collector: &mut Collector) -> anyhow::Result<()> {
        match self {
            Self::Polling(_) => Ok(()),
            #[cfg(feature = "ebpf")]
            Self::Streaming(_) => self.look(collector),
        }
    }

    /// What was seen so far was flushed.
    pub(super) fn flushed(&mut self) {
        match self {
            Self::Polling(scanner) => scanner.flushed(),
            #[cfg(feature = "ebpf")]
            Self::Streaming(_) => {}
        }
    }

    /// The namespace that counts as the host's own.
    pub(super) fn own_namespace(&self) -> NamespaceInode {
        match self {
            Self::Polling(scanner) => scanner.own_namespace(),
            #[cfg(feature = "ebpf")]
            Self::Streaming(streamer) => streamer.own_namespace(),
        }
    }

    /// How connections are found.
    pub(super) fn mode(&self) -> TriedMode {
        match self {
            Self::Polling(_) => TriedMode::Polling,
            #[cfg(feature = "ebpf")]
            Self::Streaming(_) => TriedMode::Streaming,
        }
    }

    /// What does not work as well as it could and was not told of before.
    pub(super) fn take_degradations(&mut self) -> Vec<Degradation> {
        match self {
            Self::Polling(scanner) => scanner.take_degradations(),
            #[cfg(feature = "ebpf")]
            Self::Streaming(streamer) => streamer.take_degradations(),
        }
    }

    /// Tries whether the thread that calls it may look.
    pub(super) fn trial(&self) -> Box<dyn FnOnce() -> bool + Send + '_> {
        match self {
            Self::Polling(scanner) => Box::new(|| scanner.is_usable()),
            #[cfg(feature = "ebpf")]
            Self::Streaming(streamer) => Box::new(streamer.trial()),
        }
    }
}

fn instead_of_streaming(error: &anyhow::Error) -> Degradation {
    Degradation {
        feature: "streaming".to_owned(),
        reason: format!("{error:#}"),
        consequence: "sockets are polled instead, which misses what lives between two scans; \
                      `netglass doctor` says what it takes"
            .to_owned(),
    }
}
