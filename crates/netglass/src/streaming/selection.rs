//! From what the user names to what the kernel knows it by.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use netglass_kernel::calls::{CallSelection, CgroupIdentity, Children};
use netglass_model::{CallName, CommandName, NamespaceInode, text_from_bytes};

use super::arguments::{Family, FilterArguments, SelectionArguments};
use crate::{usage::UsageError, users::USERS};

/// Where `ip netns` keeps names.
const NAMED_NAMESPACES: &str = "/run/netns";

impl SelectionArguments {
    /// What is to be selected.
    pub(super) fn selection(&self) -> anyhow::Result<CallSelection> {
        self.filters.selection(&self.command)
    }
}

impl FilterArguments {
    /// What is to be selected; where there is a command, its calls and its children's.
    pub(crate) fn selection(&self, command: &[OsString]) -> anyhow::Result<CallSelection> {
        let gone = self.pid.iter().find(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if let Some(pid) = gone {
            anyhow::bail!(
                "there is no process {pid}: it has ended, or belongs to another pid namespace; \
                 `ps -e` lists those that there are"
            );
        }
        let selects_others = !self.pid.is_empty() || !self.comm.is_empty() || self.children;
        if selects_others && !command.is_empty() {
            return Err(UsageError(
                "a COMMAND selects itself and its children; leave out --pid, --comm and --children"
                    .to_owned(),
            )
            .into());
        }
        let mut cgroups = Vec::new();
        for path in &self.cgroup {
            cgroups.push(CgroupIdentity::find(path).context("finding a control group")?);
        }
        for container in &self.container {
            let found = CgroupIdentity::of_container(container)?;
            anyhow::ensure!(
                !found.is_empty(),
                "there is no control group of a container whose id begins with {container}; \
                 `netglass stream --cgroup` takes any path"
            );
            cgroups.extend(found);
        }
        Ok(CallSelection {
            calls: self.calls(),
            families: self.families(),
            pids: self.pid.clone(),
            not_pids: self.not_pid.clone(),
            comms: self.comm.iter().map(|name| CommandName::new(name.as_bytes())).collect(),
            not_comms: self.not_comm.iter().map(|name| CommandName::new(name.as_bytes())).collect(),
            uids: self.uid.iter().map(|user| user_id(user)).collect::<anyhow::Result<_>>()?,
            cgroups,
            namespaces: self.netns.iter().map(|it| namespace(it)).collect::<anyhow::Result<_>>()?,
            ports: self.port.clone(),
            networks: self.addr.clone(),
            errors: self.errors,
            children: match (command.is_empty(), self.children) {
                (false, _) => Children::OfReader,
                (true, true) => Children::Followed,
                (true, false) => Children::Alone,
            },
        })
    }

    fn calls(&self) -> Vec<CallName> {
        let waiting = || CallName::ALL.iter().copied().filter(|call| call.waits());
        let others = || CallName::ALL.iter().copied().filter(|call| !call.waits());
        match (self.call.is_empty(), self.wait) {
            (true, false) => others().collect(),
            (true, true) => CallName::ALL.to_vec(),
            (false, false) => self.call.clone(),
            (false, true) => self.call.iter().copied().chain(waiting()).collect(),
        }
    }

    fn families(&self) -> Vec<u16> {
        let mut families = self.family.clone();
        if self.net || families.is_empty() {
            families.extend([Family::Inet, Family::Inet6]);
        }
        // Without any, all are selected.
        families.into_iter().map(Family::number).collect::<Option<_>>().unwrap_or_default()
    }
}

fn user_id(user: &str) -> anyhow::Result<u32> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let users = fs::read(USERS).with_context(|| format!("reading {USERS} for the user {user}"))?;
    let id = text_from_bytes(&users).lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    id.with_context(|| format!("there is no user {user} in {USERS}; give the number"))
}

fn namespace(name: &str) -> anyhow::Result<NamespaceInode> {
    if let Ok(inode) = name.parse() {
        return Ok(NamespaceInode(inode));
    }
    let path = if name.contains('/') {
        PathBuf::from(name)
    } else {
        Path::new(NAMED_NAMESPACES).join(name)
    };
    let metadata = fs::metadata(&path).with_context(|| {
        format!(
            "looking for the network namespace {name} at {}; `ip netns` lists the named ones, and \
             /proc/PID/ns/net is that of a process",
            path.display()
        )
    })?;
    Ok(NamespaceInode(metadata.ino()))
}
