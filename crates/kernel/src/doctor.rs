//! Which features of this host work for the caller, found out by trying each of them.

#[cfg(feature = "ebpf")]
mod programs;

use std::{io, process};

use netglass_model::{Protocol, text_from_bytes};
use rustix::{fs::OFlags, io::Errno, thread::CapabilitySet};

use crate::{
    Error, address, cgroup_root, conntrack,
    namespace::Namespaces,
    process::{directory, process_ids},
    route::Routes,
    socket::{Diag, InetFamily, StateSet},
};

/// One feature of this host, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, for programs: it never changes.
    pub key: &'static str,
    /// What it is, for people.
    pub feature: &'static str,
    /// Why it does not work; `None` where it works.
    pub reason: Option<String>,
    /// What is lost without it.
    pub lost: &'static str,
    /// How to get it.
    pub remedy: String,
}

impl Finding {
    /// Whether the feature works.
    #[must_use]
    pub fn works(&self) -> bool {
        self.reason.is_none()
    }
}

/// Tries every feature of this host that is used, with the rights of the caller. Each is undone
/// again at once.
#[must_use]
pub fn examine() -> Vec<Finding> {
    let mut findings = programs();
    findings.extend([
        control_groups(),
        sockets(),
        addresses(),
        routes(),
        connection_tracking(),
        processes(),
        namespaces_found(),
        namespaces_entered(),
    ]);
    findings
}

#[cfg(feature = "ebpf")]
fn programs() -> Vec<Finding> {
    programs::examine()
}

#[cfg(not(feature = "ebpf"))]
fn programs() -> Vec<Finding> {
    vec![Finding {
        key: "kernel_programs",
        feature: "loading kernel programs (eBPF)",
        reason: Some("this program was built without kernel programs".to_owned()),
        lost: "there is no streaming: sockets are polled, and their processes found in /proc/*/fd",
        remedy: "a program that is built with them, which is the default".to_owned(),
    }]
}

fn control_groups() -> Finding {
    Finding {
        key: "cgroup_v2",
        feature: "control groups of version 2",
        reason: cgroup_root::open().err().map(|error| error.to_string()),
        lost: "streaming: peers of unconnected UDP sockets, attempts without a route, and UDP \
               sockets before their first datagram",
        remedy: cgroup_root::REMEDY.to_owned(),
    }
}

fn sockets() -> Finding {
    let list = |protocol, family| {
        let mut diag = Diag::open()?;
        diag.list(protocol, family, StateSet::LISTENING, |_| {})
    };
    let reason = Protocol::ALL.into_iter().find_map(|protocol| {
        let error = InetFamily::BOTH.into_iter().find_map(|family| list(protocol, family).err())?;
        Some(format!("{protocol}: {error}"))
    });
    Finding {
        key: "sockets_over_netlink",
        feature: "sockets over netlink (sock_diag)",
        reason,
        lost: "polling: /proc/net is read instead, which tells neither bytes nor round trip times",
        remedy: "the kernel modules tcp_diag and udp_diag, and no seccomp rule against netlink \
                 sockets"
            .to_owned(),
    }
}

fn addresses() -> Finding {
    Finding {
        key: "addresses_over_netlink",
        feature: "addresses over netlink",
        reason: address::list().err().map(|error| error.to_string()),
        lost: "other hosts' connections to this one are not joined with it",
        remedy: "no seccomp rule against netlink sockets".to_owned(),
    }
}

fn routes() -> Finding {
    Finding {
        key: "routes_over_netlink",
        feature: "routes over netlink",
        reason: Routes::open()
            .and_then(|mut routes| routes.try_one())
            .err()
            .map(|error| error.to_string()),
        lost: "streaming: the local address of UDP sockets that are bound to none",
        remedy: "no seccomp rule against netlink sockets".to_owned(),
    }
}

fn connection_tracking() -> Finding {
    Finding {
        key: "connection_tracking",
        feature: "connection tracking over netlink (conntrack)",
        reason: conntrack::try_to_ask().err().map(|error| error.to_string()),
        lost: "connections whose addresses are translated on this host (NAT) are two, one of each \
               side",
        remedy: "root, or CAP_NET_ADMIN; and no seccomp rule against netlink sockets".to_owned(),
    }
}

