//! Which processes are one: a server and its workers.

use std::sync::Arc;

use foldhash::HashMap;
use netglass_model::Process;

use super::process_key;

/// A group of processes, by its place in an order that does not depend on who was seen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GroupId(usize);

/// The groups of processes.
#[derive(Debug, Default)]
pub(super) struct Groups {
    oldest: Vec<Arc<Process>>,
}

impl Groups {
    /// The process that stands for the group: its oldest.
    pub(super) fn oldest(&self, group: GroupId) -> &Arc<Process> {
        &self.oldest[group.0]
    }
}

/// Puts those of the processes into one group that are of one host and one family, in the same
/// process group and under the same name.
///
/// Returns the groups, and that of each process.
pub(super) fn group(processes: &[(usize, Arc<Process>)]) -> (Groups, Vec<GroupId>) {
    type Identity<'a> = (usize, u32, u32, &'a str);

    let mut members: HashMap<Identity<'_>, Vec<usize>> = HashMap::default();
    for (index, (host, process)) in processes.iter().enumerate() {
        let identity = (*host, process.family, process.pgid, &*process.comm);
        members.entry(identity).or_default().push(index);
    }
    let age = |&index: &usize| {
        let process = &processes[index].1;
        (process.start_time, process.pid, process_key(process))
    };
    let mut oldest: Vec<(usize, usize, Vec<usize>)> = members
        .into_iter()
        .filter_map(|((host, ..), members)| {
            Some((host, members.iter().copied().min_by_key(age)?, members))
        })
        .collect();
    oldest.sort_by_key(|&(host, index, _)| (host, process_key(&processes[index].1)));

    let mut group_of = vec![GroupId(0); processes.len()];
    let mut groups = Groups::default();
    for (group, (_, index, members)) in oldest.into_iter().enumerate() {
        groups.oldest.push(Arc::clone(&processes[index].1));
        for member in members {
            group_of[member] = GroupId(group);
        }
    }
    (groups, group_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netglass_model::Timestamp;

    fn process(pid: u32, started: i64, pgid: u32, comm: &str) -> Arc<Process> {
        Arc::new(Process {
            pid,
            start_time: Timestamp::from_nanoseconds(started),
            pgid,
            ppid: 1,
            family: pgid,
            uid: None,
            gid: None,
            comm: comm.to_owned(),
            exe: None,
            cgroup: None,
            container: None,
            command_line: None,
        })
    }

    #[test]
    fn a_server_and_its_workers_are_one_and_the_oldest_stands_for_them() {
        let processes = [
            (0, process(12, 200, 10, "nginx")),
            (0, process(10, 100, 10, "nginx")),
            (0, process(9, 200, 10, "nginx")),
        ];
        let (groups, of) = group(&processes);
        assert!(of.iter().all(|&one| one == of[0]));
        assert_eq!(groups.oldest(of[0]).pid, 10);
    }

    #[test]
    fn equally_old_processes_are_stood_for_by_the_lowest_pid() {
        let processes = [(0, process(12, 1, 10, "sh")), (0, process(11, 1, 10, "sh"))];
        let (groups, of) = group(&processes);
        assert_eq!(groups.oldest(of[0]).pid, 11);
    }

    #[test]
    fn another_host_name_group_or_family_stays_apart() {
        let of_another_family = Process { family: 9, ..(*process(1, 1, 1, "nginx")).clone() };
        let processes = [
            (0, process(1, 1, 1, "nginx")),
            (1, process(1, 1, 1, "nginx")),
            (0, process(1, 1, 1, "curl")),
            (0, process(1, 1, 2, "nginx")),
            (0, Arc::new(of_another_family)),
        ];
        let (_, mut of) = group(&processes);
        of.sort_unstable();
        of.dedup();
        assert_eq!(of.len(), 5);
    }

    #[test]
    fn the_order_of_groups_does_not_depend_on_the_order_of_processes() {
        let mut processes = vec![
            (0, process(3, 1, 3, "c")),
            (0, process(1, 1, 1, "a")),
            (1, process(2, 1, 2, "b")),
        ];
        let (_, of) = group(&processes);
        processes.reverse();
        let (_, mut reversed) = group(&processes);
        reversed.reverse();
        assert_eq!(of, reversed);
    }
}
