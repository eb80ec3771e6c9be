//! The processes in the order in which a tree shows them.

use std::collections::HashMap;

use netglass_kernel::{HeldSocket, Inventory, SocketHolder};
use netglass_model::NetworkNamespace;

/// The processes that are shown: those that are selected, and what is above them.
pub(super) struct Tree<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    inventory: &'a Inventory,
    /// Who holds a socket, by its inode: the first one.
    by_inode: HashMap<u32, &'a SocketHolder>,
}

/// One process of the tree.
pub(super) struct Entry<'a> {
    pub(super) holder: &'a SocketHolder,
    /// Of the process and all above it, the uppermost first, whether it is the last one of its
    /// parent's children; empty for one without parent.
    pub(super) is_last: Vec<bool>,
    pub(super) has_children: bool,
}

impl<'a> Tree<'a> {
    /// A tree of the processes that are `selected`, each by its place.
    pub(super) fn new(inventory: &'a Inventory, selected: &[bool]) -> Self {
        let places: HashMap<u32, usize> = inventory
            .holders
            .iter()
            .enumerate()
            .map(|(place, holder)| (holder.process.pid, place))
            .collect();
        let parent_of = |place: usize| {
            let parent = inventory.holders.get(place)?.process.ppid;
            places.get(&parent).copied().filter(|&parent| parent != place)
        };
        let mut is_shown = vec![false; inventory.holders.len()];
        for (place, _) in selected.iter().enumerate().filter(|(_, is_selected)| **is_selected) {
            let mut next = Some(place);
            while let Some(shown) = next.and_then(|it| is_shown.get_mut(it)).filter(|it| !**it) {
                *shown = true;
                next = next.and_then(parent_of);
            }
        }
        let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
        for (place, _) in is_shown.iter().enumerate().filter(|(_, is_shown)| **is_shown) {
            children.entry(parent_of(place)).or_default().push(place);
        }
        let mut tree = Self { entries: Vec::new(), inventory, by_inode: HashMap::new() };
        for holder in &inventory.holders {
            for socket in &holder.sockets {
                tree.by_inode.entry(socket.inode).or_insert(holder);
            }
        }
        tree.fill(&mut children);
        tree
    }

    fn fill(&mut self, children: &mut HashMap<Option<usize>, Vec<usize>>) {
        // Without recursion: how deep processes stand under each other is up to them.
        let mut next: Vec<(usize, Vec<bool>)> = Vec::new();
        let roots = children.remove(&None).unwrap_or_default();
        next.extend(roots.into_iter().rev().map(|place| (place, Vec::new())));
        while let Some((place, is_last)) = next.pop() {
            let own = children.remove(&Some(place)).unwrap_or_default();
            let Some(holder) = self.inventory.holders.get(place) else { continue };
            let last = own.last().copied();
            next.extend(own.iter().rev().map(|&child| {
                let mut below = is_last.clone();
                below.push(Some(child) == last);
                (child, below)
            }));
            self.entries.push(Entry { holder, is_last, has_children: !own.is_empty() });
        }
    }

    /// The network namespace of a socket, where it is known.
    pub(super) fn namespace(&self, socket: &HeldSocket) -> Option<&'a NetworkNamespace> {
        let (_, index) = socket.listed.as_ref()?;
        self.inventory.namespaces.get(*index)
    }

    /// Who holds the other end of a Unix socket, and what that is.
    pub(super) fn peer(&self, socket: &HeldSocket) -> Option<(&'a SocketHolder, &'a HeldSocket)> {
        let inode = socket.listed.as_ref()?.0.peer_inode?;
        let holder = *self.by_inode.get(&inode)?;
        let peer = holder.sockets.iter().find(|other| other.inode == inode)?;
        Some((holder, peer))
    }
}
