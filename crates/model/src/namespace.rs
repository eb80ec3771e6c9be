//! Network namespaces.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The inode number of a network namespace in the kernel's nsfs: what `readlink /proc/PID/ns/net`
/// and `lsns` show. Unique on one host at one time.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NamespaceInode(pub u64);

/// `net:[4026531840]`, as the kernel writes it.
impl fmt::Display for NamespaceInode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.0)
    }
}

/// A network namespace and the name by which people know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkNamespace {
    // First, so that namespaces are in the order of their names: inodes change from boot to boot.
    /// Its name under `/run/netns`, if it has one.
    pub name: Option<String>,
    /// Which one it is.
    pub inode: NamespaceInode,
}

/// The name where there is one, else the inode.
impl fmt::Display for NetworkNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => self.inode.fmt(f),
        }
    }
}
