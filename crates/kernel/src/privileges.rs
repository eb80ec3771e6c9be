//! Giving up the privileges that nothing needs any more (`capabilities(7)`).

use std::{io, thread};

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
        set_no_new_privs,
    },
};

use crate::Error;

/// What is still to be done with privileges.
#[allow(clippy::struct_excessive_bools, reason = "each is a need of its own")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Reading `/proc/PID` of other users' processes.
    pub processes: bool,
    /// Entering other network namespaces.
    pub all_namespaces: bool,
    /// Opening sockets for packets: an interface that comes, or comes back, takes another one.
    pub packets: bool,
    /// Attaching kernel programs to interfaces that come, or come back.
    pub attaching: bool,
    /// Writing to files, or making some in a directory, of another user.
    pub foreign_files: bool,
}

impl Needs {
    fn capabilities(self) -> CapabilitySet {
        let mut needed = CapabilitySet::empty();
        if self.processes {
            // A process may be read by who could trace it, its list of open files by its owner.
            needed |= CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
        }
        if self.all_namespaces {
            needed |= CapabilitySet::SYS_ADMIN;
        }
        if self.packets {
            needed |= CapabilitySet::NET_RAW;
        }
        if self.attaching {
            needed |= CapabilitySet::BPF | CapabilitySet::NET_ADMIN;
        }
        if self.foreign_files {
            // SQLite gives the files that it makes beside a database to the database's owner, who
            // otherwise could not read it.
            needed |= CapabilitySet::DAC_OVERRIDE | CapabilitySet::CHOWN;
        }
        needed
    }
}

/// Gives up, for the calling thread and those that it starts from now on, all capabilities but those
/// that `needs` take, and the right to get others by executing a program.
///
/// Threads that run already keep theirs: it is to be called while there is only one. Whoever has no
/// capabilities has none to give up, which is no error.
///
/// Some kernels want `CAP_BPF` from whoever uses a kernel program, others only from whoever loads
/// one. `works` tries to use it, on a thread that has what `needs` take alone, and says whether that
/// works; if not, this capability is kept too. So is `CAP_NET_ADMIN` where `translates` does not work
/// without: the kernel wants it from whoever asks for tracked connections, each time.
///
/// On an error, all that could be given up is given up.
pub fn drop_to(
    needs: Needs,
    works: impl FnOnce() -> bool + Send,
    translates: impl FnOnce() -> bool + Send,
) -> Result<(), Error> {
    let has =
        capabilities(None).map_err(failure("read the capabilities of the process"))?.effective;
    let mut kept = needs.capabilities() & has;
    if let Some(capability) = for_kernel_programs(has, kept)
        && !try_with(kept, works)
    {
        kept |= capability;
    }
    if has.contains(CapabilitySet::NET_ADMIN) && !try_with(kept, translates) {
        kept |= CapabilitySet::NET_ADMIN;
    }
    // Each is tried, whatever becomes of the others.
    let done = [
        drop_from_bounding_set(has, kept)
            .map_err(failure("drop capabilities from the bounding set")),
        drop_ambient().map_err(failure("drop the ambient capabilities")),
        keep_only(kept).map_err(failure("drop capabilities")),
        set_no_new_privs(true).map_err(failure("set no_new_privs")),
    ];
    done.into_iter().collect()
}

/// The capability to use kernel programs with, of those in `has`, where `kept` has none.
fn for_kernel_programs(has: CapabilitySet, kept: CapabilitySet) -> Option<CapabilitySet> {
    // The one stands for the other.
    [CapabilitySet::BPF, CapabilitySet::SYS_ADMIN]
        .into_iter()
        .find(|&capability| has.contains(capability) && !kept.contains(capability))
}

/// Whether something works with `kept` alone. Capabilities are a thread's own, so it is tried on one
/// that ends afterwards.
fn try_with(kept: CapabilitySet, works: impl FnOnce() -> bool + Send) -> bool {
    thread::scope(|scope| {
        let attempt = move || keep_only(kept).is_ok() && works();
        let thread = thread::Builder::new().name("privileges".to_owned());
        match thread.spawn_scoped(scope, attempt).map(thread::ScopedJoinHandle::join) {
            Ok(Ok(worked)) => worked,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => false,
        }
    })
}

fn keep_only(kept: CapabilitySet) -> Result<(), Errno> {
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })
}

