//! Which kernel programs work for the caller.

use libbpf_rs::{Btf, ProgramType};
use rustix::thread::CapabilitySet;

use super::Finding;
use crate::{
    calls, owner,
    program::{self, Cause, Obstacle},
    stream,
};

const NO_STREAMING: &str = "there is no streaming: sockets are polled";

/// Tries the kernel programs, and what they stand on.
pub(super) fn examine() -> Vec<Finding> {
    let mut findings = vec![types(), programs(), tables()];
    findings.extend(stream::try_each().into_iter().map(|(feature, tried)| {
        let own = feature.remedy();
        finding(feature.key(), feature.name(), tried, feature.lost(), own)
    }));
    findings.push(owners());
    #[cfg(feature = "capture")]
    findings.extend([packets(), drops()]);
    findings.push(calls());
    findings
}

/// A finding. What stands in the way may be more general than what the feature itself takes.
fn finding(
    key: &'static str,
    feature: &'static str,
    tried: Result<(), Obstacle>,
    lost: &'static str,
    own_remedy: &'static str,
) -> Finding {
    let remedy = match tried.as_ref().map_err(|obstacle| obstacle.cause) {
        Err(Cause::Types) => TYPES_REMEDY,
        Err(Cause::Rights) => "root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
        Err(Cause::Rules) => "to be run by the host's own root, outside of containers",
        Err(Cause::Memory) => MEMORY_REMEDY,
        Ok(()) | Err(Cause::Kernel) => own_remedy,
    };
    let reason = tried.err().map(|obstacle| obstacle.reason);
    Finding { key, feature, reason, lost, remedy: remedy.to_owned() }
}

const TYPES_REMEDY: &str =
    "a kernel built with CONFIG_DEBUG_INFO_BTF, and its /sys mounted (in a container: the host's)";

const MEMORY_REMEDY: &str = "more memory, or smaller tables: --max-kernel-flows, \
                             --max-kernel-connections, --max-conversations, --process-buffer; \
                             before Linux 5.11 a higher limit of locked memory (ulimit -l)";

fn types() -> Finding {
    finding(
        "kernel_types",
        "the kernel's types (BTF)",
        program::attempt(CapabilitySet::empty(), Btf::from_vmlinux).map(drop),
        "no kernel program can be loaded: sockets are polled, and their processes found in \
         /proc/*/fd",
        TYPES_REMEDY,
    )
}

fn programs() -> Finding {
    let needed = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
    // The smallest program of a type that takes the rights of all that observe. Why it is refused
    // is not told.
    let tried = match program::attempt(needed, || ProgramType::Tracepoint.is_supported()) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(program::refusal("the kernel refuses the smallest one", program::missing(needed)))
        }
        Err(obstacle) => Err(obstacle),
    };
    finding(
        "kernel_programs",
        "loading kernel programs (eBPF)",
        tried,
        "there is no streaming: sockets are polled, and their processes found in /proc/*/fd",
        "a kernel built with CONFIG_BPF_SYSCALL",
    )
}

fn tables() -> Finding {
    finding(
        "table_memory",
        "memory for the kernel programs' tables",
        stream::try_tables(),
        NO_STREAMING,
        MEMORY_REMEDY,
    )
}

fn owners() -> Finding {
    finding(
        "socket_owners",
        "iterator over open files, for sockets' processes",
        owner::try_iterator(),
        "polling: time, as /proc/*/fd is read instead",
        "Linux 5.11 with BTF",
    )
}

#[cfg(feature = "capture")]
fn packets() -> Finding {
    finding(
        "packets_in_kernel",
        "counting packets in the kernel, at interfaces (tcx)",
        crate::aggregate::try_to_count(),
        "packets at interfaces (-i) in `netglass monitor --kernel`; `netglass capture --engine \
         kernel`, whose other engine takes packets from a ring",
        "Linux 6.6 with BTF, which has tcx",
    )
}

#[cfg(feature = "capture")]
fn drops() -> Finding {
    finding(
        "dropped_packets",
        "packets that the kernel drops, with the reason",
        crate::datapath::try_drops(),
        "`netglass monitor --kernel` and `netglass explain`",
        "Linux 5.17 with BTF",
    )
}

fn calls() -> Finding {
    finding(
        "system_calls",
        "following system calls",
        calls::try_programs(),
        "`netglass stream` and `netglass top`",
        "a kernel built with CONFIG_FTRACE_SYSCALLS, Linux 5.12 or later",
    )
}
