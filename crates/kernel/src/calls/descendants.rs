//! The children that selected processes have already when it begins.

use std::collections::{HashMap, HashSet};

use netglass_model::CommandName;

use super::settings::CallSelection;
use crate::{
    Error,
    process::{
        directory::{directory, process_ids},
        stat,
    },
};

/// A process, as far as it is selected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: u32,
    is_selected: bool,
}

/// All descendants of the processes that are selected, as `/proc` tells of them. What ends while it
/// is looked at is left out. Control groups are inherited, so those are not looked at here.
pub(super) fn find(selection: &CallSelection) -> Result<Vec<u32>, Error> {
    let mut processes = HashMap::new();
    for pid in process_ids()? {
        let Ok(files) = directory(pid) else { continue };
        let Some(stat) = files.read("stat").ok().and_then(|bytes| stat::parse(&bytes)) else {
            continue;
        };
        let has_user = || {
            let status = files.read("status").unwrap_or_default();
            stat::real_ids(&status).0.is_some_and(|uid| selection.uids.contains(&uid))
        };
        let is_selected = selection.cgroups.is_empty()
            && (selection.pids.is_empty() || selection.pids.contains(&pid))
            && (selection.comms.is_empty()
                || selection.comms.contains(&CommandName::new(&stat.comm)))
            && (selection.uids.is_empty() || has_user());
        processes.insert(pid, Process { parent: stat.ppid, is_selected });
    }
    Ok(descendants(&processes))
}

fn descendants(processes: &HashMap<u32, Process>) -> Vec<u32> {
    let mut found = HashSet::new();
    for &pid in processes.keys() {
        let mut passed = HashSet::new();
        let mut at = pid;
        // Processes come and go while the list is made, so it may even lead in a circle.
        while let Some(process) = processes.get(&at).filter(|_| passed.insert(at)) {
            at = process.parent;
            if found.contains(&at) || processes.get(&at).is_some_and(|it| it.is_selected) {
                found.insert(pid);
                break;
            }
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_children_are_descendants() {
        let of = |parent, is_selected| Process { parent, is_selected };
        let processes = [
            (1, of(0, false)),
            (2, of(1, true)),
            (3, of(2, false)),
            (4, of(3, false)),
            (5, of(1, false)),
            // Never seen together, and yet in the list.
            (6, of(7, false)),
            (7, of(6, false)),
        ];
        assert_eq!(descendants(&HashMap::from(processes)), [3, 4]);
    }

    #[test]
    fn what_runs_is_found() {
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let selection = CallSelection { pids: vec![own], ..CallSelection::default() };
        let found = find(&selection);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.unwrap().contains(&child.id()));
    }
}
