//! What is done when a page of a mapped file is not there (`SIGBUS`).

use std::{
    ffi::{c_int, c_void},
    io, ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use nix::{
    libc::siginfo_t,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Memory that is guarded, or could be.
#[derive(Debug)]
struct Region {
    /// 0, if it is none.
    begin: AtomicUsize,
    length: AtomicUsize,
    is_met: AtomicBool,
}

/// All that there are: a signal's handler can take no lock.
static REGIONS: [Region; 16] = [const { Region::none() }; 16];

/// What was done before, and is done still with memory that is not guarded. None, if that cannot be
/// changed.
static BEFORE: OnceLock<Option<SigAction>> = OnceLock::new();

impl Region {
    const fn none() -> Self {
        Self {
            begin: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            is_met: AtomicBool::new(false),
        }
    }
}

/// Has zeros be at all of some memory as soon as a page of it is touched that is not there.
#[derive(Debug)]
pub(super) struct Guard(&'static Region);

impl Guard {
    /// Guards memory, which must be the guard's owner's alone until the
    /// guard is ended. An error if as much is guarded as can be.
    pub(super) fn new(begin: usize, length: usize) -> io::Result<Self> {
        if BEFORE.get_or_init(|| handle().ok()).is_none() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let region = REGIONS.iter().find(|region| {
            let order = Ordering::AcqRel;
            region.length.compare_exchange(0, length, order, Ordering::Relaxed).is_ok()
        });
        let region = region.ok_or(io::ErrorKind::ResourceBusy)?;
        region.is_met.store(false, Ordering::Relaxed);
        region.begin.store(begin, Ordering::Release);
        Ok(Self(region))
    }

    /// Whether there are zeros, or will be at once.
    pub(super) fn has_met(&self) -> &AtomicBool {
        &self.0.is_met
    }

    /// Something else is there now.
    pub(super) fn begin_anew(&self) {
        self.0.is_met.store(false, Ordering::Relaxed);
    }

    /// The memory is not guarded any more.
    pub(super) fn end(&self) {
        self.0.begin.store(0, Ordering::Release);
        self.0.length.store(0, Ordering::Release);
    }
}

/// Has [`on_bus_error`] called, and returns what was done before.
fn handle() -> nix::Result<SigAction> {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::SigAction(on_bus_error), flags, SigSet::empty());
    // SAFETY: the handler only does what may be done in one: it loads and stores atomic numbers, calls the
    // kernel without libc, and calls the handler that was there before.
    unsafe { sigaction(Signal::SIGBUS, &action) }
}

extern "C" fn on_bus_error(signal: c_int, information: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: with `SA_SIGINFO` the kernel gives a pointer to what it tells of the signal, which has an
    // address in it.
    let address = unsafe { (*information).si_addr() }.addr();
    if put_zeros_around(address) {
        return;
    }
    match BEFORE.get().and_then(Option::as_ref).map(SigAction::handler) {
        Some(SigHandler::SigAction(before)) => before(signal, information, context),
        Some(SigHandler::Handler(before)) => before(signal),
        // Ignoring it is not possible: what comes again then ends the program.
        _ => {
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: no code of ours is called by that.
            let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
        }
    }
}

/// Puts zeros where memory is guarded that has the address. False, if none has it.
fn put_zeros_around(address: usize) -> bool {
    for region in &REGIONS {
        let begin = region.begin.load(Ordering::Acquire);
        let length = region.length.load(Ordering::Acquire);
        if begin == 0 || !(begin..begin + length).contains(&address) {
            continue;
        }
        let place = ptr::with_exposed_provenance_mut(begin);
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // Before anybody sees a zero.
        region.is_met.store(true, Ordering::SeqCst);
        // SAFETY: the memory is that of the guard's owner, who has just touched it, so it still is; he reads
        // it as words that may change at any time.
        return unsafe { mmap_anonymous(place, length, ProtFlags::READ, flags) }.is_ok();
    }
    false
}
