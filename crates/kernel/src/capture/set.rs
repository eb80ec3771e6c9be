//! Capturing on a set of interfaces that come and go.

use std::{
    collections::BTreeMap,
    fmt,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::{HashMap, HashSet};
use netglass_packet::{LinkType, Packet};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    CaptureOptions,
    link::{Link, Links},
    pattern::Pattern,
    ring::{ANY, MAXIMUM_DELIVERED, Nowhere, Ring},
    statistics::{Interface, InterfaceStatistics},
};
use crate::Error;

/// How many interfaces a capture may have had: they are told apart by 16 bits.
const MAXIMUM_INTERFACES: usize = 1 << 16;
/// On how many of them it captures at the same time.
const MAXIMUM_OPEN: usize = 512;
/// What all rings may take together, where one is not to take more.
const MEMORY: usize = 1 << 30;
/// The smallest ring that is of use.
const SMALLEST_RING: usize = 1 << 20;

/// The interfaces are listed once in this time at most, however much happens to them.
const PAUSE: Duration = Duration::from_millis(50);
/// After how long an interface that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// libpcap's counts begin anew at 2³².
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// How much news is kept that nobody takes.
const MAXIMUM_NEWS: usize = 1024;

/// By the number that the kernel gives an interface.
type Map<T> = HashMap<u32, T, foldhash::fast::RandomState>;
/// Such numbers.
type Set = HashSet<u32, foldhash::fast::RandomState>;

/// What happened to an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceEvent {
    /// Its packets are captured from now on.
    Opened,
    /// It is down: nothing comes from it until it is up.
    Down,
    /// It is up again.
    Up,
    /// It does not exist any more. Should it come back, it is captured on again.
    Gone,
    /// It cannot be captured on, for this reason. It is tried again.
    Failed(String),
}

/// Tells what happened to an interface, in a sentence without its end.
impl fmt::Display for InterfaceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("its packets are captured"),
            Self::Down => f.write_str("it is down; its packets are captured when it is up"),
            Self::Up => f.write_str("it is up again"),
            Self::Gone => f.write_str("it is gone; its packets are captured when it is back"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

/// What happened to which interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceNews {
    /// The interface's name.
    pub interface: Arc<str>,
    /// What happened.
    pub event: InterfaceEvent,
}

/// What came of reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// How many packets were handed out.
    pub packets: usize,
    /// Whether the descriptor that was waited for too has something to read.
    pub woken: bool,
}

struct Slot {
    interface: Interface,
    open: Option<Open>,
}

struct Open {
    ring: Ring,
    /// The interface's own number, or 0 for all of them together.
    index: u32,
    is_up: bool,
    memory: usize,
}

