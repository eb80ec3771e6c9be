//! Network namespaces: which there are, and working inside one (`network_namespaces(7)`).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    thread,
};

use netglass_model::{NamespaceInode, NetworkNamespace, text_from_bytes};
use rustix::{
    fs::FsWord,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::Error;

/// Where namespaces have names: iproute2's directory, and Docker's.
const NAMED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// `NSFS_MAGIC` (`linux/magic.h`).
const NSFS_MAGIC: FsWord = 0x6e73_6673;

/// A process that keeps a namespace alive may end before the namespace is entered, so several
/// ways in are remembered.
const WAYS_IN: usize = 4;

/// The network namespace of the calling thread.
pub(crate) fn own() -> Result<NamespaceInode, Error> {
    let path = Path::new("/proc/thread-self/ns/net");
    let metadata = fs::metadata(path).map_err(|source| Error::read(path, source))?;
    Ok(NamespaceInode(metadata.ino()))
}

/// A network namespace of this host, and ways into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) identity: NetworkNamespace,
    ways_in: Vec<PathBuf>,
}

/// The namespaces of this host, as far as they can be seen.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    found: BTreeMap<NamespaceInode, Namespace>,
    /// Processes whose namespace could not be read for lack of privileges.
    pub(crate) denied: u64,
}

impl Namespaces {
    /// Finds every namespace that has a process or a name. Those that are open files only, such as
    /// a socket's in a namespace without processes, are not found.
    pub(crate) fn find() -> Result<Self, Error> {
        let mut namespaces = Self::default();
        for directory in NAMED {
            namespaces.find_named(Path::new(directory));
        }
        namespaces.find_of_processes()?;
        Ok(namespaces)
    }

    /// The namespace of one process; none where it has ended, or may not be read.
    pub(crate) fn of_process(pid: u32) -> Self {
        let mut namespaces = Self::default();
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        if let Ok(metadata) = fs::metadata(&path) {
            let inode = NamespaceInode(metadata.ino());
            for directory in NAMED {
                namespaces.find_named(Path::new(directory));
            }
            namespaces.found.retain(|&found, _| found == inode);
            namespaces.add(inode, path, None);
        }
        namespaces
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.found.values()
    }

    /// The namespace `inode`, with its name if it has one.
    pub(crate) fn identity(inode: NamespaceInode) -> NetworkNamespace {
        let mut namespaces = Self::default();
        for directory in NAMED {
            namespaces.find_named(Path::new(directory));
        }
        match namespaces.found.remove(&inode) {
            Some(namespace) => namespace.identity,
            None => NetworkNamespace { inode, name: None },
        }
    }

    fn find_named(&mut self, directory: &Path) {
        // Most hosts have no such directory, and a name may vanish while we look.
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            // A name whose mount failed or was undone is an ordinary file.
            let is_namespace = rustix::fs::statfs(&path).is_ok_and(|fs| fs.f_type == NSFS_MAGIC);
            if let (true, Ok(metadata)) = (is_namespace, fs::metadata(&path)) {
                let name = text_from_bytes(entry.file_name().as_encoded_bytes());
                self.add(NamespaceInode(metadata.ino()), path, Some(name));
            }
        }
    }

    fn find_of_processes(&mut self) -> Result<(), Error> {
        let entries = fs::read_dir("/proc").map_err(|source| Error::read("/proc", source))?;
        for entry in entries.flatten() {
            let is_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
            if !is_process {
                continue;
            }
            let path = entry.path().join("ns/net");
            match fs::metadata(&path) {
                Ok(metadata) => self.add(NamespaceInode(metadata.ino()), path, None),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.denied += 1,
                // The process ended, or is a zombie.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, inode: NamespaceInode, way_in: PathBuf, name: Option<String>) {
        let namespace = self.found.entry(inode).or_insert_with(|| Namespace {
            identity: NetworkNamespace { inode, name: None },
            ways_in: Vec::new(),
        });
        if namespace.identity.name.is_none() {
            namespace.identity.name = name;
        }
        if namespace.ways_in.len() < WAYS_IN {
            namespace.ways_in.push(way_in);
        }
    }
}

impl Namespace {
    /// Runs `work` on a thread inside the namespace; `None` if the namespace is gone.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<Option<T>, Error> {
        let Some(namespace) = self.open() else { return Ok(None) };
        let enter_and_work = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, enter_and_work)
                .map_err(|source| Error::Thread { doing: "enter a namespace", source })?;
            match thread.join() {
                Ok(Ok(result)) => Ok(Some(result)),
                Ok(Err(errno)) => {
                    let errno: rustix::io::Errno = errno;
                    Err(Error::EnterNamespace {
                        namespace: self.identity.to_string(),
                        source: errno.into(),
                    })
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn open(&self) -> Option<File> {
        self.ways_in.iter().find_map(|path| {
            let file = File::open(path).ok()?;
            // The process may have ended and its id be another's by now.
            let inode = file.metadata().ok()?.ino();
            (NamespaceInode(inode) == self.identity.inode).then_some(file)
        })
    }
}
