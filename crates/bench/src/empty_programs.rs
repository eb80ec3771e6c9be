//! Kernel programs that do nothing, where Netglass has those that a request runs through: what
//! they cost is what no program at these places can do without.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result};
use libbpf_rs::{Link, Object, ObjectBuilder};

use crate::{
    kernel_program::compile,
    rate::{Observer, Work},
};

/// Nine runs for each request of a new connection: it is opened, its two ends send and receive, and
/// each of them ends, which two programs are told of.
const OF_CONNECTIONS: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup/connect4") int opens(void *context) { return 1; }
SEC("tp_btf/sock_send_length") int sends(void *context) { return 0; }
SEC("tp_btf/sock_recv_length") int receives(void *context) { return 0; }
SEC("tp_btf/tcp_destroy_sock") int ends(void *context) { return 0; }
SEC("tp_btf/tcp_destroy_sock") int ends_again(void *context) { return 0; }

char _license[] SEC("license") = "Dual MIT/GPL";
"#;
const AT_CGROUP: &str = "opens";

/// Two runs for each system call.
const OF_CALLS: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tp_btf/sys_enter") int begins(void *context) { return 0; }
SEC("tp_btf/sys_exit") int returns(void *context) { return 0; }

char _license[] SEC("license") = "Dual MIT/GPL";
"#;

/// They are attached for as long as this lives.
pub(crate) struct EmptyPrograms {
    // Before the programs that they attach.
    _links: Vec<Link>,
    _object: Object,
}

impl EmptyPrograms {
    /// Where a probe has its own, of those that a request runs through.
    pub(crate) fn of_connections() -> Result<Self> {
        Self::attach(OF_CONNECTIONS)
    }

    /// Where a stream of calls has its own.
    pub(crate) fn of_calls() -> Result<Self> {
        Self::attach(OF_CALLS)
    }

    fn attach(source: &str) -> Result<Self> {
        let object = ObjectBuilder::default()
            .open_memory(&compile(source)?)
            .and_then(libbpf_rs::OpenObject::load)
            .context("loading kernel programs that do nothing")?;
        let root = File::open(cgroup_root()?).context("opening the root of the control groups")?;
        let attach = |program: libbpf_rs::ProgramMut<'_>| {
            if program.name() == AT_CGROUP {
                program.attach_cgroup(root.as_raw_fd())
            } else {
                program.attach()
            }
        };
        let links = object.progs_mut().map(attach).collect::<Result<_, _>>();
        Ok(Self { _links: links.context("attaching programs that do nothing")?, _object: object })
    }
}

impl Observer for EmptyPrograms {
    fn cpu_time(&self) -> Duration {
        Duration::ZERO
    }

    fn end(self: Box<Self>, _: Work) -> Result<Option<String>> {
        Ok(None)
    }
}

fn cgroup_root() -> Result<String> {
    let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    let root = mounts.lines().find_map(|mount| {
        let mut words = mount.split(' ').skip(1);
        let folder = words.next()?;
        (words.next()? == "cgroup2").then(|| folder.to_owned())
    });
    root.context("there is no root of control groups of version 2")
}
