//! Namespaces are apart from each other, can be linked and routed, and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::{fs, panic, path::Path, process::Command};

use netglass_testing::{Namespace, Running, link, require, run};

fn reaches(from: &Namespace, address: &str) -> bool {
    let program = "exec 3<>/dev/tcp/$0/9";
    // A refusal is an answer too: it comes from the address.
    let output = from.command("bash").args(["-c", program, address]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "nothing listens on port 9");
    message.contains("refused")
}

#[test]
fn linked_namespaces_reach_each_other_at_once_by_both_families() {
    require!(root);
    let (a, b) = (Namespace::new("a"), Namespace::new("b"));
    let devices = link(&a, "10.0.0.1/24", &b, "10.0.0.2/24");
    a.add_address(&devices.first, "fd00::1/64");
    b.add_address(&devices.second, "fd00::2/64");
    assert!(reaches(&a, "10.0.0.2"));
    assert!(reaches(&b, "fd00::1"));
}

#[test]
fn a_router_passes_on_between_its_links() {
    require!(root);
    let (a, router, b) = (Namespace::new("a"), Namespace::new("router"), Namespace::new("b"));
    link(&a, "10.0.1.2/24", &router, "10.0.1.1/24");
    link(&b, "10.0.2.2/24", &router, "10.0.2.1/24");
    router.forward();
    a.add_route("default", "10.0.1.1");
    b.add_route("10.0.1.0/24", "10.0.2.1");
    assert!(reaches(&a, "10.0.2.2"));
}

#[test]
fn a_namespace_has_another_inode_than_ours_and_its_processes_have_that() {
    require!(root);
    let namespace = Namespace::new("inode");
    let inside = run(namespace.command("readlink").arg("/proc/self/ns/net"));
    assert_eq!(inside.trim(), format!("net:[{}]", namespace.inode()));
    assert_ne!(inside, run(Command::new("readlink").arg("/proc/self/ns/net")));
}

#[test]
fn kernel_parameters_are_those_of_the_namespace() {
    require!(root);
    let read = || fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let before = read();
    let namespace = Namespace::new("sysctl");
    namespace.sysctl("net.ipv4.ip_local_port_range", "2000 2999");
    let inside = run(namespace.command("cat").arg("/proc/sys/net/ipv4/ip_local_port_range"));
    assert_eq!(inside, "2000\t2999\n");
    assert_eq!(read(), before);
}

#[test]
fn a_namespace_is_deleted_with_its_processes_when_the_test_panics() {
    require!(root);
    let namespace = Namespace::new("panic");
    let path = namespace.path();
    let mut inhabitant = namespace.command("sleep").arg("1000").spawn().unwrap();
    let inside = || fs::read_link(format!("/proc/{}/ns/net", inhabitant.id())).unwrap();
    while !inside().to_string_lossy().contains(&namespace.inode().to_string()) {
        std::thread::yield_now();
    }
    let unwound = panic::catch_unwind(panic::AssertUnwindSafe(move || {
        let _held = namespace;
        panic!("on purpose");
    }));
    assert!(unwound.is_err());
    assert!(!path.exists());
    assert!(!inhabitant.wait().unwrap().success());
}

#[test]
fn a_namespace_whose_process_was_killed_is_removed_by_the_next_one() {
    require!(root);
    // Its own process: ours has made namespaces already, and cleans up but once.
    let dead = Running::spawn(Command::new("true"));
    let stale = format!("ng-{}-0-stale", dead.id());
    drop(dead);
    run(Command::new("ip").args(["netns", "add", &stale]));
    let test = "linked_namespaces_reach_each_other_at_once_by_both_families";
    run(Command::new(std::env::current_exe().unwrap()).args(["--exact", test]));
    assert!(!Path::new("/run/netns").join(stale).exists());
}
