//! Finding the sockets that are older than the streaming kernel programs.

use std::{fs, os::unix::fs::MetadataExt as _};

use libbpf_rs::Link;
use netglass_model::{Degradation, NamespaceInode};

use super::{
    hook::Feature,
    listed::Listed,
    programs::{BUFFER_LENGTH, read_iterator},
    record::FlowKey,
};
use crate::{
    Error,
    namespace::{self, Namespaces},
};

/// Who listens is found before who is connected, whose direction that tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    Listeners,
    Connections,
}

const PHASES: [Phase; 2] = [Phase::Listeners, Phase::Connections];

impl Phase {
    /// Of `enum phase` of `bpf/stream/records.h`.
    const fn number(self) -> u32 {
        match self {
            Self::Listeners => 1,
            Self::Connections => 2,
        }
    }
}

/// Of the same.
const FOUND_ALL: u32 = 3;
const FOUND_SOME: u32 = 4;

/// `PROC_PID_INIT_INO` (`linux/proc_ns.h`), which never changes: the host's own pid namespace.
const HOST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Why processes are missing where ours is another one.
pub(super) const SECLUDED: &str = "this is not the host's pid namespace";

/// What finds the sockets that are there already.
#[derive(Default)]
pub(super) struct Existing {
    /// Over the open files of all processes that can be seen: what is found has a process.
    pub(super) in_files: Vec<Link>,
    /// Over all sockets of the network namespace in which they are read.
    pub(super) in_namespaces: Vec<Link>,
    /// What stands in for them where one is missing.
    pub(super) listed: Option<Listed>,
}

impl Existing {
    /// The connections that lists tell of before the programs watch, where lists are all there is.
    /// Whatever keeps it from being listed does so again, and is told of, when it is to be found.
    pub(super) fn list_before(
        &mut self,
        wanted: Option<NamespaceInode>,
    ) -> Result<Vec<FlowKey>, Error> {
        let Some(listed) = self.listed.as_mut().filter(|_| self.in_namespaces.is_empty()) else {
            return Ok(Vec::new());
        };
        let (namespaces, own) = (find_namespaces(wanted)?, namespace::own()?);
        listed.begin_counting();
        for phase in PHASES {
            in_each(&namespaces, own, |inode| listed.tell(phase, inode), |_| {});
        }
        Ok(listed.end_counting())
    }

    /// Finds them in `wanted`, the namespace of the calling thread, or in all. In the end
    /// `set_phase` is told whether these are all.
    pub(super) fn find(
        &mut self,
        wanted: Option<NamespaceInode>,
        mut set_phase: impl FnMut(u32) -> Result<(), Error>,
        degraded: &mut dyn FnMut(Degradation),
    ) -> Result<(), Error> {
        let mut is_all = true;
        let namespaces = find_namespaces(wanted)?;
        if namespaces.denied > 0 {
            is_all = false;
            degraded(degradation("the namespaces of some processes may not be read".to_owned()));
        }
        let pid_namespace = fs::metadata("/proc/self/ns/pid").map(|it| it.ino());
        if pid_namespace.is_ok_and(|inode| inode != HOST_PID_NAMESPACE) {
            is_all &= wanted.is_some();
            degraded(secluded());
        }
        let own = namespace::own()?;
        let Self { in_files, in_namespaces, listed } = self;
        for phase in PHASES {
            set_phase(phase.number())?;
            read_all(in_files)?;
            let mut read = Ok(());
            // After those that know the processes.
            let find_in = |inode| {
                let told = listed.as_mut().map_or(Ok(()), |listed| listed.tell(phase, inode));
                if read.is_ok() {
                    read = read_all(in_namespaces);
                }
                told
            };
            in_each(&namespaces, own, find_in, |error| {
                is_all = false;
                degraded(degradation(error.to_string()));
            });
            read?;
        }
        set_phase(if is_all { FOUND_ALL } else { FOUND_SOME })
    }
}

/// Those besides the own one.
fn find_namespaces(wanted: Option<NamespaceInode>) -> Result<Namespaces, Error> {
    match wanted {
        None => Namespaces::find(),
        Some(_) => Ok(Namespaces::default()),
    }
}

/// Does `work` inside of `own`, where the calling thread is, and of each of `namespaces` that is
/// still there.
fn in_each(
    namespaces: &Namespaces,
    own: NamespaceInode,
    mut work: impl FnMut(NamespaceInode) -> Result<(), Error> + Send,
    mut failed: impl FnMut(Error),
) {
    work(own).unwrap_or_else(&mut failed);
    for namespace in namespaces.iter().filter(|it| it.identity.inode != own) {
        match namespace.run(|| work(namespace.identity.inode)) {
            Ok(done) => done.unwrap_or(Ok(())).unwrap_or_else(&mut failed),
            Err(error) => failed(error),
        }
    }
}

/// Runs iterators that write nothing.
fn read_all(iterators: &[Link]) -> Result<(), Error> {
    let mut buffer = vec![0; BUFFER_LENGTH];
    iterators.iter().try_for_each(|iterator| read_iterator(iterator, &mut buffer, <[u8]>::len))
}

fn degradation(reason: String) -> Degradation {
    Degradation {
        feature: Feature::Existing.name().to_owned(),
        reason,
        consequence: "those in there that no process of this pid namespace holds are not counted"
            .to_owned(),
    }
}

fn secluded() -> Degradation {
    Degradation {
        feature: Feature::Holders.name().to_owned(),
        reason: SECLUDED.to_owned(),
        consequence: "processes outside of it are not asked what they hold, and have no id here; \
                      run it in the host's (docker run --pid host)"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests;
