//! `/proc/PID/stat` and `/proc/PID/status`: a name of any bytes stays one piece, a cut file is
//! refused or tells the same, and what was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netglass_fuzz::{prefixes, splice};
use netglass_kernel::process::stat::{Stat, parse, real_ids};

const STAT: &[u8] = b"4656 (a) S 7 (b) S 1 4650 4650 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 1000 10 99 1 2 777 0\n";
const STATUS: &[u8] = b"Name:\tx\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t33\t34\t35\t36\n";

fuzz_target!(|data: &[u8]| {
    for bytes in [data, &splice(STAT, data)] {
        stat(bytes);
    }
    for bytes in [data, &splice(STATUS, data)] {
        status(bytes);
    }
    // A name that the kernel could have: at most 15 bytes without NUL.
    let name: Vec<_> = data.iter().copied().filter(|&byte| byte != 0).take(15).collect();
    let line = [
        b"7 (".as_slice(),
        &name,
        b") S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25\n",
    ]
    .concat();
    assert_eq!(parse(&line).expect("a whole line").comm, name);
});

fn stat(bytes: &[u8]) {
    let whole = parse(bytes);
    for prefix in prefixes(bytes) {
        let is_name_whole = !bytes[prefix.len()..].contains(&b')');
        let (Some(cut), Some(whole)) = (parse(prefix), &whole) else { continue };
        if is_name_whole {
            // The last field that is read can itself be cut.
            let is_field_whole = prefix.last().is_some_and(u8::is_ascii_whitespace);
            let start_stack = if is_field_whole { whole.start_stack } else { cut.start_stack };
            assert_eq!(cut, Stat { start_stack, ..whole.clone() });
        }
    }
    let Some(stat) = whole else { return };
    assert!(stat.comm.len() < bytes.len());
    assert_eq!(parse(&write(&stat)), Some(stat));
}

fn write(stat: &Stat) -> Vec<u8> {
    let behind = format!(
        ") S {} {}{} {}{} {}\n",
        stat.ppid,
        stat.pgid,
        " 0".repeat(16),
        stat.start_ticks,
        " 0".repeat(5),
        stat.start_stack.unwrap_or(0),
    );
    [format!("{} (", stat.pid).as_bytes(), &stat.comm, behind.as_bytes()].concat()
}

fn status(bytes: &[u8]) {
    let (uid, gid) = real_ids(bytes);
    for prefix in prefixes(bytes).filter(|prefix| prefix.ends_with(b"\n")) {
        let (uid_then, gid_then) = real_ids(prefix);
        assert!(uid_then.is_none() || uid_then == uid, "the first line of its name counts");
        assert!(gid_then.is_none() || gid_then == gid, "the first line of its name counts");
    }
}
