//! A child cannot outlive its guard, and a test waits for what it does.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::{panic, path::Path, process::Command, time::Duration};

use netglass_testing::{Namespace, Running, Signal, require};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_line_is_waited_for_on_either_stream() {
    let running = Running::spawn(shell("echo out; echo err >&2; read end"));
    assert_eq!(running.wait_for_line("ou"), "out");
    assert_eq!(running.wait_for_line("er"), "err");
    let finished = running.wait();
    assert_eq!((finished.stdout, finished.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
}

#[test]
#[should_panic(expected = "ended without 1 lines of \"never\"")]
fn a_line_that_cannot_come_any_more_is_not_waited_for() {
    Running::spawn(shell("echo something else")).wait_for_line("never");
}

#[test]
fn the_whole_process_group_is_killed_with_the_guard() {
    let running = Running::spawn(shell("sleep 1000 & echo child $!; wait"));
    let line = running.wait_for_line("child");
    let grandchild = line.trim_start_matches("child ").to_owned();
    drop(running);
    // Its parent is gone, so another process reaps it, at a time that we cannot know: a zombie is
    // as dead as none.
    let stat = Path::new("/proc").join(grandchild).join("stat");
    let is_alive = || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        stat.contains("(sleep)") && !stat.contains("(sleep) Z") && !stat.contains("(sleep) X")
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while is_alive() {
        assert!(std::time::Instant::now() < deadline, "the grandchild lives on");
        std::thread::yield_now();
    }
}

#[test]
fn a_child_has_used_time_and_memory() {
    let mut running = Running::spawn(shell(
        "echo set; read go; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; read end",
    ));
    running.wait_for_line("set");
    let before = running.cpu_time();
    running.write_stdin(b"\n");
    running.wait_for_line("done");
    let used = running.cpu_time().checked_sub(before).unwrap();
    assert!(used > Duration::from_millis(10) && used < Duration::from_secs(60), "{used:?}");
    let resident = running.resident_size().unwrap();
    assert!(resident > 100_000 && resident < 100_000_000, "{resident}");
}

#[test]
fn what_does_not_come_is_told_with_what_came_instead() {
    let running = Running::spawn(shell("echo something else; read end"));
    let reason = running.lines_within("wanted", 1, Duration::from_millis(100)).unwrap_err();
    assert!(reason.contains("still runs without 1 lines of \"wanted\""), "{reason}");
    running.wait_for_line("something else");
}

#[test]
fn a_signal_reaches_the_child() {
    let running = Running::spawn(shell("trap 'echo got it' USR1; echo set; read end"));
    running.wait_for_line("set");
    running.signal(Signal::USR1);
    running.wait_for_line("got it");
}

#[test]
fn a_port_is_waited_for_in_the_namespace_of_the_child() {
    require!(root);
    let namespace = Namespace::new("port");
    let mut listener = namespace.command(netglass_testing::load_command());
    listener.args(["hold-server", "--listen", "127.0.0.1:8080"]);
    Running::spawn(listener).wait_for_tcp(&namespace, 8080);
}

#[test]
fn a_port_of_a_child_that_ended_is_not_waited_for() {
    require!(root);
    let namespace = Namespace::new("port");
    let running = Running::spawn(namespace.command("true"));
    let wait = || running.wait_for_tcp(&namespace, 8080);
    assert!(panic::catch_unwind(panic::AssertUnwindSafe(wait)).is_err());
}
