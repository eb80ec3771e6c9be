//! `/proc/PID/stat` and `/proc/PID/status`.

/// What is read of `/proc/PID/stat` (`proc_pid_stat(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: u32,
    /// The command name: any bytes, brackets and newlines too.
    pub comm: Vec<u8>,
    /// Parent's process id.
    pub ppid: u32,
    /// Process group id.
    pub pgid: u32,
    /// When the process started, in clock ticks since boot.
    pub start_ticks: u64,
    /// Where the stack begins, which exec(2) chooses anew and fork(2) does not; none where that
    /// may not be read.
    pub start_stack: Option<u64>,
}

/// Reads `/proc/PID/stat`; `None` where it is none.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Stat> {
    // The name may hold brackets itself, so it ends at the last one.
    let open = bytes.iter().position(|&byte| byte == b'(')?;
    let close = bytes.iter().rposition(|&byte| byte == b')')?;
    let pid = std::str::from_utf8(&bytes[..open]).ok()?.trim().parse().ok()?;
    let comm = bytes.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(&bytes[close + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // Counted as in the manual: field 3 is the state, 4 the parent, 5 the group, 22 the start, 28
    // the stack.
    let ppid = fields.nth(1)?.parse().ok()?;
    let pgid = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(16)?.parse().ok()?;
    let start_stack = fields.nth(5)?.parse().ok().filter(|&address| address != 0);
    Some(Stat { pid, comm, ppid, pgid, start_ticks, start_stack })
}

/// The real user and group id in `/proc/PID/status` (`proc_pid_status(5)`).
#[must_use]
pub fn real_ids(status: &[u8]) -> (Option<u32>, Option<u32>) {
    (first_number(status, b"Uid:"), first_number(status, b"Gid:"))
}

fn first_number(status: &[u8], key: &[u8]) -> Option<u32> {
    // The name in the first line is escaped by the kernel, so a line is always a field's.
    let values = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(key))?;
    std::str::from_utf8(values).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(comm: &[u8]) -> Vec<u8> {
        let mut bytes = b"4656 (".to_vec();
        bytes.extend_from_slice(comm);
        bytes.extend_from_slice(
            b") S 1 4650 4650 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 1000 10 99 1 2 777 0\n",
        );
        bytes
    }

    #[test]
    fn a_name_may_hold_anything() {
        for comm in [&b"nginx"[..], b"a) S 7 (b", b"", b"two words", b"new\nline", b"\xff\xfe"] {
            let stat = parse(&line(comm)).unwrap();
            assert_eq!(stat.comm, comm);
            assert_eq!((stat.pid, stat.ppid, stat.pgid, stat.start_ticks), (4656, 1, 4650, 98765));
            assert_eq!(stat.start_stack, Some(777));
        }
    }

    #[test]
    fn a_file_that_is_cut_is_none() {
        let whole = line(b"nginx");
        for length in 0..whole.len() - 6 {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_real_ids_are_the_first_of_four() {
        let status = b"Name:\tUid:\\n\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t33\t34\t35\t36\n";
        assert_eq!(real_ids(status), (Some(1000), Some(33)));
        assert_eq!(real_ids(b"Uid:\n"), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = real_ids(&bytes);
        }

        #[test]
        fn any_name_is_read(comm in proptest::collection::vec(any::<u8>(), 0..16)) {
            prop_assert_eq!(parse(&line(&comm)).unwrap().comm, comm);
        }
    }
}
