//! Events of our own datapath: packets of any host, with their processes.

mod names;
mod order;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use netglass_cilium::{AddressPrefix, Criteria, Event, MessageType};
use netglass_kernel::{
    Needs, PerfEvent,
    datapath::{BootTime, Datapath, DatapathCounts, DatapathOptions},
};

use netglass_model::Timestamp;

use self::{names::Names, order::Order};
use super::{
    arguments::{FilterArguments, KernelArguments},
    sink::{self, Sink},
};
use crate::{probing::drop_privileges, usage::UsageError};

/// How long is waited for the first event.
const WAIT: Duration = Duration::from_millis(100);
/// How often namespaces and counts are looked at.
const OFTEN: Duration = Duration::from_millis(100);

/// Our own datapath, whose events become lines.
pub(super) struct Kernel(KernelSource);

impl Kernel {
    pub(super) fn open(
        arguments: &KernelArguments,
        filter: &FilterArguments,
    ) -> anyhow::Result<Self> {
        let criteria = filter.criteria(sink::now());
        let options = options(arguments, &criteria);
        if !options.traces && !options.drops {
            return Err(UsageError(
                "the kernel tells of drops, and with -i of packets that come by (trace): what \
                 --type asks for it does not have"
                    .to_owned(),
            )
            .into());
        }
        let source = KernelSource::open(&options)?;
        for name in &criteria.kernel_reasons {
            let is_number = name.parse::<u32>().is_ok();
            if !is_number && !source.datapath.has_reason(name) {
                return Err(UsageError(format!(
                    "this kernel has no drop reason {name}: see enum skb_drop_reason, without its \
                     prefix SKB_DROP_REASON_"
                ))
                .into());
            }
        }
        Ok(Self(source))
    }

    /// Gives up privileges that are not needed any more. What could not be given up is returned.
    pub(super) fn drop_privileges(&self) -> Option<String> {
        self.0.drop_privileges(|| true)
    }

    /// Shows what is told until it is told to end.
    pub(super) fn run(&mut self, sink: &mut Sink) -> anyhow::Result<()> {
        let shown = self.show_until_the_end(sink);
        let last = self.0.finish(&mut |event| sink.take(event));
        sink.ledger.kernel = Some(self.0.counts());
        shown.and(last)
    }

    fn show_until_the_end(&mut self, sink: &mut Sink) -> anyhow::Result<()> {
        let mut goes_on = sink.begin()?;
        self.0.begin();
        while goes_on {
            self.0.read(&mut |event| sink.take(event))?;
            goes_on = self.0.release(&mut |event| sink.take(event))?;
            sink.ledger.kernel = Some(self.0.counts());
            goes_on &= sink.idle()?;
        }
        Ok(())
    }
}

/// Hands out an event; returns whether it should go on.
pub(crate) type Take<'a> = dyn FnMut(&Event<'_>) -> anyhow::Result<bool> + 'a;

/// Our own datapath: events in the order of their times, with their names.
pub(crate) struct KernelSource {
    datapath: Datapath,
    names: Names,
    order: Order,
    counts: DatapathCounts,
    /// How many the rings told to have lost.
    lost: u64,
    /// What is being named.
    event: Vec<u8>,
    next_look: Instant,
}

impl KernelSource {
    pub(crate) fn open(options: &DatapathOptions) -> anyhow::Result<Self> {
        let names = Names::open().context("finding the processes of packets")?;
        Ok(Self {
            datapath: Datapath::open(options)?,
            names,
            order: Order::default(),
            counts: DatapathCounts::default(),
            lost: 0,
            event: Vec::new(),
            next_look: Instant::now(),
        })
    }

    /// Gives up privileges that are not needed any more, where `others` works with what is left, too. What
    /// could not be given up is returned.
    pub(crate) fn drop_privileges(&self, others: impl FnOnce() -> bool + Send) -> Option<String> {
        let needs =
            Needs { processes: true, all_namespaces: true, attaching: true, ..Needs::default() };
        let (knows, reads) = (self.names.trial(), self.datapath.trial());
        drop_privileges(needs, || knows() && reads(), others)
    }

    /// Tells the user that packets are told of from now on.
    pub(crate) fn begin(&self) {
        let places = self.datapath.places();
        sink::tell(&format!("the kernel tells of packets in {places} network namespaces"));
    }

    /// What became of packets, as it was when that was last looked at.
    pub(crate) fn counts(&self) -> DatapathCounts {
        self.counts
    }

