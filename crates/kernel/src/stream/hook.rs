//! Where the streaming kernel programs hook in, and what each is for.

use rustix::thread::CapabilitySet;

use crate::cgroup_root;

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attachment {
    /// To a tracepoint, by the type of its arguments.
    Tracepoint,
    /// To the root of the control groups.
    Cgroup,
    /// It is run by reading.
    Iterator,
    /// It is run by reading in a network namespace, over the sockets of that one.
    NamespaceIterator,
    /// The same, over what is in a map.
    MapIterator { map: &'static str },
}

impl Attachment {
    pub(super) const fn is_iterator(self) -> bool {
        matches!(self, Self::Iterator | Self::NamespaceIterator | Self::MapIterator { .. })
    }

    /// The capabilities that it takes to load and attach such a program.
    pub(super) const fn needed(self) -> CapabilitySet {
        match self {
            Self::Tracepoint
            | Self::Iterator
            | Self::NamespaceIterator
            | Self::MapIterator { .. } => CapabilitySet::BPF.union(CapabilitySet::PERFMON),
            Self::Cgroup => {
                CapabilitySet::BPF.union(CapabilitySet::PERFMON).union(CapabilitySet::NET_ADMIN)
            }
        }
    }
}

/// What is lost without some of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Feature {
    /// TCP connections as they begin and end.
    Connections,
    /// What lives, once in each interval.
    Living,
    /// Why attempts fail.
    Errors,
    /// Connections that a program breaks off.
    Resets,
    /// What was there before.
    Existing,
    /// Whose it was.
    Holders,
    /// Datagrams, and who works with an accepted connection.
    Datagrams,
    /// Whom unconnected sockets talk to.
    DatagramPeers,
    /// Attempts without route.
    Attempts,
    /// UDP sockets from when they are bound.
    Binds,
}

impl Feature {
    pub(crate) const ALL: [Self; 10] = [
        Self::Connections,
        Self::Living,
        Self::Errors,
        Self::Resets,
        Self::Existing,
        Self::Holders,
        Self::Datagrams,
        Self::DatagramPeers,
        Self::Attempts,
        Self::Binds,
    ];

    /// Without these there is no streaming.
    pub(crate) const fn is_required(self) -> bool {
        matches!(self, Self::Connections | Self::Living)
    }

    /// What it is, for programs: it never changes.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Connections => "tcp_connections",
            Self::Living => "lasting_connections",
            Self::Errors => "reasons_of_failures",
            Self::Resets => "broken_off_connections",
            Self::Existing => "existing_connections",
            Self::Holders => "processes_of_existing_connections",
            Self::Datagrams => "datagrams",
            Self::DatagramPeers => "datagram_peers",
            Self::Attempts => "attempts_without_route",
            Self::Binds => "udp_binds",
        }
    }

    /// What it is.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connections => "TCP connections as they begin and end",
            Self::Living => "connections that last, in each interval",
            Self::Errors => "why attempts fail",
            Self::Resets => "traffic of connections that a program breaks off",
            Self::Existing => "connections older than the probe",
            Self::Holders => "processes of connections older than the probe",
            Self::Datagrams => "UDP datagrams, and which worker has an accepted connection",
            Self::DatagramPeers => "peers of unconnected UDP sockets",
            Self::Attempts => "attempts that fail for lack of a route",
            Self::Binds => "UDP sockets from when they are bound",
        }
    }

    /// What is lost without it.
    pub(crate) const fn lost(self) -> &'static str {
        match self {
            Self::Connections | Self::Living => "there is no streaming: sockets are polled",
            Self::Errors => "every attempt that fails counts as abandoned",
            Self::Resets => "they count as attempts that failed",
            Self::Existing => {
                "those that no open file leads to are listed instead (sock_diag): a connection \
                 counts from when it is first used, or ends, and who listens is not shown"
            }
            Self::Holders => {
                "they are looked for in /proc/*/fd instead, once: what a process that may not be \
                 read holds has one only if it sends or receives in the first interval"
            }
            Self::Datagrams => {
                "UDP is not counted, and an accepted connection belongs to the process that listens"
            }
            Self::DatagramPeers => "datagrams of unconnected sockets are not counted",
            Self::Attempts => "they are not counted",
            Self::Binds => "they are seen from their first datagram on",
        }
    }

    /// What it takes.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Connections | Self::Living => {
                "root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; Linux 5.12 with BTF"
            }
            Self::Resets | Self::Existing | Self::Holders => "Linux 5.12 with BTF",
            Self::Errors => "Linux 5.15, which has the tracepoint inet_sk_error_report",
            Self::Datagrams => {
                "Linux 6.3, which has the tracepoints sock_send_length and sock_recv_length"
            }
            Self::DatagramPeers | Self::Attempts | Self::Binds => cgroup_root::REMEDY,
        }
    }
}

/// A program and where it hooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hook {
    /// The name of its function.
    pub(super) program: &'static str,
    pub(super) attachment: Attachment,
    pub(super) feature: Feature,
}

const fn hook(program: &'static str, attachment: Attachment, feature: Feature) -> Hook {
    Hook { program, attachment, feature }
}

/// Says who connects and who listens, where the programs of [`Feature::Attempts`] and
/// [`Feature::Binds`] cannot, at a higher cost: it is called for each state of a connection.
pub(super) const OPENS_INSTEAD: &str = "observe_state";

/// Every program of `bpf/stream.bpf.c`.
pub(super) const HOOKS: [Hook; 21] = [
    hook("observe_end", Attachment::Tracepoint, Feature::Connections),
    // Behind the first one: the kernel calls programs in the order in which they were attached.
    hook("observe_end_again", Attachment::Tracepoint, Feature::Connections),
    hook(OPENS_INSTEAD, Attachment::Tracepoint, Feature::Connections),
    hook("look_at_sockets", Attachment::MapIterator { map: "sockets" }, Feature::Living),
    hook("look_at_connections", Attachment::MapIterator { map: "connections" }, Feature::Living),
    hook("observe_error", Attachment::Tracepoint, Feature::Errors),
    hook("observe_error_again", Attachment::Tracepoint, Feature::Errors),
    hook("observe_reset", Attachment::Tracepoint, Feature::Resets),
    hook("find_existing", Attachment::Iterator, Feature::Holders),
    hook("find_tcp", Attachment::NamespaceIterator, Feature::Existing),
    hook("find_udp", Attachment::NamespaceIterator, Feature::Existing),
    hook("observe_send", Attachment::Tracepoint, Feature::Datagrams),
    hook("observe_receive", Attachment::Tracepoint, Feature::Datagrams),
    hook("note_send_v4", Attachment::Cgroup, Feature::DatagramPeers),
    hook("note_send_v6", Attachment::Cgroup, Feature::DatagramPeers),
    hook("note_receive_v4", Attachment::Cgroup, Feature::DatagramPeers),
    hook("note_receive_v6", Attachment::Cgroup, Feature::DatagramPeers),
    hook("note_connect_v4", Attachment::Cgroup, Feature::Attempts),
    hook("note_connect_v6", Attachment::Cgroup, Feature::Attempts),
    hook("note_bind_v4", Attachment::Cgroup, Feature::Binds),
    hook("note_bind_v6", Attachment::Cgroup, Feature::Binds),
];
