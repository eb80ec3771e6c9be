//! Calls that are added up in the kernel, made by a program on sockets of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![cfg(feature = "ebpf")]

use std::{net::SocketAddr, process::Command, time::Duration};

use netglass_kernel::calls::{CallSelection, CallSums, Callers, SumOptions, SumsBy, THREADS};
use netglass_model::{CallName, CallSum, Direction, Transfer};
use netglass_testing::{Running, require};

const ROUNDS: u64 = 100;

/// Tells its port, and does each time when it is told so what `talk` says.
const BEGIN: &str = "
import socket, sys
listener = socket.create_server(('127.0.0.1', 0))
address = listener.getsockname()
print('port', address[1], flush=True)
for _ in sys.stdin:
    talk()
    print('done', flush=True)
";

/// Connections, one after the other, over each of which 4 bytes go there and back.
const TALK: &str = "
def talk(rounds=100):
    for _ in range(rounds):
        client = socket.create_connection(address)
        server, _ = listener.accept()
        client.send(b'ping')
        server.recv(4)
        server.send(b'pong')
        client.recv(4)
        client.close()
        server.close()
";

/// A program whose calls are added up.
struct Program {
    running: Running,
    address: SocketAddr,
    times: usize,
}

impl Program {
    fn start(talk: &str) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", &format!("{talk}{BEGIN}")]);
        let running = Running::spawn(command);
        let line = running.wait_for_line("port ");
        let port: u16 = line.trim_start_matches("port ").trim().parse().unwrap();
        Self { running, address: ([127, 0, 0, 1], port).into(), times: 0 }
    }

    fn add_up(&self, by: SumsBy, most: u32) -> CallSums {
        self.add_up_of(by, most, THREADS)
    }

    fn add_up_of(&self, by: SumsBy, most: u32, threads: u32) -> CallSums {
        let pids = vec![self.running.id()];
        let families = vec![2];
        let selection = CallSelection { pids, families, ..CallSelection::default() };
        CallSums::start(&SumOptions { selection, by, most, threads }).unwrap()
    }

    fn talk(&mut self) {
        self.running.write_stdin(b"\n");
        self.times += 1;
        self.running.wait_for_lines("done", self.times);
    }
}

fn finish(mut sums: CallSums) -> Vec<CallSum> {
    let mut found = Vec::new();
    sums.finish(&mut |sum| found.push(sum.clone())).unwrap();
    let counts = sums.counts().unwrap();
    assert_eq!(counts.seen, counts.filtered + counts.collected + counts.full, "{counts:?}");
    found
}

fn find(sums: &[CallSum], name: CallName, direction: Direction) -> Vec<&CallSum> {
    sums.iter().filter(|sum| sum.name == name && sum.direction == direction).collect()
}

#[track_caller]
fn only(sums: &[CallSum], name: CallName, direction: Direction) -> &CallSum {
    match find(sums, name, direction)[..] {
        [sum] => sum,
        _ => panic!("not one {name} of the {direction:?} end: {sums:#?}"),
    }
}

#[test]
fn connections_of_a_client_are_one_by_service() {
    require!(root, ebpf, command("python3"));
    let mut program = Program::start(TALK);
    let sums = program.add_up(SumsBy::Service, 1024);
    program.talk();
    let sums = finish(sums);
    for direction in [Direction::Active, Direction::Passive] {
        for (name, transfer) in
            [(CallName::Sendto, Transfer::Send), (CallName::Recvfrom, Transfer::Receive)]
        {
            let sum = only(&sums, name, direction);
            assert_eq!((sum.calls(), sum.bytes), (ROUNDS, 4 * ROUNDS));
            assert_eq!((sum.transfer, sum.fd, sum.error), (Some(transfer), None, None));
            assert_eq!(sum.process.pid, program.running.id());
            let process = Callers::new().unwrap().find(&sum.process);
            assert_eq!(process.comm, "python3");
            assert!(process.exe.as_ref().is_some_and(|exe| exe.contains("python3")), "{process:?}");
            let connection = sum.connection.unwrap();
            let ends = (connection.local.unwrap(), connection.remote.unwrap());
            let (service, client) = match direction {
                Direction::Active => (ends.1, ends.0),
                Direction::Passive => ends,
            };
            assert_eq!((service, client.port()), (program.address, 0));
            let median = sum.latencies.quantile(500).unwrap();
            assert!(median > Duration::ZERO && median <= sum.duration);
        }
        assert_eq!(only(&sums, CallName::Close, direction).calls(), ROUNDS);
    }
    let accepts = only(&sums, CallName::Accept4, Direction::Passive);
    assert_eq!((accepts.calls(), accepts.bytes), (ROUNDS, 0));
}

#[test]
fn calls_on_several_processors_are_one_sum_by_service() {
    require!(root, ebpf, command("python3"));
    let mut program = Program::start(
        "
import itertools, os
def talk():
    client = socket.create_connection(address)
    server, _ = listener.accept()
    processors = itertools.cycle(sorted(os.sched_getaffinity(0)))
    for _ in range(100):
        os.sched_setaffinity(0, {next(processors)})
        client.send(b'ping')
        server.recv(4)
",
    );
    let sums = program.add_up(SumsBy::Service, 1024);
    program.talk();
    let sums = finish(sums);
    for (name, direction) in
        [(CallName::Sendto, Direction::Active), (CallName::Recvfrom, Direction::Passive)]
    {
        let sum = only(&sums, name, direction);
        assert_eq!((sum.calls(), sum.bytes), (ROUNDS, 4 * ROUNDS));
        assert!(sum.latencies.quantile(500).unwrap() <= sum.duration);
    }
}

