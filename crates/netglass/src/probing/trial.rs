//! What probing comes to on this host, found out by looking once.

use netglass_kernel::{Collector, Limits};
use netglass_model::Degradation;

use super::source::Source;

/// How `--mode auto` finds connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TriedMode {
    #[cfg_attr(not(feature = "ebpf"), expect(dead_code, reason = "it takes kernel programs"))]
    Streaming,
    Polling,
    /// Neither works.
    Neither,
}

/// What `--mode auto` comes to where every other option has its default.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) mode: TriedMode,
    /// Why neither works.
    pub(crate) failure: Option<String>,
    /// What does not work as well as it could.
    pub(crate) lost: Vec<Degradation>,
}

impl Trial {
    /// Starts as a probe does, looks once at what sockets do, and keeps nothing.
    pub(crate) fn run() -> Self {
        let (mut source, instead) = match Source::open_by_default() {
            Ok(opened) => opened,
            Err(error) => return Self::failed(&error, Vec::new()),
        };
        let mut lost: Vec<_> = instead.into_iter().collect();
        let mut collector = Collector::new(Limits { flows: 1 << 18, sockets: 1 << 20 });
        let looked = source.look(&mut collector);
        lost.extend(source.take_degradations());
        match looked {
            Ok(()) => Self { mode: source.mode(), failure: None, lost },
            Err(error) => Self::failed(&error, lost),
        }
    }

    fn failed(error: &anyhow::Error, lost: Vec<Degradation>) -> Self {
        Self { mode: TriedMode::Neither, failure: Some(format!("{error:#}")), lost }
    }
}
