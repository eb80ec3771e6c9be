//! The interfaces at which packets are counted, as they come and go.

use std::{
    collections::BTreeMap,
    fmt,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use libbpf_rs::Link as Attached;

use super::programs::Programs;
use crate::{
    Error,
    capture::{
        InterfaceEvent, InterfaceNews, Promiscuous,
        link::{Link, Links},
        pattern::Pattern,
    },
};

/// Stands for all interfaces.
const ANY: &str = "any";
/// How many interfaces there may have been: they are told apart by 16 bits.
const MAXIMUM_INTERFACES: usize = 1 << 16;
/// The interfaces are listed once in this time at most, however much happens to them.
const PAUSE: Duration = Duration::from_millis(50);
/// After how long an interface that could not be used is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How much news is kept that nobody takes.
const MAXIMUM_NEWS: usize = 1024;

/// An interface at which packets are counted.
struct Open {
    name: Arc<str>,
    is_up: bool,
    /// It is detached when they are dropped.
    _attached: Vec<Attached>,
    /// Packets for other hosts come as long as this is open.
    _promiscuous: Option<Promiscuous>,
}

/// The interfaces at which packets are counted, as they come and go.
pub(super) struct Interfaces {
    patterns: Vec<Pattern>,
    promiscuous: bool,
    links: Links,
    /// By the kernel's number.
    open: BTreeMap<u32, Open>,
    names: Vec<Arc<str>>,
    /// Our number of each name, and of each number that the kernel has given.
    by_name: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    by_index: HashMap<u32, u32, foldhash::fast::RandomState>,
    /// Those that could not be used, and why.
    failing: BTreeMap<String, String>,
    news: Vec<InterfaceNews>,
    next_list: Option<Instant>,
    not_before: Instant,
}

impl fmt::Debug for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interfaces").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Interfaces {
    /// Begins with those that there are. One that is named has to exist.
    pub(super) fn open(
        wanted: &[String],
        promiscuous: bool,
        programs: &Programs,
    ) -> Result<Self, Error> {
        let any = wanted.iter().any(|name| name == ANY);
        let pattern = |text: &String| Pattern::new(if text == ANY { "*" } else { text });
        let mut interfaces = Self {
            patterns: wanted.iter().map(pattern).collect(),
            promiscuous: promiscuous && !any,
            links: Links::open()?,
            open: BTreeMap::new(),
            names: Vec::new(),
            by_name: HashMap::default(),
            by_index: HashMap::default(),
            failing: BTreeMap::new(),
            news: Vec::new(),
            next_list: None,
            not_before: Instant::now(),
        };
        let links = interfaces.links.list()?;
        for pattern in &interfaces.patterns {
            let Pattern::Name(name) = pattern else { continue };
            if !links.iter().any(|link| link.name == *name) {
                let existing: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
                let existing = format!("{} and {ANY} for all of them", existing.join(", "));
                return Err(Error::NoInterface { name: name.clone(), existing });
            }
        }
        for link in links.iter().filter(|link| interfaces.wants(link)).collect::<Vec<_>>() {
            let named = Pattern::Name(link.name.clone());
            if !link.is_up {
                interfaces.tell(&link.name, InterfaceEvent::Down);
            } else if let Err(error) = interfaces.try_open(link, programs) {
                if interfaces.patterns.contains(&named) {
                    return Err(error);
                }
                interfaces.failed(&link.name, &error);
            }
        }
        Ok(interfaces)
    }

    /// Tells of changes.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd as _;
        self.links.events.as_fd()
    }

    /// How long it is until the interfaces are listed again, if they are to be.
    pub(super) fn until_list(&self) -> Option<Duration> {
        self.next_list.map(|next| next.saturating_duration_since(Instant::now()))
    }

    /// Keeps to the interfaces that there are; `changed` says whether there are events.
    pub(super) fn keep_up(&mut self, changed: bool, programs: &Programs) -> Result<(), Error> {
        if changed && self.links.have_changed()? {
            self.list_at(self.not_before);
        }
        if self.next_list.is_none_or(|next| next > Instant::now()) {
            return Ok(());
        }
        self.next_list = None;
        let links = self.links.list()?;
        self.not_before = Instant::now() + PAUSE;
        self.follow(&links);
        self.failing.retain(|name, _| links.iter().any(|link| link.name == *name));
        for link in &links {
            if link.is_up && !self.open.contains_key(&link.index) && self.wants(link) {
                match self.try_open(link, programs) {
                    Ok(()) => drop(self.failing.remove(&link.name)),
                    Err(error) => self.failed(&link.name, &error),
                }
            }
        }
        Ok(())
    }

    /// Our number of an interface, by the kernel's.
    pub(super) fn number(&self, index: u32) -> u32 {
        self.by_index.get(&index).copied().unwrap_or(u32::MAX)
    }

    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    pub(super) fn take_news(&mut self) -> Vec<InterfaceNews> {
        std::mem::take(&mut self.news)
    }

    /// Nothing is counted from now on.
    pub(super) fn close_all(&mut self) {
        self.patterns.clear();
        self.open.clear();
    }

    fn wants(&self, link: &Link) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(&link.name))
    }

    /// Tells what became of the interfaces, and lets go of those that are gone.
    fn follow(&mut self, links: &[Link]) {
        let mut events = Vec::new();
        self.open.retain(|index, open| {
            let link = links.iter().find(|link| link.index == *index && *link.name == *open.name);
            let was_up = std::mem::replace(&mut open.is_up, link.is_some_and(|link| link.is_up));
            match (link, was_up, open.is_up) {
                (None, ..) => events.push((Arc::clone(&open.name), InterfaceEvent::Gone)),
                (_, true, false) => events.push((Arc::clone(&open.name), InterfaceEvent::Down)),
                (_, false, true) => events.push((Arc::clone(&open.name), InterfaceEvent::Up)),
                _ => {}
            }
            link.is_some()
        });
        for (name, event) in events {
            self.tell(&name, event);
        }
    }

    fn try_open(&mut self, link: &Link, programs: &Programs) -> Result<(), Error> {
        let name = self.name(link)?;
        let promiscuous = self.promiscuous.then(|| Promiscuous::new(&link.name)).transpose()?;
        let others = Programs::attached(link.index);
        let attached = programs.attach(link)?;
        let open = Open {
            name: Arc::clone(&name),
            is_up: link.is_up,
            _attached: attached,
            _promiscuous: promiscuous,
        };
        self.open.insert(link.index, open);
        self.tell(&name, InterfaceEvent::Opened);
        if others > 0 {
            let reason = format!(
                "{others} other kernel programs (tcx) are before ours: packets that those take for \
                 themselves are not counted"
            );
            self.tell(&name, InterfaceEvent::Failed(reason));
        }
        Ok(())
    }

    /// The name of an interface, which has a number of ours from now on.
    fn name(&mut self, link: &Link) -> Result<Arc<str>, Error> {
        let next = self.names.len();
        let number = match self.by_name.get(link.name.as_str()) {
            Some(number) => *number,
            None if next.max(self.by_index.len()) < MAXIMUM_INTERFACES => {
                let (name, number) = (Arc::from(link.name.as_str()), u32::try_from(next));
                let number = number.unwrap_or(u32::MAX);
                self.names.push(Arc::clone(&name));
                self.by_name.insert(name, number);
                number
            }
            None => {
                return Err(Error::Capture {
                    interface: Some(link.name.clone()),
                    reason: "more interfaces came and went than can be told apart".to_owned(),
                });
            }
        };
        self.by_index.insert(link.index, number);
        let name = self.names.get(number as usize);
        Ok(name.map_or_else(|| Arc::from(link.name.as_str()), Arc::clone))
    }

    fn failed(&mut self, name: &str, error: &Error) {
        self.list_at(Instant::now() + RETRY);
        let reason = error.to_string();
        if self.failing.get(name) != Some(&reason) {
            self.failing.insert(name.to_owned(), reason.clone());
            self.tell(name, InterfaceEvent::Failed(reason));
        }
    }

    fn list_at(&mut self, moment: Instant) {
        self.next_list = Some(self.next_list.map_or(moment, |next| next.min(moment)));
    }

    fn tell(&mut self, interface: &str, event: InterfaceEvent) {
        if self.news.len() < MAXIMUM_NEWS {
            self.news.push(InterfaceNews { interface: Arc::from(interface), event });
        }
    }
}