#[test]
fn every_connection_is_kept_apart_by_socket() {
    require!(root, ebpf, command("python3"));
    let mut program = Program::start(&TALK.replace("100", "3"));
    let mut sums = program.add_up(SumsBy::Socket, 4096);
    program.talk();
    let mut found = Vec::new();
    sums.collect(&mut |sum| found.push(sum.clone())).unwrap();
    let sent = find(&found, CallName::Sendto, Direction::Active);
    assert_eq!(sent.len(), 3, "{found:#?}");
    assert!(sent.iter().all(|sum| sum.calls() == 1 && sum.bytes == 4 && sum.fd.is_some()));
    let mut ports: Vec<_> =
        sent.iter().map(|sum| sum.connection.unwrap().local.unwrap().port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3);
    // What was collected is not told of once more.
    program.talk();
    assert_eq!(find(&finish(sums), CallName::Sendto, Direction::Active).len(), 3);
}

#[test]
fn calls_that_fail_are_kept_apart_by_error() {
    require!(root, ebpf, command("python3"));
    let mut program = Program::start(
        "
def talk():
    listener.close()
    for _ in range(3):
        socket.socket().connect_ex(address)
",
    );
    let sums = program.add_up(SumsBy::Service, 1024);
    program.talk();
    let sums = finish(sums);
    let refused = only(&sums, CallName::Connect, Direction::Active);
    assert_eq!((refused.error, refused.calls()), (Some(111), 3));
    assert_eq!(refused.connection.unwrap().remote, Some(program.address));
}

#[test]
fn datagrams_have_the_peer_that_the_call_names() {
    require!(root, ebpf, command("python3"));
    let mut program = Program::start(
        "
def talk():
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind(address)
    client = socket.socket(type=socket.SOCK_DGRAM)
    for _ in range(5):
        client.sendto(b'ping', address)
        server.recvfrom(10, socket.MSG_PEEK)
        server.recvfrom(10)
",
    );
    let sums = program.add_up(SumsBy::Service, 1024);
    program.talk();
    let sums = finish(sums);
    let sent = only(&sums, CallName::Sendto, Direction::Active);
    assert_eq!((sent.calls(), sent.bytes), (5, 20));
    assert_eq!(sent.connection.unwrap().remote, Some(program.address));
    let received = only(&sums, CallName::Recvfrom, Direction::Passive);
    // What is but looked at is not received.
    assert_eq!((received.calls(), received.bytes), (10, 20));
    let ends = received.connection.unwrap();
    assert_eq!(ends.local, Some(program.address));
    assert_eq!(ends.remote, Some(([127, 0, 0, 1], 0).into()));
}

#[test]
fn what_is_spliced_out_of_a_socket_is_received_and_what_is_spliced_into_it_is_sent() {
    require!(root, ebpf, command("python3"));
    let mut program = Program::start(
        "
import os
def talk():
    client = socket.create_connection(address)
    server, _ = listener.accept()
    out, into = os.pipe()
    client.send(b'a message')
    os.splice(server.fileno(), into, 9)
    os.splice(out, server.fileno(), 5)
    client.recv(5)
",
    );
    let sums = program.add_up(SumsBy::Service, 1024);
    program.talk();
    let sums = finish(sums);
    let mut spliced: Vec<_> = find(&sums, CallName::Splice, Direction::Passive)
        .into_iter()
        .map(|sum| (sum.bytes, sum.transfer.unwrap(), sum.calls()))
        .collect();
    spliced.sort_unstable_by_key(|&(bytes, ..)| bytes);
    assert_eq!(spliced, [(5, Transfer::Send, 1), (9, Transfer::Receive, 1)]);
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    require!(root, ebpf, command("python3"));
    let mut program = Program::start(TALK);
    let mut sums = program.add_up(SumsBy::Socket, 2);
    program.talk();
    let mut found = 0;
    sums.finish(&mut |_| found += 1).unwrap();
    let counts = sums.counts().unwrap();
    assert!(found > 0 && found <= 2 && counts.full > ROUNDS, "{counts:?}");
    assert_eq!(counts.seen, counts.filtered + counts.collected + counts.full);
}

#[test]
fn threads_without_a_slot_of_their_own_are_followed_as_well() {
    require!(root, ebpf, command("python3"));
    let mut program = Program::start(&format!(
        "
import threading
{TALK}
one = talk
lock = threading.Lock()
def rounds():
    for _ in range(25):
        with lock:
            one(1)
def talk():
    held, other = socket.socketpair()
    waits = threading.Thread(target=lambda: held.recv(1))
    waits.start()
    threads = [threading.Thread(target=rounds) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.send(b'x')
    waits.join()
"
    ));
    for threads in [1, 2, THREADS] {
        let sums = program.add_up_of(SumsBy::Service, 1024, threads);
        for _ in 0..2 {
            program.talk();
        }
        let sums = finish(sums);
        for name in [CallName::Sendto, CallName::Recvfrom, CallName::Close] {
            for direction in [Direction::Active, Direction::Passive] {
                let sum = only(&sums, name, direction);
                assert_eq!(sum.calls(), 2 * ROUNDS, "{threads} slots");
                assert_eq!(sum.latencies.timed(), sum.calls(), "{threads} slots");
            }
        }
    }
}
