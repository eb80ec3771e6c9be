//! Which processes are parts of one: a server's workers, and its master.

use super::{
    directory::directory,
    stat::{self, Stat},
};

/// Workers of workers are as deep as it gets.
const MAXIMUM_DEPTH: u32 = 8;

/// The oldest ancestor of which the process of `stat` is a part: in the same process group, under
/// the same name, running the same program. `command_line` is its `/proc/PID/cmdline`, if it could
/// be read.
pub(super) fn root(stat: Stat, command_line: Option<Vec<u8>>) -> u32 {
    let mut child = Member { stat, command_line };
    for _ in 0..MAXIMUM_DEPTH {
        match Member::read(child.stat.ppid) {
            Some(parent) if child.is_part_of(&parent) => child = parent,
            _ => break,
        }
    }
    child.stat.pid
}

// Without Debug: a command line may hold secrets.
struct Member {
    stat: Stat,
    command_line: Option<Vec<u8>>,
}

impl Member {
    fn read(pid: u32) -> Option<Self> {
        let files = directory(pid).ok()?;
        Some(Self {
            stat: stat::parse(&files.read("stat").ok()?)?,
            command_line: files.read("cmdline").ok(),
        })
    }

    /// A child runs its parent's program when it was forked and did not become another one since,
    /// or when it was started by the same command line. Where neither can be known, the name alone
    /// has to do.
    fn is_part_of(&self, parent: &Self) -> bool {
        let same_program = match (self.stat.start_stack, parent.stat.start_stack) {
            (Some(own), Some(parents)) if own == parents => true,
            (None, None) => true,
            _ => self.command_line.is_some() && self.command_line == parent.command_line,
        };
        self.stat.pgid == parent.stat.pgid && self.stat.comm == parent.stat.comm && same_program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(pgid: u32, comm: &str, start_stack: Option<u64>, command_line: &str) -> Member {
        let comm = comm.as_bytes().to_vec();
        let stat = Stat { pid: 2, comm, ppid: 1, pgid, start_ticks: 0, start_stack };
        Member { stat, command_line: Some(command_line.as_bytes().to_vec()) }
    }

    #[test]
    fn a_forked_worker_is_a_part_whatever_it_calls_itself() {
        let master = member(7, "nginx", Some(100), "nginx: master process");
        assert!(member(7, "nginx", Some(100), "nginx: worker process").is_part_of(&master));
        assert!(!member(8, "nginx", Some(100), "nginx: worker process").is_part_of(&master));
        assert!(!member(7, "perl", Some(100), "nginx: worker process").is_part_of(&master));
    }

    #[test]
    fn one_that_became_another_program_is_a_part_only_if_that_is_the_same() {
        let script = member(7, "python3", Some(100), "python3 all.py");
        assert!(!member(7, "python3", Some(200), "python3 server.py").is_part_of(&script));
        let cluster = member(7, "node", Some(100), "node app.js");
        assert!(member(7, "node", Some(200), "node app.js").is_part_of(&cluster));
    }

    #[test]
    fn without_the_right_to_know_the_name_has_to_do() {
        let master = member(7, "nginx", None, "nginx: master process");
        assert!(member(7, "nginx", None, "nginx: worker process").is_part_of(&master));
    }
}
