//! Processes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A process, as far as it can be known.
///
/// `pid` and `start_time` together are unique on one host between two boots. Identifiers are those
/// of the pid namespace and user namespace in which Netglass runs.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Process (thread group) id.
    pub pid: u32,
    /// When it started, to the hundredth of a second that `/proc/PID/stat` gives.
    pub start_time: Timestamp,
    /// Process group id.
    pub pgid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Process id of the oldest ancestor, itself included, of which it is a part: in the same
    /// process group, under the same name, running the same program. That of a server's master
    /// process for its workers.
    pub family: u32,
    /// Real user id; none where it could not be read.
    pub uid: Option<u32>,
    /// Real group id; none where it could not be read.
    pub gid: Option<u32>,
    /// The command name, at most 15 bytes (`TASK_COMM_LEN`), as [`crate::text_from_bytes`] makes it.
    pub comm: String,
    /// The path of the executable; none where it could not be read (another user's process
    /// without privileges, a kernel thread).
    pub exe: Option<String>,
    /// The path in the cgroup v2 hierarchy, or in v1's `name=systemd`, where there is one.
    pub cgroup: Option<String>,
    /// The container's id, as its runtime wrote it into the cgroup's path.
    pub container: Option<String>,
    /// The arguments that it was started with, or what it shows instead, joined by single spaces,
    /// as [`crate::text_from_bytes`] makes it: of at most 1024 bytes of `/proc/PID/cmdline`, with
    /// `…` behind those of a longer one. None where it could not be read, or is empty (a kernel
    /// thread).
    ///
    /// It may hold secrets, so `Debug` does not show it.
    pub command_line: Option<String>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid,
            start_time,
            pgid,
            ppid,
            family,
            uid,
            gid,
            comm,
            exe,
            cgroup,
            container,
            command_line,
        } = self;
        f.debug_struct("Process")
            .field("pid", pid)
            .field("start_time", start_time)
            .field("pgid", pgid)
            .field("ppid", ppid)
            .field("family", family)
            .field("uid", uid)
            .field("gid", gid)
            .field("comm", comm)
            .field("exe", exe)
            .field("cgroup", cgroup)
            .field("container", container)
            .field("command_line", &command_line.as_ref().map(|_| Hidden))
            .finish()
    }
}

/// Stands for what must not be shown.
struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Process {
    /// How people are shown this process.
    #[must_use]
    pub fn name(&self) -> ProcessName<'_> {
        ProcessName { comm: &self.comm, pgid: self.pgid }
    }
}

/// Shows a process as `('nginx', pgid=4656)`.
///
/// Quotes and control characters in the name are escaped, so that one process is always one
/// unbroken piece of one line.
#[derive(Debug, Clone, Copy)]
pub struct ProcessName<'a> {
    comm: &'a str,
    pgid: u32,
}

impl fmt::Display for ProcessName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("('")?;
        for character in self.comm.chars() {
            match character {
                '\'' => f.write_str("\\'")?,
                control if control.is_control() => write!(f, "{}", control.escape_default())?,
                other => write!(f, "{other}")?,
            }
        }
        write!(f, "', pgid={})", self.pgid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_no_part_of_a_message() {
        let process = Process {
            pid: 4656,
            start_time: Timestamp::default(),
            pgid: 4656,
            ppid: 1,
            family: 4656,
            uid: None,
            gid: None,
            comm: "curl".to_owned(),
            exe: None,
            cgroup: None,
            container: None,
            command_line: Some("curl -u me:secret".to_owned()),
        };
        for shown in [format!("{process:?}"), format!("{process:#?}"), process.name().to_string()] {
            assert!(shown.contains("4656") && !shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn a_name_is_one_piece_of_one_line() {
        let show = |comm| ProcessName { comm, pgid: 4656 }.to_string();
        assert_eq!(show("nginx"), "('nginx', pgid=4656)");
        assert_eq!(show("a') (b"), "('a\\') (b', pgid=4656)");
        assert_eq!(show("a\nb\u{1b}"), "('a\\nb\\u{1b}', pgid=4656)");
    }
}
