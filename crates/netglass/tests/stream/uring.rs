//! What is done by way of `io_uring`, which no system call names.

use std::process::Command;

use netglass_testing::{Namespace, Running, load_command, require};

use crate::support::Place;

const SERVER: &str = "127.0.0.1:7007";

fn is_allowed() -> bool {
    let check = Command::new(load_command()).args(["uring", "--check"]).output();
    check.is_ok_and(|output| output.status.success())
}

#[test]
fn operations_are_told_of_like_calls() {
    require!(root, ebpf);
    if !is_allowed() {
        return;
    }
    let place = Place::new();
    let namespace = Namespace::new("uring");
    let load = |arguments: &[&str]| {
        let mut command = namespace.command(load_command());
        command.arg("uring").args(arguments);
        Running::spawn(command)
    };
    let server = load(&["--serve", SERVER]);
    server.wait_for_line("ready");
    let mut client = load(&["--to", SERVER, "--count", "20"]);
    client.wait_for_line("ready");
    let ids = format!("{},{}", client.id(), server.id());
    let watching = place.watch(&["-p", &ids]);
    client.write_stdin(b"\n");
    client.wait_for_line("done");
    let streamed = watching.end();
    assert_eq!(streamed.ledger()[3], 0);
    let of = |process: &Running, name: &str| {
        let is_of = |call: &&serde_json::Value| {
            call["pid"] == process.id() && call["call"] == format!("io_uring:{name}")
        };
        streamed.calls.iter().filter(is_of).collect::<Vec<_>>()
    };
    let connects = of(&client, "connect");
    assert_eq!(connects.len(), 20, "{:?}", streamed.names());
    for connect in connects {
        assert_eq!((&connect["return"], &connect["remote"]), (&0.into(), &SERVER.into()));
        assert_eq!(connect["comm"], "netglass-load");
    }
    // The first one was submitted before anybody watched.
    let accepts = of(&server, "accept");
    assert_eq!(accepts.len(), 19, "{:?}", streamed.names());
    assert!(accepts.iter().any(|accept| accept["local"] == SERVER && !accept["remote"].is_null()));
    let bytes = |process: &Running| -> u64 {
        let received = ["recv", "read"].iter().flat_map(|name| of(process, name));
        received
            .filter(|call| call["protocol"] == "tcp")
            .filter_map(|call| call["return"].as_u64())
            .sum()
    };
    assert_eq!((bytes(&client), bytes(&server)), (180, 180));
}
