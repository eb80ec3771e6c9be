//! Kernel programs that do nothing, where streaming has those that a request runs through: what
//! they cost is what no program at these places can do without.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use libbpf_rs::{Link, Object, ObjectBuilder};

/// Nine runs for each request of a new connection: it is opened, its two ends send and receive, and
/// each of them ends, which two programs are told of.
const SOURCE: &str = r#"
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

/// They are attached for as long as this lives.
pub(crate) struct EmptyPrograms {
    // Before the programs that they attach.
    _links: Vec<Link>,
    _object: Object,
}

impl EmptyPrograms {
    pub(crate) fn attach() -> Result<Self> {
        let object = ObjectBuilder::default()
            .open_memory(&compile()?)
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

fn compile() -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("a temporary folder for clang")?;
    let (source, object) = (folder.path().join("empty.bpf.c"), folder.path().join("empty.bpf.o"));
    fs::write(&source, SOURCE).context("writing the source of programs that do nothing")?;
    let mut clang = Command::new("clang");
    clang.args(["-O2", "-g", "-target", "bpf", "-c", "-o"]).arg(&object).arg(&source);
    clang.arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH));
    let output = clang.output().context("running clang")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "clang: {}: {}", output.status, said.trim());
    fs::read(object).context("reading what clang has made")
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
