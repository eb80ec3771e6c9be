//! How a thread that observes stands back behind what it observes.
#![expect(unsafe_code, reason = "no library that is used here sets a thread's policy")]

use std::io;

use nix::libc::{SCHED_BATCH, sched_param, sched_setscheduler};

/// From now on the thread that calls it does not interrupt others when there is something for it to
/// do, but waits for its turn (`SCHED_BATCH`, sched(7)); how much of a processor it gets stays the
/// same. What it starts from then on does so, too.
///
/// # Errors
/// The kernel's, where that is forbidden.
pub fn wait_for_turns() -> io::Result<()> {
    let parameters = sched_param { sched_priority: 0 };
    // SAFETY: the kernel only reads what is pointed to, which lives until it has; 0 is the thread
    // that calls.
    match unsafe { sched_setscheduler(0, SCHED_BATCH, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_thread_waits_for_its_turns_and_others_do_not() {
        let policy = || {
            let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
            // The name, which ends with a bracket, is the second of the fields that proc(5) counts.
            let (_, rest) = stat.rsplit_once(')').unwrap();
            rest.split_whitespace().nth(41 - 3).unwrap().parse::<i32>().unwrap()
        };
        let before = policy();
        let changed = std::thread::spawn(move || {
            wait_for_turns().unwrap();
            policy()
        });
        assert_eq!(changed.join().unwrap(), SCHED_BATCH);
        assert_eq!((before, policy()), (0, 0));
    }
}
