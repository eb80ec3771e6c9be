//! Finding the owners of sockets in `/proc/*/fd` (`proc_pid_fd(5)`): a link to read for each open
//! file of each process.

use std::{ffi::CStr, io, mem::MaybeUninit};

use rustix::{
    fs::{OFlags, RawDir, readlinkat_raw},
    io::Errno,
};

use super::{Held, OwnerIndex, Owners};
use crate::{
    Error,
    process::{directory, directory::ProcessDirectory, identity, process_ids},
};

/// Room for a few hundred directory entries.
pub(crate) const DIRECTORY_BUFFER_LENGTH: usize = 16 * 1024;

pub(super) fn read(owners: &mut Owners) -> Result<(), Error> {
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER_LENGTH];
    for pid in process_ids()? {
        match read_process(pid, &mut buffer, owners) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => owners.denied += 1,
            // The process ended while it was read.
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn read_process(pid: u32, buffer: &mut [MaybeUninit<u8>], owners: &mut Owners) -> io::Result<()> {
    let files = directory(pid)?;
    let mut owner: Option<OwnerIndex> = None;
    open_sockets(&files, buffer, &mut |_, inode| {
        let owner = match owner {
            Some(owner) => owner,
            None => *owner.insert(owners.add_process(identity(&files)?)),
        };
        owners.hold(inode, Held { owner, port_bound: None });
        Ok(())
    })
}

/// Calls `visit` with the descriptor and the inode of each socket that a process has open.
pub(crate) fn open_sockets(
    files: &ProcessDirectory,
    buffer: &mut [MaybeUninit<u8>],
    visit: &mut dyn FnMut(&CStr, u32) -> io::Result<()>,
) -> io::Result<()> {
    let descriptors = files.open("fd", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut entries = RawDir::new(&descriptors, buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        // "socket:[4294967295]" has 19 bytes; what is longer is no socket.
        let mut link = [MaybeUninit::uninit(); 32];
        let target = match readlinkat_raw(&descriptors, entry.file_name(), &mut link) {
            Ok((target, _)) => target,
            // The file was closed meanwhile, or the entry is "." or "..".
            Err(Errno::NOENT | Errno::INVAL) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if let Some(inode) = socket_inode(target) {
            visit(entry.file_name(), inode)?;
        }
    }
    Ok(())
}

/// The inode in `socket:[4711]`.
fn socket_inode(target: &[u8]) -> Option<u32> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_to_a_socket_has_its_inode() {
        assert_eq!(socket_inode(b"socket:[4711]"), Some(4711));
        for target in [&b"pipe:[4711]"[..], b"socket:[", b"socket:[]", b"socket:[x]", b"/tmp/a"] {
            assert_eq!(socket_inode(target), None);
        }
    }
}
