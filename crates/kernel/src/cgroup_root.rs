//! Where the control groups of version 2 are mounted (cgroups(7)).

use std::{
    fs::{self, File},
    path::PathBuf,
};

use netglass_model::text_from_bytes;

use crate::Error;

/// What to do where there is none.
pub(crate) const REMEDY: &str =
    "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified";

const MOUNTS: &str = "/proc/self/mountinfo";

/// Opens the root of the version 2 hierarchy. It is not always at `/sys/fs/cgroup`: where both
/// versions are in use, it is a directory below.
pub(crate) fn open() -> Result<File, Error> {
    let path = path()?;
    File::open(&path).map_err(|source| Error::read(path, source))
}

/// Where that root is.
pub(crate) fn path() -> Result<PathBuf, Error> {
    let mounts = fs::read(MOUNTS).map_err(|source| Error::read(MOUNTS, source))?;
    find(&mounts).ok_or(Error::NoControlGroups)
}

/// The first mount of the type `cgroup2` (`proc_pid_mountinfo(5)`).
fn find(mounts: &[u8]) -> Option<PathBuf> {
    text_from_bytes(mounts).lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let is_cgroup2 = file_system.split(' ').next() == Some("cgroup2");
        is_cgroup2.then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_wherever_it_is_mounted() {
        let mounts = b"24 1 0:22 / /sys rw,nosuid - sysfs sysfs rw\n\
            30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(find(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(find(b"24 1 0:22 / /sys rw - sysfs sysfs rw\n"), None);
        assert_eq!(find(b"\n - cgroup2\n"), None);
    }
}