/// Captures packets on a set of interfaces, those that appear later included.
///
/// It belongs to the network namespace of the thread that opened it, and is to be read there.
pub struct Capture {
    options: CaptureOptions,
    patterns: Vec<Pattern>,
    any: bool,
    nowhere: Nowhere,
    links: Links,
    /// By the number that packets name.
    slots: Vec<Slot>,
    /// Where all interfaces are captured on together, the slots of each by its own number.
    by_index: Map<u32>,
    /// Those that could not be opened, and why.
    failing: BTreeMap<String, String>,
    news: Vec<InterfaceNews>,
    next_list: Option<Instant>,
    not_before: Instant,
    next_count: Instant,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Capture {
    /// Begins to capture in the network namespace of the calling thread.
    ///
    /// An interface that is named has to exist; if it is down, it is waited for. Patterns may match
    /// none.
    pub fn open(options: CaptureOptions) -> Result<Self, Error> {
        let nowhere = Nowhere::new()?;
        let links = Links::open()?;
        let now = Instant::now();
        let mut capture = Self {
            any: options.interfaces.iter().any(|name| name == ANY),
            patterns: options.interfaces.iter().map(|text| Pattern::new(text)).collect(),
            options,
            nowhere,
            links,
            slots: Vec::new(),
            by_index: HashMap::default(),
            failing: BTreeMap::new(),
            news: Vec::new(),
            next_list: None,
            not_before: now,
            next_count: now + COUNT_EVERY,
        };
        capture.begin()?;
        Ok(capture)
    }

    fn begin(&mut self) -> Result<(), Error> {
        let links = self.links.list()?;
        for pattern in &self.patterns {
            let Pattern::Name(name) = pattern else { continue };
            if name != ANY && !links.iter().any(|link| link.name == *name) {
                let existing: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
                let existing = format!("{} and {ANY} for all of them", existing.join(", "));
                return Err(Error::NoInterface { name: name.clone(), existing });
            }
        }
        if self.any {
            self.try_open(ANY, 0)?;
            self.name_all(&links);
            return Ok(());
        }
        for link in links.iter().filter(|link| self.wants(&link.name)).collect::<Vec<_>>() {
            let named = Pattern::Name(link.name.clone());
            if !link.is_up {
                self.tell(&Arc::from(link.name.as_str()), InterfaceEvent::Down);
            } else if let Err(error) = self.try_open(&link.name, link.index) {
                if self.patterns.contains(&named) || matches!(error, Error::Filter { .. }) {
                    return Err(error);
                }
                self.failed(&link.name, &error);
            }
        }
        Ok(())
    }

    /// Waits until there are packets, at most for `wait` and until `wake` can be read, and hands them
    /// out: those of one interface in their order, those of several one after the other.
    ///
    /// What `handler` is given it has to take from there: the bytes are the kernel's own.
    pub fn read(
        &mut self,
        wait: Duration,
        wake: Option<BorrowedFd<'_>>,
        handler: &mut impl FnMut(Packet<'_>),
    ) -> Result<Reading, Error> {
        let now = Instant::now();
        let until_list = self.next_list.map(|next| next.saturating_duration_since(now));
        let ready = self.poll(until_list.map_or(wait, |until| until.min(wait)), wake)?;
        let mut reading = Reading { packets: 0, woken: ready.woken };
        for slot in ready.slots {
            reading.packets += self.deliver(slot, handler);
        }
        if ready.links && self.links.have_changed()? {
            self.list_at(self.not_before);
        }
        let now = Instant::now();
        if self.next_list.is_some_and(|next| next <= now) {
            self.next_list = None;
            let links = self.links.list()?;
            self.not_before = Instant::now() + PAUSE;
            self.keep_up(&links, handler);
        }
        if self.next_count <= now {
            self.next_count = now + COUNT_EVERY;
            for slot in &mut self.slots {
                slot.statistics();
            }
        }
        Ok(reading)
    }

    /// Ends the capture: nothing more comes in, and what the kernel has for us is handed out.
    pub fn stop(&mut self, handler: &mut impl FnMut(Packet<'_>)) {
        self.patterns.clear();
        // All at once, so that the last of what each has is waited for together.
        for open in self.slots.iter_mut().filter_map(|slot| slot.open.as_mut()) {
            open.ring.seal();
        }
        for slot in 0..self.slots.len() {
            self.close(slot, handler);
        }
    }

    /// The interfaces so far, those that are gone included, by the number that packets name, with what
    /// became of their packets.
    pub fn interfaces(&mut self) -> Vec<Interface> {
        let interface = |slot: &mut Slot| {
            let statistics = slot.statistics();
            Interface { statistics, ..slot.interface.clone() }
        };
        self.slots.iter_mut().map(interface).collect()
    }

    /// The interface of a packet that names it by `number`.
    #[must_use]
    pub fn interface(&self, number: u32) -> Option<&Interface> {
        self.slots.get(number as usize).map(|slot| &slot.interface)
    }

    /// What happened to interfaces since the last time. What is left out when it is not taken for long
    /// is in the statistics.
    pub fn take_news(&mut self) -> Vec<InterfaceNews> {
        std::mem::take(&mut self.news)
    }

    /// Whether interfaces may have to be opened later, when they come or come back. That takes what
    /// [`Needs::packets`](crate::Needs::packets) keeps.
    #[must_use]
    pub fn opens_later(&self) -> bool {
        !self.any
    }

    fn wants(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    fn deliver(&mut self, number: usize, handler: &mut impl FnMut(Packet<'_>)) -> usize {
        let Self { slots, by_index, .. } = self;
        let Some(Slot { open: Some(open), .. }) = slots.get_mut(number) else { return 0 };
        let naming = Naming::new(number, by_index);
        let delivered =
            open.ring.deliver(MAXIMUM_DELIVERED, &mut |packet| handler(naming.name(packet)));
        if delivered.is_err() {
            // The list tells what became of the interface.
            self.list_at(self.not_before);
        }
        delivered.unwrap_or(0)
    }

    /// Keeps to the interfaces that there are.
    fn keep_up(&mut self, links: &[Link], handler: &mut impl FnMut(Packet<'_>)) {
        if self.any {
            self.name_all(links);
            return;
        }
        let open = self.follow(links, handler);
        self.failing.retain(|name, _| links.iter().any(|link| link.name == *name));
        for link in links {
            if link.is_up && !open.contains(&link.index) && self.wants(&link.name) {
                match self.try_open(&link.name, link.index) {
                    Ok(()) => drop(self.failing.remove(&link.name)),
                    Err(error) => self.failed(&link.name, &error),
                }
            }
        }
    }

    /// Tells what became of the interfaces that are captured on, and closes those that are gone. The
    /// others' own numbers are returned.
    fn follow(&mut self, links: &[Link], handler: &mut impl FnMut(Packet<'_>)) -> Set {
        let by_index: Map<&Link> = links.iter().map(|link| (link.index, link)).collect();
        let mut open = Set::default();
        for number in 0..self.slots.len() {
            let Some(Slot { interface, open: Some(opened) }) = self.slots.get_mut(number) else {
                continue;
            };
            let name = Arc::clone(&interface.name);
            let link = by_index.get(&opened.index).filter(|link| link.name == *name);
            let was_up = std::mem::replace(&mut opened.is_up, link.is_some_and(|link| link.is_up));
            interface.statistics.interruptions += u64::from(was_up && !opened.is_up);
            let event = match (link, was_up, opened.is_up) {
                (None, ..) => Some(InterfaceEvent::Gone),
                (_, true, false) => Some(InterfaceEvent::Down),
                (_, false, true) => Some(InterfaceEvent::Up),
                _ => None,
            };
            match link {
                Some(link) => drop(open.insert(link.index)),
                None => self.close(number, handler),
            }
            if let Some(event) = event {
                self.tell(&name, event);
            }
        }
        open
    }

    /// Gives each interface the number that its packets name where all are captured on together.
    fn name_all(&mut self, links: &[Link]) {
        self.by_index.clear();
        for link in links {
            if let Some(slot) = self.slot(&link.name, LinkType::LINUX_SLL2) {
                self.by_index.insert(link.index, slot);
            }
        }
    }

    fn try_open(&mut self, name: &str, index: u32) -> Result<(), Error> {
        let opened = self.slots.iter().filter_map(|slot| slot.open.as_ref());
        let (count, memory) =
            opened.fold((0, 0), |(count, memory), open| (count + 1_usize, memory + open.memory));
        let failure = |reason: &str| Error::Capture {
            interface: Some(name.to_owned()),
            reason: reason.to_owned(),
        };
        if count >= MAXIMUM_OPEN {
            return Err(failure(
                "there are too many interfaces for a ring each; `any` is one for all",
            ));
        }
        let left = self.options.buffer_size.max(MEMORY).saturating_sub(memory);
        let fair = if count == 0 { left } else { left / 4 };
        let memory = self.options.buffer_size.min(fair.max(SMALLEST_RING));
        let ring = Ring::open(name, &self.options, memory, &self.nowhere);
        // Libpcap does not say what right it is that is missing.
        let ring = ring.map_err(|error| match Nowhere::new() {
            Err(denied @ Error::CaptureDenied) => denied,
            _ => error,
        })?;
        let number = self
            .slot(name, ring.link_type)
            .ok_or_else(|| failure("more interfaces came and went than can be told apart"))?;
        if let Some(slot) = self.slots.get_mut(number as usize) {
            slot.open = Some(Open { ring, index, is_up: true, memory });
        }
        self.tell(&Arc::from(name), InterfaceEvent::Opened);
        Ok(())
    }

    /// The slot of an interface, which one of the same name and kind had before; `None` where there is
    /// no room.
    fn slot(&mut self, name: &str, link_type: LinkType) -> Option<u32> {
        let is_it = |Slot { interface, open }: &Slot| {
            open.is_none() && *interface.name == *name && interface.link_type == link_type
        };
        let number = self.slots.iter().position(is_it).unwrap_or(self.slots.len());
        if number == self.slots.len() {
            if number >= MAXIMUM_INTERFACES {
                return None;
            }
            let statistics = InterfaceStatistics::default();
            let interface = Interface { name: Arc::from(name), link_type, statistics };
            self.slots.push(Slot { interface, open: None });
        }
        u32::try_from(number).ok()
    }

    fn close(&mut self, number: usize, handler: &mut impl FnMut(Packet<'_>)) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let Some(mut open) = slot.open.take() else { return };
        let naming = Naming::new(number, &self.by_index);
        open.ring.drain(&mut |packet| handler(naming.name(packet)));
        slot.interface.statistics += open.ring.statistics();
    }

    fn failed(&mut self, name: &str, error: &Error) {
        self.list_at(Instant::now() + RETRY);
        let reason = error.to_string();
        if self.failing.get(name) != Some(&reason) {
            self.failing.insert(name.to_owned(), reason.clone());
            self.tell(&Arc::from(name), InterfaceEvent::Failed(reason));
        }
    }

    fn list_at(&mut self, moment: Instant) {
        self.next_list = Some(self.next_list.map_or(moment, |next| next.min(moment)));
    }

    fn tell(&mut self, interface: &Arc<str>, event: InterfaceEvent) {
        if self.news.len() < MAXIMUM_NEWS {
            self.news.push(InterfaceNews { interface: Arc::clone(interface), event });
        }
    }

    fn opened(&self) -> impl Iterator<Item = (usize, &Open)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(number, slot)| Some((number, slot.open.as_ref()?)))
    }

    fn poll(&self, wait: Duration, wake: Option<BorrowedFd<'_>>) -> Result<Ready, Error> {
        let mut events = vec![PollFd::new(&self.links.events, PollFlags::IN)];
        events.extend(
            self.opened()
                .map(|(_, open)| PollFd::from_borrowed_fd(open.ring.descriptor(), PollFlags::IN)),
        );
        events.extend(wake.map(|wake| PollFd::from_borrowed_fd(wake, PollFlags::IN)));
        let timeout = Timespec::try_from(wait).ok();
        match poll(&mut events, timeout.as_ref()) {
            Ok(_) => {}
            // A signal: whoever sent it wants the caller to look.
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => {
                return Err(Error::Capture { interface: None, reason: errno.to_string() });
            }
        }
        let mut is_ready = events.iter().map(|event| !event.revents().is_empty());
        Ok(Ready {
            links: is_ready.next().unwrap_or(false),
            slots: self
                .opened()
                .zip(is_ready.by_ref())
                .filter_map(|((number, _), ready)| ready.then_some(number))
                .collect(),
            woken: is_ready.next().unwrap_or(false),
        })
    }
}

impl Slot {
    fn statistics(&mut self) -> InterfaceStatistics {
        let mut statistics = self.interface.statistics;
        if let Some(open) = &mut self.open {
            statistics += open.ring.statistics();
        }
        statistics
    }
}

/// What there is to do.
#[derive(Debug, Default)]
struct Ready {
    links: bool,
    slots: Vec<usize>,
    woken: bool,
}

/// Names the interface of each packet.
struct Naming<'a> {
    number: u32,
    by_index: &'a Map<u32>,
}

impl<'a> Naming<'a> {
    fn new(number: usize, by_index: &'a Map<u32>) -> Self {
        Self { number: u32::try_from(number).unwrap_or(u32::MAX), by_index }
    }

    /// Where all interfaces are captured on together, the one that is not known yet is that of all.
    fn name<'p>(&self, packet: Packet<'p>) -> Packet<'p> {
        let interface = if packet.link_type == LinkType::LINUX_SLL2 {
            // <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>
            let index = packet.bytes.get(4..8).and_then(<[u8]>::first_chunk);
            let index = index.map(|index| u32::from_be_bytes(*index));
            index.and_then(|index| self.by_index.get(&index).copied()).unwrap_or(self.number)
        } else {
            self.number
        };
        Packet { interface, ..packet }
    }
}
