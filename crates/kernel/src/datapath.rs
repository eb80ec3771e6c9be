//! Packets one by one, on any host: where they come by an interface (tcx, Linux 6.6), and where and why
//! the kernel drops them (the tracepoint `kfree_skb`, with reasons since Linux 5.17).
//!
//! What the kernel programs write are notifications as Cilium's datapath makes them, for the decoder of
//! those; this module says what the numbers in them stand for.

mod btf;
mod interfaces;
mod programs;
mod reasons;
mod settings;
mod symbols;

use std::{collections::HashMap, net::IpAddr, time::Duration};

use netglass_model::{NamespaceInode, Timestamp};

pub use self::programs::DatapathCounts;
pub(crate) use self::programs::try_drops;
use self::{interfaces::Interfaces, programs::Programs, reasons::Reasons, symbols::Symbols};
use crate::{Error, PerfEvent, PerfEvents, program::Clock};

/// How many functions are remembered by where in them packets are dropped.
const MOST_FUNCTIONS: usize = 4096;
/// The memory for what was not read yet, of all processors together, and of each at most.
const RING_MEMORY: usize = 64 << 20;
const MOST_RING_MEMORY: usize = 16 << 20;
const LEAST_RING_MEMORY: usize = 256 << 10;

/// What is told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatapathOptions {
    /// The interfaces at which packets are seen, and of which alone drops are told: names, patterns with `*`
    /// and `?`, or `any`. With none no packet is seen that is not dropped.
    pub interfaces: Vec<String>,
    /// Whether packets that come by are told of.
    pub traces: bool,
    /// Whether drops are told of.
    pub drops: bool,
    /// The network namespaces, by their names or inodes; all of them if none is given.
    pub namespaces: Vec<String>,
    /// Networks at either end: an address, and how many of its first bits count.
    pub networks: Vec<(IpAddr, u8)>,
    /// Ports at either end.
    pub ports: Vec<u16>,
    /// Protocols above IP.
    pub protocols: Vec<u8>,
    /// How many bytes of a packet are told.
    pub capture_length: u32,
}

impl DatapathOptions {
    /// Whether drops are told of at some interfaces alone.
    fn selects_interfaces(&self) -> bool {
        !self.interfaces.is_empty() && !self.interfaces.iter().any(|name| name == interfaces::ANY)
    }
}

/// How many bytes of a packet can be told.
pub const MOST_CAPTURE: u32 = 9216;

/// Tells of packets in the network namespaces of this host, those that appear later included.
#[derive(Debug)]
pub struct Datapath {
    // Before the programs that they attach.
    interfaces: Interfaces,
    programs: Programs,
    events: PerfEvents,
    reasons: Reasons,
    symbols: Symbols,
    functions: HashMap<u64, Option<String>>,
}

impl Datapath {
    /// Begins to tell. An interface or a namespace that is named has to exist.
    pub fn open(options: &DatapathOptions) -> Result<Self, Error> {
        let reasons = Reasons::read()?;
        let symbols = if options.drops { Symbols::read()? } else { Symbols::default() };
        let interfaces = Interfaces::find(options)?;
        let namespaces = interfaces.selected_namespaces();
        let programs = Programs::load(options, &namespaces, reasons.benign())?;
        let events = PerfEvents::of(programs.events()?, ring_room())?;
        let mut datapath =
            Self { interfaces, programs, events, reasons, symbols, functions: HashMap::new() };
        datapath.interfaces.begin(&datapath.programs)?;
        datapath.programs.start()?;
        Ok(datapath)
    }

    /// Waits for notifications, for so long at most, and hands out those that there are, of each
    /// processor in their order.
    pub fn poll(&mut self, wait: Duration, take: impl FnMut(PerfEvent<'_>)) {
        self.events.poll(wait, take);
    }

    /// Keeps to the namespaces and interfaces that there are.
    pub fn keep_up(&mut self) -> Result<(), Error> {
        self.interfaces.keep_up(&self.programs)
    }

    /// In how many network namespaces packets are told of.
    #[must_use]
    pub fn places(&self) -> usize {
        self.interfaces.places()
    }

    /// What the user is to know of interfaces, since the last time.
    pub fn take_news(&mut self) -> Vec<String> {
        self.interfaces.take_news()
    }

    /// Ends it; what was told is still to be taken.
    pub fn stop(&mut self) {
        self.programs.stop();
        self.interfaces.close();
    }

    /// What became of packets so far.
    pub fn counts(&self) -> Result<DatapathCounts, Error> {
        self.programs.counts()
    }

    /// The name of a drop reason.
    #[must_use]
    pub fn reason(&self, reason: u32) -> Option<&str> {
        self.reasons.name(reason)
    }

    /// Whether the kernel has a drop reason of this name.
    #[must_use]
    pub fn has_reason(&self, name: &str) -> bool {
        self.reasons.has(name)
    }

    /// The function in which an address of the kernel is, and how far behind its begin: `tcp_v4_rcv+0x12`.
    pub fn function(&mut self, address: u64) -> Option<&str> {
        if self.functions.len() >= MOST_FUNCTIONS && !self.functions.contains_key(&address) {
            self.functions.clear();
        }
        let symbols = &self.symbols;
        self.functions.entry(address).or_insert_with(|| symbols.name(address)).as_deref()
    }

    /// The name of an interface.
    #[must_use]
    pub fn interface(&self, namespace: NamespaceInode, index: u32) -> Option<&str> {
        self.interfaces.name(namespace, index)
    }

    /// The name of a network namespace, if it has one.
    #[must_use]
    pub fn namespace(&self, namespace: NamespaceInode) -> Option<&str> {
        self.interfaces.namespace_name(namespace)
    }

    /// Tries whether the thread that calls it may read what is told: what
    /// [`drop_to`](crate::drop_to) asks.
    pub fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        self.programs.trial()
    }
}

/// Turns the times of notifications into those of the clock on the wall.
#[derive(Debug, Clone, Copy)]
pub struct BootTime(Clock);

impl BootTime {
    /// As both are now.
    #[must_use]
    pub fn read() -> Self {
        Self(Clock::read())
    }

    /// The moment so many nanoseconds after the start of the system.
    #[must_use]
    pub fn at(self, nanoseconds: u64) -> Timestamp {
        self.0.at(nanoseconds)
    }
}

/// How many bytes each processor's ring has.
fn ring_room() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let bytes = (RING_MEMORY / processors).clamp(LEAST_RING_MEMORY, MOST_RING_MEMORY);
    // A power of two, not more.
    1 << bytes.ilog2()
}