fn drop_from_bounding_set(has: CapabilitySet, kept: CapabilitySet) -> Result<(), Errno> {
    if !has.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) if !kept.contains(capability) => {
                remove_capability_from_bounding_set(capability)?;
            }
            Ok(_) => {}
            // The kernel knows no capability of that number, and none of a higher one.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn drop_ambient() -> Result<(), Errno> {
    match clear_ambient_capability_set() {
        // Before Linux 4.3 there is no such set.
        Err(Errno::INVAL) => Ok(()),
        result => result,
    }
}

fn failure(doing: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::Privileges { doing, source: io::Error::from(errno) }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    const ALL: Needs = Needs {
        processes: true,
        all_namespaces: true,
        packets: true,
        attaching: true,
        foreign_files: true,
    };

    /// What a thread has left, by the names of the sets in `/proc/PID/status`.
    fn left(work: impl FnOnce() + Send) -> BTreeMap<String, u64> {
        thread::scope(|scope| {
            let work_and_read = || {
                work();
                let status = fs::read_to_string("/proc/thread-self/status").unwrap();
                let field = |line: &str| {
                    let (name, value) = line.split_once(':')?;
                    let is_of_privileges = name.starts_with("Cap") || name == "NoNewPrivs";
                    let value = u64::from_str_radix(value.trim(), 16);
                    is_of_privileges.then(|| (name.to_owned(), value.unwrap()))
                };
                status.lines().filter_map(field).collect()
            };
            scope.spawn(work_and_read).join().unwrap()
        })
    }

    #[test]
    fn what_nothing_needs_is_dropped_from_every_set() {
        for needs in [Needs::default(), ALL] {
            let had = capabilities(None).unwrap().effective;
            let kept = (needs.capabilities() & had).bits();
            let left = left(|| drop_to(needs, || true, || true).unwrap());
            assert_eq!((left["CapPrm"], left["CapEff"]), (kept, kept));
            assert_eq!((left["CapInh"], left["CapAmb"], left["NoNewPrivs"]), (0, 0, 1));
            if had.contains(CapabilitySet::SETPCAP) {
                assert_eq!(left["CapBnd"] & !kept, 0);
            }
        }
    }

    #[test]
    fn other_threads_keep_what_they_have() {
        let before = left(|| {});
        left(|| drop_to(Needs::default(), || true, || true).unwrap());
        assert_eq!(left(|| {}), before);
    }

    #[test]
    fn the_right_to_use_kernel_programs_is_kept_where_it_does_not_work_without() {
        let left = left(|| drop_to(Needs::default(), || false, || true).unwrap());
        let kept =
            for_kernel_programs(capabilities(None).unwrap().effective, CapabilitySet::empty());
        assert_eq!(left["CapEff"], kept.map_or(0, |capability| capability.bits()));
    }

    #[test]
    fn the_right_to_ask_for_tracked_connections_is_kept_where_it_takes_that() {
        netglass_testing::require!(root);
        let left = left(|| drop_to(Needs::default(), || true, || false).unwrap());
        assert_eq!(left["CapEff"], CapabilitySet::NET_ADMIN.bits());
    }

    #[test]
    fn it_is_tried_with_what_is_kept_and_nothing_else() {
        netglass_testing::require!(root);
        let mut seen = None;
        left(|| {
            let needs = Needs { processes: true, ..Needs::default() };
            let look = || {
                seen = Some(capabilities(None).unwrap().effective);
                true
            };
            drop_to(needs, look, || true).unwrap();
        });
        assert_eq!(seen, Some(CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH));
    }

    #[test]
    fn of_two_that_do_the_lesser_one_is_kept() {
        let (bpf, admin) = (CapabilitySet::BPF, CapabilitySet::SYS_ADMIN);
        let none = CapabilitySet::empty();
        assert_eq!(for_kernel_programs(bpf | admin, none), Some(bpf));
        assert_eq!(for_kernel_programs(admin, none), Some(admin));
        assert_eq!(for_kernel_programs(admin, admin), None);
        assert_eq!(for_kernel_programs(none, none), None);
    }

    #[test]
    fn whoever_has_nothing_gives_up_nothing() {
        left(|| {
            drop_to(Needs::default(), || true, || true).unwrap();
            let nothing = || unreachable!("nothing is to be tried");
            drop_to(ALL, nothing, nothing).unwrap();
        });
    }
}
