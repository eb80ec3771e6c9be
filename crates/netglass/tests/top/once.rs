//! One interval on standard output.

use std::process::Stdio;

use netglass_testing::{Place, Running, require};
use serde_json::Value;

use crate::{Talk, top};

#[test]
fn programs_get_json() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let talk = Talk::start("once");
    let options = ["--once", "--format", "json", "--interval", "500ms", "-p", &talk.pids()];
    let finished = Running::spawn(top(&place, options)).wait();
    let stderr = String::from_utf8(finished.stderr).unwrap();
    assert!(finished.status.success(), "{stderr}");
    let text = String::from_utf8(finished.stdout).unwrap();
    let objects: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [one, other] = objects.as_slice() else { panic!("{text}") };
    let throughput =
        |it: &Value| it["bytes_sent"].as_u64().unwrap() + it["bytes_received"].as_u64().unwrap();
    assert!(throughput(one) >= throughput(other), "{text}");
    let asker = objects.iter().find(|it| it["pid"] == talk.asker).unwrap();
    let number = |it: &Value| it.as_u64().unwrap();
    assert_eq!(
        (&asker["version"], &asker["comm"], &asker["user"]),
        (&1.into(), &"asker".into(), &"root".into())
    );
    assert_eq!(asker["ppid"], talk.running.id());
    assert!(number(&asker["interval_ns"]) >= 500_000_000);
    // Each time it sends 1000 bytes, receives 4000, and reads once in vain.
    let rounds = number(&asker["by_call"]["sendto"]);
    let near = |count: u64, expected: u64| count.abs_diff(expected) <= expected / 10 + 4;
    assert!(rounds > 10, "{asker}");
    assert!(near(number(&asker["bytes_sent"]), rounds * 1000), "{asker}");
    assert!(near(number(&asker["bytes_received"]), rounds * 4000), "{asker}");
    assert!(near(number(&asker["by_error"]["EAGAIN"]), rounds), "{asker}");
    assert_eq!(asker["errors"], asker["by_error"]["EAGAIN"]);
    assert!(number(&asker["p50_ns"]) <= number(&asker["p99_ns"]));
    let ledger = stderr.lines().find(|line| line.contains("ledger: ")).unwrap();
    assert!(ledger.ends_with(" + 0 lost"), "{ledger}");
}

#[test]
fn people_get_a_table() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let talk = Talk::start("table");
    let options = ["--once", "--sort", "errors", "-p", &talk.pids()];
    let finished = Running::spawn(top(&place, options)).wait();
    let text = String::from_utf8(finished.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("PID") && lines[0].contains("ERRORS/s"), "{text}");
    assert!(lines[1].contains("asker") && lines[2].contains("echoer"), "{text}");
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let place = Place::new();
    let mut command = top(&place, [""; 0]);
    command.stdin(Stdio::null());
    let finished = Running::spawn(command).wait();
    let stderr = String::from_utf8(finished.stderr).unwrap();
    assert_eq!(finished.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--once"), "{stderr}");
    assert!(finished.stdout.is_empty());
}
