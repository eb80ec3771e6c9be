//! A program that may not use netlink, as under a strict sandbox.

use std::{collections::BTreeMap, env::consts::ARCH, ffi::OsString, os::unix::process::CommandExt};

use anyhow::{Context, Result, bail};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Becomes `command`. `socket(AF_NETLINK, …)` fails in it with `EPERM`.
pub(crate) fn run(command: &[OsString]) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else { bail!("no command is given") };
    let is_netlink = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        u64::try_from(libc::AF_NETLINK)?,
    )?;
    let rules = BTreeMap::from([(libc::SYS_socket, vec![SeccompRule::new(vec![is_netlink])?])]);
    let filter: BpfProgram = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(u32::try_from(libc::EPERM)?),
        ARCH.try_into()?,
    )?
    .try_into()?;
    seccompiler::apply_filter(&filter).context("taking netlink away")?;
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}
