//! Finding the sockets that are older than the streaming kernel programs.

use std::{fs, os::unix::fs::MetadataExt as _};

use libbpf_rs::Link;
use netglass_model::{Degradation, NamespaceInode};

use super::{
    hook::Feature,
    listed::Listed,
    programs::{BUFFER_LENGTH, read_iterator},
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
    /// Finds them in `wanted`, the namespace of the calling thread, or in all. In the end
    /// `set_phase` is told whether these are all.
    pub(super) fn find(
        &self,
        wanted: Option<NamespaceInode>,
        mut set_phase: impl FnMut(u32) -> Result<(), Error>,
        degraded: &mut dyn FnMut(Degradation),
    ) -> Result<(), Error> {
        let mut is_all = true;
        let namespaces = match wanted {
            None => Namespaces::find()?,
            Some(_) => Namespaces::default(),
        };
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
        let mut missing = |error: Error| {
            is_all = false;
            degraded(degradation(error.to_string()));
        };
        for phase in [Phase::Listeners, Phase::Connections] {
            set_phase(phase.number())?;
            read_all(&self.in_files)?;
            // After those that know the processes.
            let find_in = |namespace| (self.list(phase, namespace), read_all(&self.in_namespaces));
            let (listed, read) = find_in(own);
            listed.unwrap_or_else(&mut missing);
            read?;
            for namespace in namespaces.iter().filter(|it| it.identity.inode != own) {
                match namespace.run(|| find_in(namespace.identity.inode)) {
                    Ok(Some((listed, read))) => {
                        listed.unwrap_or_else(&mut missing);
                        read?;
                    }
                    Ok(None) => {}
                    Err(error) => missing(error),
                }
            }
        }
        set_phase(if is_all { FOUND_ALL } else { FOUND_SOME })
    }

    /// Lists what is to be found in the calling thread's namespace, if that has to be.
    fn list(&self, phase: Phase, namespace: NamespaceInode) -> Result<(), Error> {
        self.listed.as_ref().map_or(Ok(()), |listed| listed.tell(phase, namespace))
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
