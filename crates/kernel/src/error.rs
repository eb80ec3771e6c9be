//! What can go wrong when the kernel is asked.

use std::{io, path::PathBuf};

/// What can go wrong when the kernel is asked. The text says what was being done, on what and why
/// it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a netlink request, or the socket failed.
    #[error("cannot read {what} over netlink: {source}")]
    Netlink {
        /// What was to be read.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The answer to a netlink request ended before it was complete.
    #[error("cannot read {what} over netlink: the answer is cut: {detail}")]
    NetlinkCut {
        /// What was to be read.
        what: &'static str,
        /// Where it is cut.
        detail: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file did not hold what the kernel's documentation says.
    #[error("cannot understand {}: {detail}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// There are no control groups of version 2.
    #[error("no file system of type cgroup2 is mounted (/proc/self/mountinfo)")]
    NoControlGroups,
    /// A network namespace could not be entered.
    #[error("cannot enter the network namespace {namespace}: {source}")]
    EnterNamespace {
        /// Which one.
        namespace: String,
        /// Why not.
        source: io::Error,
    },
    /// A kernel program could not be loaded, attached or read.
    #[error("cannot {doing} the kernel program {program}: {reason}")]
    Program {
        /// What was being done.
        doing: &'static str,
        /// The program.
        program: &'static str,
        /// Why it failed, as libbpf or the kernel said it.
        reason: String,
    },
    /// More is selected than the kernel programs have room for.
    #[error("cannot select by {count} {what}: at most {most} can be given")]
    TooMany {
        /// What is selected by.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there can be.
        most: usize,
    },
    /// A perf event array could not be read.
    #[error(
        "cannot read the perf event array {}: {reason}; that takes the capabilities CAP_BPF and \
         CAP_PERFMON, and an array that is pinned its pin", path.display()
    )]
    PerfEvents {
        /// Where it is pinned, or what it is of.
        path: PathBuf,
        /// Why not, as libbpf or the kernel said it.
        reason: String,
    },
    /// Another thread could not be started.
    #[error("cannot start a thread to {doing}: {source}")]
    Thread {
        /// What it was to do.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Packets could not be captured.
    #[cfg(feature = "capture")]
    #[error("cannot capture packets{}: {reason}", on(interface.as_deref()))]
    Capture {
        /// On which interface, if it is about one.
        interface: Option<String>,
        /// Why not, as libpcap or the kernel said it.
        reason: String,
    },
    /// There is no interface of that name.
    #[cfg(feature = "capture")]
    #[error("cannot capture packets on {name}: there is no such interface; there are {existing}")]
    NoInterface {
        /// The name.
        name: String,
        /// Those that there are, separated by commas.
        existing: String,
    },
    /// There is no network namespace of that name.
    #[cfg(feature = "capture")]
    #[error(
        "there is no network namespace {name}: name one as `ip netns` shows it, or give its inode as \
         `lsns --type net` does"
    )]
    NoNamespace {
        /// Its name or inode.
        name: String,
    },
    /// Packets may not be captured.
    #[cfg(feature = "capture")]
    #[error(
        "cannot capture packets: that takes the capability CAP_NET_RAW; run it as root, or give the \
         program that capability (setcap cap_net_raw+ep FILE, or AmbientCapabilities=CAP_NET_RAW in \
         a systemd unit)"
    )]
    CaptureDenied,
    /// A filter could not be understood.
    #[cfg(feature = "capture")]
    #[error("cannot understand the filter {expression:?}: {reason} (the language: pcap-filter(7))")]
    Filter {
        /// The filter.
        expression: String,
        /// What is wrong with it, as libpcap said it.
        reason: String,
    },
    /// Privileges could not be given up.
    #[error("cannot {doing}: {source}")]
    Privileges {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

#[cfg(feature = "capture")]
fn on(interface: Option<&str>) -> String {
    interface.map_or_else(String::new, |interface| format!(" on {interface}"))
}

impl Error {
    pub(crate) fn netlink(what: &'static str, errno: rustix::io::Errno) -> Self {
        Self::Netlink { what, source: errno.into() }
    }

    pub(crate) fn read(path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Read { path: path.into(), source: source.into() }
    }
}
