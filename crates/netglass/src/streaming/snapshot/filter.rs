//! Which processes and which of their sockets are shown.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use netglass_kernel::{
    HeldSocket, Inventory,
    calls::{CallSelection, Children},
    socket::SocketName,
};
use netglass_model::{CommandName, Process};

pub(super) struct Filter<'a> {
    selection: &'a CallSelection,
}

impl<'a> Filter<'a> {
    pub(super) fn new(selection: &'a CallSelection) -> Self {
        Self { selection }
    }

    /// Leaves only the sockets that are selected, and says of each process whether it is. One without
    /// sockets is not, where it was asked for sockets.
    pub(super) fn select(&self, inventory: &mut Inventory) -> Vec<bool> {
        let selection = self.selection;
        let own = std::process::id();
        let mut of_processes: Vec<bool> =
            inventory.holders.iter().map(|holder| self.has(&holder.process)).collect();
        if selection.children == Children::Followed {
            add_children(inventory, &mut of_processes);
        }
        let asks_for_sockets = !selection.ports.is_empty()
            || !selection.networks.is_empty()
            || !selection.namespaces.is_empty();
        for (holder, is_selected) in inventory.holders.iter_mut().zip(&mut of_processes) {
            *is_selected &= holder.process.pid != own;
            if *is_selected {
                holder.sockets.retain(|socket| self.has_socket(socket));
            } else {
                holder.sockets.clear();
            }
            let process = &holder.process;
            // The kernel's own threads, and what has ended and is not waited for yet.
            let has_program = process.exe.is_some() || process.command_line.is_some();
            *is_selected &= !holder.sockets.is_empty() || (has_program && !asks_for_sockets);
        }
        of_processes
    }

    fn has(&self, process: &Process) -> bool {
        let CallSelection { pids, not_pids, comms, not_comms, uids, cgroups, .. } = self.selection;
        let comm = CommandName::new(process.comm.as_bytes());
        let is_any = |list_is_empty: bool, has: bool| list_is_empty || has;
        is_any(pids.is_empty(), pids.contains(&process.pid))
            && !not_pids.contains(&process.pid)
            && is_any(comms.is_empty(), comms.contains(&comm))
            && !not_comms.contains(&comm)
            && is_any(uids.is_empty(), process.uid.is_some_and(|uid| uids.contains(&uid)))
            && is_any(
                cgroups.is_empty(),
                process.cgroup.as_ref().is_some_and(|it| cgroups.iter().any(|own| own.holds(it))),
            )
    }

    fn has_socket(&self, socket: &HeldSocket) -> bool {
        let CallSelection { ports, networks, .. } = self.selection;
        let ends = || {
            let names =
                socket.listed.iter().flat_map(|(socket, _)| [&socket.local, &socket.remote]);
            names.filter_map(|name| match name {
                SocketName::Inet(endpoint) => Some(*endpoint),
                _ => None,
            })
        };
        let has_address = |end: SocketAddr| {
            networks.iter().any(|&(network, bits)| is_within(end.ip(), network, bits))
        };
        (ports.is_empty() || ends().any(|end| ports.contains(&end.port())))
            && (networks.is_empty() || ends().any(has_address))
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let has_same_start = |one: u128, other: u128, width: u8| {
        let insignificant = u32::from(width.saturating_sub(bits));
        one.checked_shr(insignificant).unwrap_or(0) == other.checked_shr(insignificant).unwrap_or(0)
    };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            has_same_start(address.to_bits().into(), network.to_bits().into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            has_same_start(address.to_bits(), network.to_bits(), 128)
        }
        _ => false,
    }
}

/// Selects the children of what is selected, and theirs.
fn add_children(inventory: &Inventory, selected: &mut [bool]) {
    let mut children: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, holder) in inventory.holders.iter().enumerate() {
        children.entry(holder.process.ppid).or_default().push(index);
    }
    let mut visited = HashSet::new();
    let mut next: Vec<usize> =
        selected.iter().enumerate().filter(|(_, it)| **it).map(|(index, _)| index).collect();
    while let Some(index) = next.pop() {
        if let Some(selected) = selected.get_mut(index).filter(|_| visited.insert(index)) {
            *selected = true;
            let pid = inventory.holders.get(index).map(|holder| holder.process.pid);
            next.extend(pid.and_then(|pid| children.get(&pid)).into_iter().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_within_its_network() {
        let within = |address: &str, network: &str, bits| {
            is_within(address.parse().unwrap(), network.parse().unwrap(), bits)
        };
        assert!(within("10.1.2.3", "10.0.0.0", 8) && !within("11.1.2.3", "10.0.0.0", 8));
        assert!(within("10.1.2.3", "10.1.2.3", 32) && !within("10.1.2.2", "10.1.2.3", 32));
        assert!(within("1.2.3.4", "0.0.0.0", 0) && within("::1", "::", 0));
        assert!(within("fe80::1", "fe80::", 10) && !within("10.1.2.3", "::", 0));
    }
}
