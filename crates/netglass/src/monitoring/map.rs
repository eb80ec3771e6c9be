//! Events from the perf event array of a datapath.

use std::{path::Path, time::Duration};

use netglass_cilium::Event;
use netglass_kernel::{PerfEvent, PerfEvents};

use super::sink::{self, Sink};

/// How long is waited for events before something else is looked at.
const WAIT: Duration = Duration::from_millis(100);

/// A perf event array from which events come.
pub(super) struct Map(PerfEvents);

impl Map {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(PerfEvents::open(path)?))
    }

    /// Reads until it is told to end.
    pub(super) fn run(&mut self, sink: &mut Sink) -> anyhow::Result<()> {
        let mut goes_on = sink.begin()?;
        while goes_on {
            let at = Some(sink::now());
            let mut result = Ok(true);
            self.0.poll(WAIT, |event| {
                if !matches!(result, Ok(true)) {
                    return;
                }
                let event = match event {
                    PerfEvent::Sample { cpu, data } => Event::sample(cpu.into(), data),
                    PerfEvent::Lost { cpu, count } => Event::lost(cpu.into(), count),
                };
                result = sink.take(&Event { at, ..event });
            });
            goes_on = result? && sink.idle()?;
        }
        Ok(())
    }
}