    /// Waits for a moment, takes what there is, and learns whose it is. What was lost is handed out.
    pub(crate) fn read(&mut self, take: &mut Take<'_>) -> anyhow::Result<()> {
        self.read_rings(WAIT, take)?;
        self.names.look_if_due()?;
        if self.order.is_overdue(BootTime::read(), sink::now()) {
            self.names.look()?;
        }
        self.look()
    }

    /// Hands out what is due. Returns whether it should go on.
    pub(crate) fn release(&mut self, take: &mut Take<'_>) -> anyhow::Result<bool> {
        self.release_until(Some(self.names.known_until()), take)
    }

    /// Ends it: what was told before is handed out, too.
    pub(crate) fn finish(&mut self, take: &mut Take<'_>) -> anyhow::Result<()> {
        self.datapath.stop();
        self.read_rings(Duration::ZERO, take)?;
        self.names.look()?;
        self.release_until(None, take)?;
        self.counts = self.datapath.counts()?;
        // Of what was lost last the rings tell only with what comes next.
        let untold = self.counts.lost.saturating_sub(self.lost);
        if untold > 0 {
            take(&Event { at: Some(sink::now()), ..Event::lost(0, untold) })?;
        }
        Ok(())
    }

    /// Takes what there is.
    fn read_rings(&mut self, wait: Duration, take: &mut Take<'_>) -> anyhow::Result<()> {
        let Self { datapath, order, lost, .. } = self;
        let mut result = Ok(true);
        datapath.poll(wait, |event| match event {
            PerfEvent::Sample { cpu, data } => order.push(cpu, data),
            PerfEvent::Lost { cpu, count } => {
                *lost = lost.saturating_add(count);
                if result.is_ok() {
                    let event = Event::lost(cpu.into(), count);
                    result = take(&Event { at: Some(sink::now()), ..event });
                }
            }
        });
        result.map(drop)
    }

    /// Keeps up with namespaces and counts, if it is time to.
    fn look(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + OFTEN;
        self.datapath.keep_up()?;
        for news in self.datapath.take_news().into_iter().chain(self.names.take_news()) {
            sink::tell(&news);
        }
        self.counts = self.datapath.counts()?;
        Ok(())
    }

    /// Hands out what is due, in the order of its time. Returns whether it should go on.
    fn release_until(
        &mut self,
        known_until: Option<Timestamp>,
        take: &mut Take<'_>,
    ) -> anyhow::Result<bool> {
        let clock = BootTime::read();
        let now = sink::now();
        let Self { datapath, names, order, event, .. } = self;
        while let Some(taken) = order.next_due(clock, now, known_until) {
            event.clear();
            names.put(datapath, taken.at, &taken.data, event);
            let sample = Event::sample(taken.cpu.into(), event);
            if !take(&Event { at: Some(taken.at), ..sample })? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What the kernel is asked for. It looks at the outer packet of a tunnel alone.
fn options(arguments: &KernelArguments, criteria: &Criteria) -> DatapathOptions {
    let wants = |kind| criteria.types.is_empty() || criteria.types.contains(&kind);
    let protocols = |number: &u8| criteria.protocols.iter().any(|protocol| protocol.has(*number));
    let asks_for_reasons = !criteria.drop_reasons.is_empty() || !criteria.kernel_reasons.is_empty();
    DatapathOptions {
        traces: !arguments.interfaces.is_empty() && wants(MessageType::Trace) && !asks_for_reasons,
        drops: wants(MessageType::Drop),
        interfaces: arguments.interfaces.clone(),
        namespaces: arguments.namespaces.clone(),
        networks: criteria.addresses.iter().map(AddressPrefix::network).collect(),
        ports: criteria.ports.clone(),
        protocols: (0..=u8::MAX).filter(protocols).collect(),
        capture_length: arguments.capture_length,
    }
}

/// What became of packets in the kernel.
pub(crate) fn account(counts: &DatapathCounts) -> String {
    let DatapathCounts { seen, dropped, filtered, lost, no_packets, nested } = *counts;
    let told = counts.told();
    let nested = if nested > 0 {
        format!("; {nested} drops while another one was told of")
    } else {
        String::new()
    };
    format!(
        "in the kernel: {seen} seen + {dropped} dropped = {told} told + {filtered} filtered out + \
         {no_packets} no packets + {lost} lost{nested}"
    )
}
