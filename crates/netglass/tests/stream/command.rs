//! A command, followed from its first call to its last.

use std::{ffi::OsStr, io::Read as _, process::Stdio};

use netglass_testing::{Running, require};

use crate::support::Place;

fn words<'a>(words: &'a [&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(OsStr::new).collect()
}

#[test]
fn its_status_is_passed_on() {
    require!(root, ebpf);
    let place = Place::new();
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let streamed = place.follow(&[], &words(&["sh", "-c", script]));
        assert_eq!(streamed.status, Some(status), "{script}: {}", streamed.stderr);
    }
}

#[test]
fn it_interrupts_as_it_would_by_itself_and_who_follows_it_waits_for_its_turns() {
    require!(root, ebpf);
    // The 41st field of proc(5) is the policy: 0 is SCHED_OTHER, 3 is SCHED_BATCH.
    let script = "
        policy() { set -- $(cut -d ')' -f 2 /proc/$1/stat); echo ${39}; }
        for i in $(seq 1000); do
            [ $(policy $PPID) = 3 ] && exit $(policy $$)
            sleep 0.01
        done
        exit 9";
    let streamed = Place::new().follow(&[], &words(&["sh", "-c", script]));
    assert_eq!(streamed.status, Some(0), "{}", streamed.stderr);
}

#[test]
fn one_that_does_not_exist_or_cannot_be_run_says_so() {
    require!(root, ebpf);
    let place = Place::new();
    let streamed = place.follow(&[], &words(&["/nowhere/nothing"]));
    assert_eq!(streamed.status, Some(127));
    assert!(streamed.stderr.contains("no such command"), "{}", streamed.stderr);
    let streamed = place.follow(&[], &words(&["/etc/hostname"]));
    assert_eq!(streamed.status, Some(126));
}

#[test]
fn all_calls_of_it_and_its_children_appear_once_and_in_order() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let script = "\
import os, socket
a, b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
b.bind(('127.0.0.1', 0))
a.connect(b.getsockname())
for number in range(25000):
    assert a.send(b'x' * (number % 1000)) == number % 1000
    assert len(b.recv(1000)) == number % 1000
if os.fork() == 0:
    for number in range(25000):
        assert a.send(b'x' * (number % 1000)) == number % 1000
        assert len(b.recv(1000)) == number % 1000
    os._exit(0)
os.wait()
";
    let streamed = place.follow(&["--call", "send,recv"], &words(&["python3", "-c", script]));
    assert_eq!(streamed.status, Some(0), "{}", streamed.stderr);
    assert_eq!(streamed.calls.len(), 100_000);
    assert_eq!(streamed.ledger(), [100_000, 100_000, 0, 0]);
    let mut last = 0;
    for (index, call) in streamed.calls.iter().enumerate() {
        let name = if index % 2 == 0 { "sendto" } else { "recvfrom" };
        assert_eq!((&call["call"], &call["return"]), (&name.into(), &(index / 2 % 1000).into()));
        let time = call["time_ns"].as_u64().unwrap();
        assert!(time >= last, "{call} after {last}");
        last = time;
    }
    let parent = &streamed.calls[0];
    let child = &streamed.calls[60_000];
    assert_eq!((&child["ppid"], &child["pcomm"]), (&parent["pid"], &parent["comm"]));
}

#[test]
fn nobody_who_reads_any_more_ends_it_quietly() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let script = "\
import socket
for _ in range(10000):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
";
    let mut command = place.stream(words(&["--", "python3", "-c", script]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut few = [0; 100];
    child.stdout.take().unwrap().read_exact(&mut few).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn a_call_that_does_not_return_is_shown_as_pending() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let script = "\
import socket
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
a.bind(('127.0.0.1', 0))
a.settimeout(None)
import signal
signal.setitimer(signal.ITIMER_REAL, 2.5)
signal.signal(signal.SIGALRM, lambda *_: exit(3))
a.recv(10)
";
    let streamed = place.follow(&["--call", "recvfrom"], &words(&["python3", "-c", script]));
    assert_eq!(streamed.status, Some(3), "{}", streamed.stderr);
    let phases: Vec<_> = streamed.calls.iter().map(|call| call["phase"].as_str()).collect();
    assert_eq!(phases, [Some("pending"), None]);
    let pending = &streamed.calls[0];
    assert!(pending["return"].is_null() && pending["duration_ns"].as_u64() > Some(1_000_000_000));
    assert_eq!(streamed.calls[1]["error"], "ERESTARTSYS");
}

#[test]
fn phases_are_the_beginning_and_the_return_of_each_call() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let script = "import socket; socket.socket().close()";
    let mut command = place.stream(words(&["--phases", "--", "python3", "-c", script]));
    let finished = Running::spawn({
        command.env("NO_COLOR", "1");
        command
    })
    .wait();
    let text = String::from_utf8(finished.stdout).unwrap();
    let functions: Vec<_> =
        text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(functions, ["socket", "socket_RETURN", "close", "close_RETURN"], "{text}");
}

#[test]
fn what_is_sent_and_received_is_shown_when_it_is_asked_for() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let script = "\
import socket
a, b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
b.bind(('127.0.0.1', 0))
a.connect(b.getsockname())
a.send(b'hello')
b.recv(100)
a.sendmsg([b'one', b'', b'two three'])
b.recvmsg_into([bytearray(2), bytearray(100)])
a.send(b'x' * 3000)
b.recv(5000)
a.send(b'')
";
    let arguments = ["python3", "-c", script];
    let command = words(&arguments);
    let streamed = place.follow(&["--payload", "10"], &command);
    let shown: Vec<_> = streamed
        .calls
        .iter()
        .filter(|call| call["length"].is_u64())
        .map(|call| call["payload_text"].as_str())
        .collect();
    let x = "x".repeat(10);
    let expected = ["hello", "hello", "onetwo thr", "onetwo thr", &x, &x];
    let expected: Vec<_> = expected.into_iter().map(Some).chain([None]).collect();
    assert_eq!(shown, expected, "{streamed:?}");
    assert_eq!(streamed.find("sendto")["payload_hex"], "68656c6c6f");
    assert_eq!(place.follow(&["--payload", "4096"], &command).ledger()[3], 0);

    let streamed = place.follow(&[], &command);
    assert!(streamed.calls.iter().all(|call| call["payload_hex"].is_null()));
}

#[test]
fn what_there_was_no_room_for_is_counted_and_said_at_once() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let script = "\
import socket
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
a.bind(('127.0.0.1', 0))
a.connect(a.getsockname())
for _ in range(40000):
    a.send(b'x')
    a.recv(1)
";
    // Room for a few calls: more come while nobody reads.
    let options = ["--buffer-size", "4KiB", "--call", "sendto,recvfrom"];
    let streamed = place.follow(&options, &words(&["python3", "-c", script]));
    assert_eq!(streamed.status, Some(0), "{}", streamed.stderr);
    let (losses, calls): (Vec<_>, Vec<_>) =
        streamed.calls.iter().partition(|call| call["lost"].is_u64());
    let lost: u64 = losses.iter().filter_map(|loss| loss["lost"].as_u64()).sum();
    assert!(losses.len() > 1 && losses.iter().all(|loss| loss["reason"] == "ring_full"));
    let [seen, written, filtered, in_ledger] = streamed.ledger();
    assert_eq!((seen, filtered, in_ledger), (80_000, 0, lost));
    assert_eq!((written, seen), (u64::try_from(calls.len()).unwrap(), written + lost));
    assert!(streamed.stderr.contains("calls were lost: the ring buffer was full"));
}