/// Processes of other users, as far as they can be read: what they run, and what they have open.
fn processes() -> Finding {
    const RIGHTS: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
    Finding {
        key: "processes",
        feature: "processes of other users",
        reason: unreadable_processes().unwrap_or_else(|error| Some(error.to_string())),
        lost: "their executables and families; polling: their sockets' processes where the \
               iterator over open files does not work",
        remedy: remedy_for_processes(RIGHTS, "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
    }
}

/// Who has the rights already meets processes that have more.
fn remedy_for_processes(rights: CapabilitySet, names: &str) -> String {
    let has = rustix::thread::capabilities(None)
        .map_or(CapabilitySet::empty(), |capabilities| capabilities.effective);
    if has.contains(rights) {
        "every capability that these processes have (ptrace(2)), as the host's own root has"
            .to_owned()
    } else {
        format!("root, or {names}")
    }
}

fn unreadable_processes() -> Result<Option<String>, Error> {
    let (mut all, mut denied, mut example) = (0_u64, 0_u64, None);
    let mut is_first_seen = false;
    for pid in process_ids()? {
        is_first_seen |= pid == 1;
        let Ok(files) = directory(pid) else { continue };
        all += 1;
        let read = files.link("exe").map(drop).and_then(|()| {
            files.open("fd", OFlags::RDONLY | OFlags::DIRECTORY)?;
            Ok(())
        });
        // Others ended meanwhile, or are threads of the kernel.
        if read.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            denied += 1;
            let name = || files.read("comm").map(|name| text_from_bytes(name.trim_ascii_end()));
            example = example.or_else(|| Some(format!("{pid} ('{}')", name().ok()?)));
        }
    }
    if !is_first_seen && process::id() != 1 {
        return Ok(Some("/proc shows the own user's processes alone (hidepid)".to_owned()));
    }
    Ok((denied > 0).then(|| match example {
        Some(example) => format!("{denied} of {all} may not be read, such as {example}"),
        None => format!("{denied} of {all} may not be read"),
    }))
}

fn namespaces_found() -> Finding {
    let reason = match Namespaces::find() {
        Ok(namespaces) => match namespaces.denied {
            0 => None,
            1 => Some("that of one process may not be read".to_owned()),
            many => Some(format!("those of {many} processes may not be read")),
        },
        Err(error) => Some(error.to_string()),
    };
    Finding {
        key: "namespaces_found",
        feature: "finding all network namespaces",
        reason,
        lost: "--all-namespaces: sockets, names and addresses of those that no other process is in",
        remedy: remedy_for_processes(CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE"),
    }
}

fn namespaces_entered() -> Finding {
    let enter_each = || -> Result<(), Error> {
        Namespaces::find()?.iter().try_for_each(|namespace| namespace.run(|| ()).map(drop))
    };
    Finding {
        key: "namespaces_entered",
        feature: "entering network namespaces",
        reason: enter_each().err().map(|error| error.to_string()),
        lost: "--all-namespaces: polling: the sockets in them; streaming: their addresses",
        remedy: "root, or CAP_SYS_ADMIN".to_owned(),
    }
}

impl Routes {
    /// Asks for a route; that there is none is an answer too.
    fn try_one(&mut self) -> Result<(), Error> {
        match self.ask(std::net::Ipv4Addr::LOCALHOST.into()) {
            Err(Error::Netlink { source, .. })
                if source.raw_os_error() == Some(Errno::NETUNREACH.raw_os_error()) =>
            {
                Ok(())
            }
            result => result.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_feature_is_found_once_and_says_what_to_do() {
        let findings = examine();
        let keys: BTreeSet<_> = findings.iter().map(|finding| finding.key).collect();
        assert_eq!(keys.len(), findings.len(), "{findings:#?}");
        for finding in &findings {
            assert!(!finding.lost.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
        }
        // What takes no privileges works for everybody.
        for key in ["sockets_over_netlink", "addresses_over_netlink", "routes_over_netlink"] {
            let found = findings.iter().find(|finding| finding.key == key);
            assert!(found.is_some_and(Finding::works), "{found:?}");
        }
    }

    #[test]
    #[cfg(feature = "ebpf")]
    fn everything_that_streaming_takes_works_where_it_can() {
        netglass_testing::require!(root, ebpf);
        for finding in programs() {
            assert!(finding.works(), "{finding:?}");
        }
    }
}
