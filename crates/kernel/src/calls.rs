//! Every system call on a socket, one by one: the kernel programs of `bpf/calls.bpf.c` tell of
//! those that are selected when they return, and what they told is read here in the order of its
//! times. Where that is too much they add them up.

mod callers;
mod clock;
mod connection;
mod descendants;
mod order;
mod programs;
mod record;
mod ring;
mod settings;
mod sum;
mod sums;
mod told;

use std::time::{Duration, Instant};

use netglass_model::{CallSum, Degradation};

pub use self::{
    callers::Callers,
    programs::CallCounts,
    record::{Subject, parse as parse_call},
    settings::{CallSelection, CgroupIdentity, Children, SumsBy},
    sum::parse as parse_sum,
    sums::{CallSums, SumCounts, SumOptions},
    told::ToldCall,
};

pub(crate) use self::programs::try_programs;
use self::{
    clock::Clock,
    order::{Order, WINDOW_NS},
    programs::{Plan, Programs},
    record::Record,
    settings::{AddingUp, Telling},
};

use crate::Error;

/// How many threads' calls are found without a search by default, each of which takes 128 bytes.
pub const THREADS: u32 = 16_384;
/// For how long the order of calls is waited for.
pub const ORDER_WINDOW: Duration = Duration::from_nanos(WINDOW_NS);
/// How much of what is sent or received can be told of.
pub const MOST_PAYLOAD: u32 = 4096;
/// How often it is looked for calls that do not return.
const PENDING_INTERVAL: Duration = Duration::from_millis(500);

/// What is watched, and how much of it the kernel keeps until it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOptions {
    /// Which calls.
    pub selection: CallSelection,
    /// Whether calls are told of when they begin, too.
    pub entries: bool,
    /// Whether calls are told of that have not returned for a second.
    pub pending: bool,
    /// How many bytes of what is sent or received are told of, at most [`MOST_PAYLOAD`].
    pub payload: u32,
    /// Bytes that the kernel keeps of what was not read yet; rounded up to a power of two.
    pub buffer_size: u32,
    /// Into how many sums calls may be added up when there is no room to tell of them; none where
    /// they are lost then.
    pub sums: Option<u32>,
    /// How many threads' calls are found without a search, rounded up to a power of two; those of
    /// further ones take longer.
    pub threads: u32,
}

/// Watches system calls.
#[derive(Debug)]
pub struct CallWatcher {
    programs: Programs,
    /// What was read and is not passed on yet.
    order: Order,
    clock: Clock,
    tells_pending: bool,
    looked_at_pending: Instant,
    /// Records and sums that are of no known kind.
    unknown: u64,
    /// Calls in sums that were taken.
    added_up: u64,
}

impl CallWatcher {
    /// Starts to watch: whatever is called once this returns is told of.
    pub fn new(options: &CallOptions) -> Result<Self, Error> {
        let telling = Telling {
            entries: options.entries,
            payload: options.payload.min(MOST_PAYLOAD),
            adding_up: match options.sums {
                Some(_) => AddingUp::WhenFull,
                None => AddingUp::Never,
            },
        };
        let plan = Plan {
            selection: &options.selection,
            telling,
            buffer_size: options.buffer_size,
            sums: options.sums.unwrap_or_default(),
            threads: options.threads,
        };
        let programs = Programs::start(&plan)?;
        Ok(Self {
            order: Order::of(programs.rings(&plan)?),
            programs,
            clock: Clock::read(),
            tells_pending: options.pending,
            looked_at_pending: Instant::now(),
            unknown: 0,
            added_up: 0,
        })
    }

    /// What does not work as well as it could and was not told of before.
    pub fn take_degradation(&mut self) -> Option<Degradation> {
        self.programs.take_degradation()
    }

    /// Whether the process that this one forks next is followed, from its very first call on.
    pub fn follow_next_child(&self, follow: bool) -> Result<(), Error> {
        self.programs.follow_next_child(follow)
    }

    /// Tries whether the thread that calls it may read what the kernel programs tell: what
    /// [`drop_to`](crate::drop_to) asks.
    pub fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        self.programs.trial()
    }

    /// Waits for calls for so long at most, and visits those that are old enough for their order to
    /// be known. Many calls end the wait.
    pub fn read(
        &mut self,
        wait: Duration,
        visit: &mut dyn FnMut(&ToldCall<'_>),
    ) -> Result<(), Error> {
        let until = self.programs.wait(wait)?.saturating_sub(WINDOW_NS);
        if self.tells_pending && self.looked_at_pending.elapsed() >= PENDING_INTERVAL {
            self.looked_at_pending = Instant::now();
            let Self { programs, order, .. } = self;
            programs.list_pending(&mut |bytes| order.push_listed(bytes))?;
        }
        self.pass_on(until, visit)
    }

    /// Whether there was no room to tell of a call, so that calls are added up now.
    pub fn is_adding_up(&self) -> Result<bool, Error> {
        self.programs.is_adding_up()
    }

    /// Calls are told of again, until there is no room once more.
    pub fn tell_again(&mut self) -> Result<(), Error> {
        self.programs.tell_again()
    }

    /// Takes what was added up since the last time.
    pub fn take_sums(&mut self, visit: &mut dyn FnMut(&CallSum)) -> Result<(), Error> {
        let Self { programs, added_up, unknown, .. } = self;
        programs.collect_sums(&mut |sum| match sum {
            Some(sum) => {
                *added_up += sum.calls();
                visit(&sum);
            }
            None => *unknown += 1,
        })
    }

    /// Stops to watch, and visits all calls that were told of until then.
    pub fn finish(&mut self, visit: &mut dyn FnMut(&ToldCall<'_>)) -> Result<(), Error> {
        self.programs.detach();
        self.pass_on(u64::MAX, visit)
    }

    /// What was counted so far.
    pub fn counts(&self) -> Result<CallCounts, Error> {
        let counts = self.programs.counts()?;
        let order = &self.order;
        Ok(CallCounts {
            malformed: self.unknown + order.malformed(),
            waiting: counts.waiting.saturating_sub(order.taken()),
            late: order.late(),
            added_up: self.added_up,
            ..counts
        })
    }

    fn pass_on(
        &mut self,
        until_ns: u64,
        visit: &mut dyn FnMut(&ToldCall<'_>),
    ) -> Result<(), Error> {
        let Self { order, clock, unknown, .. } = self;
        order.take_until(until_ns, &mut |record: Record<'_>| match ToldCall::new(record, *clock) {
            Some(call) => visit(&call),
            None => *unknown += 1,
        })
    }
}
