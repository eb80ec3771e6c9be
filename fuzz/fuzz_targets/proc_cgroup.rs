//! `/proc/PID/cgroup`: what is told stands in the file, and a path that was read can be written and
//! read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netglass_fuzz::{prefixes, splice};
use netglass_kernel::process::cgroup::parse;
use netglass_model::text_from_bytes;

const SAMPLES: [&[u8]; 3] = [
    b"0::/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n",
    b"3:memory:/m\n1:name=systemd:/machine.slice/machine-web.scope\n0::/\n",
    b"0::/lxc.payload.web/a:b\n",
];

fuzz_target!(|data: &[u8]| {
    check(data);
    for sample in SAMPLES {
        check(&splice(sample, data));
    }
    // Any path that the kernel could print: all but a newline is allowed in a name.
    let path: String = text_from_bytes(data).chars().filter(|&c| c != '\n').collect();
    let read = parse(format!("0::/{path}\n").as_bytes()).path;
    assert_eq!(read, Some(format!("/{path}")));
});

fn check(bytes: &[u8]) {
    let text = text_from_bytes(bytes);
    let cgroup = parse(bytes);
    for found in [&cgroup.path, &cgroup.container].into_iter().flatten() {
        assert!(text.contains(found.as_str()));
        assert!(!found.contains('\n'));
    }
    assert!(cgroup.container.as_ref().is_none_or(|container| !container.is_empty()));
    for prefix in prefixes(bytes).filter(|prefix| prefix.ends_with(b"\n")) {
        let container = parse(prefix).container;
        assert!(container.is_none() || container == cgroup.container, "the first one counts");
    }
    if let Some(path) = cgroup.path {
        let again = parse(format!("0::{path}\n").as_bytes());
        assert_eq!(again.path.as_ref(), Some(&path));
        assert!(again.container.is_none() || cgroup.container.is_some());
    }
}
