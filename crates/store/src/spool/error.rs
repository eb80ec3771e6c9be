//! What can go wrong with a spool.

use std::{
    io,
    path::{Path, PathBuf},
};

/// What can go wrong with a spool: what was being done, on which one, why it failed, and what to
/// try. What the spool holds is left as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The path leads to something else.
    #[error(
        "cannot use the spool {}: it is not a directory; name another one with --spool-dir",
        directory.display()
    )]
    NotDirectory {
        /// Which spool.
        directory: PathBuf,
    },

    /// Another probe uses it.
    #[error(
        "cannot use the spool {}: another netglass uses it; stop that one, or name another directory \
         with --spool-dir",
        directory.display()
    )]
    Locked {
        /// Which spool.
        directory: PathBuf,
    },

    /// A newer Netglass left something in it.
    #[error(
        "cannot use the spool {}: {} was written by a newer netglass (version {found}.{found_content} \
         of the format, and this one knows {known}.{known_content} at most); it was left untouched; \
         use the newer netglass, or name another directory with --spool-dir",
        directory.display(),
        file.display()
    )]
    Newer {
        /// Which spool.
        directory: PathBuf,
        /// Which of its files.
        file: PathBuf,
        /// The version of the file's layout.
        found: u16,
        /// The version of what its records hold.
        found_content: u16,
        /// The newest layout known here.
        known: u16,
        /// The newest contents known here.
        known_content: u16,
    },

    /// What waits in it is to be delivered by another verb.
    #[error(
        "cannot use the spool {}: {} was left by another verb of netglass, and was left untouched; \
         each needs a directory of its own: name another one with --spool-dir",
        directory.display(),
        file.display()
    )]
    OtherKind {
        /// Which spool.
        directory: PathBuf,
        /// Which of its files.
        file: PathBuf,
    },

    /// There is no space left on its disk.
    #[error(
        "cannot {action} the spool {}: no space is left on its disk; make room, or name another \
         directory with --spool-dir",
        directory.display()
    )]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// Which spool.
        directory: PathBuf,
    },

    /// It will never have room for this.
    #[error(
        "cannot write to the spool {}: what was seen takes {bytes} bytes, and there may be {limit}; \
         raise --spool-limit",
        directory.display()
    )]
    TooLarge {
        /// Which spool.
        directory: PathBuf,
        /// How much room it would take.
        bytes: u64,
        /// How much there may be.
        limit: u64,
    },

    /// The system does not let us at it, or fails to read or write it.
    #[error(
        "cannot {action} the spool {}: {reason}; check the disk and the permissions of the \
         directory, or name another one with --spool-dir",
        directory.display()
    )]
    Inaccessible {
        /// What was being done.
        action: &'static str,
        /// Which spool.
        directory: PathBuf,
        /// As the system said it.
        reason: io::Error,
    },
}

impl SpoolError {
    /// Says of a failed system call what was being done with which spool.
    pub(super) fn from_io(
        action: &'static str,
        directory: &Path,
    ) -> impl Fn(io::Error) -> Self + use<> {
        let directory = directory.to_owned();
        move |reason| {
            let directory = directory.clone();
            match reason.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::DiskFull { action, directory }
                }
                io::ErrorKind::NotADirectory => Self::NotDirectory { directory },
                _ => Self::Inaccessible { action, directory, reason },
            }
        }
    }
}
