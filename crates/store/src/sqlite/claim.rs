//! Keeping two probes from writing what both of them see.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};

use super::fault::Fault;
use crate::Claim;

/// A claim that is held; dropped, it ends. The kernel ends it when the process ends, however that
/// comes about.
#[derive(Debug)]
pub(super) struct Claimed {
    _file: File,
}

/// Claims what a probe on this host sees, for the database at `path`.
///
/// Each namespace is a byte of a file beside the database, and a claim a lock on that byte
/// (`F_OFD_SETLK` in `fcntl_locking(2)`); the file itself stays empty. All namespaces are all bytes.
pub(super) fn claim(path: &Path, claim: Claim) -> Result<Claimed, Fault> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock_file(path))?;
    let (start, length) = match claim {
        Claim::Namespace(inode) => (i64::try_from(inode.0).unwrap_or(i64::MAX - 1), 1),
        // A length of 0 is up to the end, wherever that is.
        Claim::AllNamespaces => (0, 0),
    };
    let lock = libc::flock {
        l_type: LOCK_FOR_WRITING,
        l_whence: FROM_START,
        l_start: start,
        l_len: length,
        l_pid: 0,
    };
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(Claimed { _file: file }),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(Fault::Claimed),
        Err(errno) => Err(Fault::Io(errno.into())),
    }
}

/// `F_WRLCK` and `SEEK_SET`, in the type that the structure has for them.
const LOCK_FOR_WRITING: libc::c_short = 1;
const FROM_START: libc::c_short = 0;

fn lock_file(path: &Path) -> PathBuf {
    let mut file = OsString::from(path);
    file.push("-probe");
    PathBuf::from(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netglass_model::NamespaceInode;

    #[test]
    fn a_namespace_has_one_probe() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let [one, other] = [1, 2].map(|inode| Claim::Namespace(NamespaceInode(inode)));
        let first = claim(&path, one).unwrap();
        assert!(matches!(claim(&path, one), Err(Fault::Claimed)));
        assert!(matches!(claim(&path, Claim::AllNamespaces), Err(Fault::Claimed)));
        let _second = claim(&path, other).unwrap();

        drop(first);
        let _again = claim(&path, one).unwrap();
    }

    #[test]
    fn a_probe_of_all_namespaces_is_the_only_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let all = claim(&path, Claim::AllNamespaces).unwrap();
        let one = Claim::Namespace(NamespaceInode(4_026_531_840));
        assert!(matches!(claim(&path, one), Err(Fault::Claimed)));
        drop(all);
        assert!(claim(&path, one).is_ok());
    }
}
