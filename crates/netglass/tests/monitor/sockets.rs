//! Events of a socket: how they come, how it is opened again, and how it ends.

use std::{
    io::Write as _,
    os::unix::net::{UnixListener, UnixStream},
};

use netglass_testing::{Running, Signal, require, shared_folder};

use crate::support::{Ended, Place, drop, lines, trace};

/// A program that reads a socket, and the socket's other end.
struct Served {
    place: Place,
    listener: UnixListener,
}

impl Served {
    fn new() -> Self {
        let place = Place::new();
        let listener = UnixListener::bind(place.path("socket")).unwrap();
        Self { place, listener }
    }

    fn spawn(&self, arguments: &[&str]) -> (Running, UnixStream) {
        let arguments = [&["--socket", "socket", "--reconnect", "100ms"], arguments].concat();
        let running = Running::spawn(self.place.netglass(&arguments));
        (running, self.listener.accept().unwrap().0)
    }
}

fn end(running: Running, signal: Signal) -> Ended {
    running.signal(signal);
    Ended::of(running.wait())
}

#[test]
fn an_event_is_shown_once_it_is_whole() {
    let served = Served::new();
    let (running, mut agent) = served.spawn(&["--compat", "1.5"]);
    let events = lines(&[drop(133), trace()]);
    let (first, second) = events.split_at(100);
    agent.write_all(first).unwrap();
    agent.write_all(second).unwrap();
    // The connection is still open.
    running.wait_for_line("<- endpoint 1022");
    let ended = end(running, Signal::INT);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 2);
    ended.assert_ledger("2 events = 2 shown + 0 filtered out; 0 lost before they came");
}

#[test]
fn a_socket_that_is_closed_is_opened_again() {
    let served = Served::new();
    let (running, mut agent) = served.spawn(&["--compat", "1.5", "-w", "out"]);
    agent.write_all(&lines(&[drop(133)])).unwrap();
    agent.write_all(b"{\"hex\"").unwrap();
    running.wait_for_line("Policy denied");
    std::mem::drop(agent);
    let (mut agent, _) = served.listener.accept().unwrap();
    running.wait_for_line("socket is open again");
    agent.write_all(&lines(&[trace()])).unwrap();
    running.wait_for_line("<- endpoint 1022");
    let ended = end(running, Signal::TERM);
    assert_eq!(ended.status, 0, "{ended:?}");
    ended.assert_ledger(
        "2 events = 2 shown + 0 filtered out; 0 lost before they came; the socket was closed 1 \
         times; 6 bytes of an event without its end",
    );
    let again = served.place.monitor(&["-r", "out", "-j"]);
    assert!(again.objects().iter().all(|object| object["time"].is_string()), "{again:?}");
}

#[test]
fn the_ledger_is_told_when_it_is_asked_for() {
    let served = Served::new();
    let (running, _agent) = served.spawn(&[]);
    running.signal(Signal::USR1);
    running.wait_for_line("0 events = 0 shown");
    assert_eq!(end(running, Signal::INT).status, 0);
}

#[test]
fn an_agent_that_is_not_understood_ends_it() {
    let served = Served::new();
    let (running, mut agent) = served.spawn(&[]);
    // The answer of some other server.
    let answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\nServer: other\r\n\r\n";
    agent.write_all(answer.as_bytes()).unwrap();
    Ended::of(running.wait()).assert_fails(1, &["reading socket"]);
}

#[test]
fn drops_are_summed_up_at_an_interval() {
    let served = Served::new();
    let (running, mut agent) = served.spawn(&["--summary=200ms", "-j"]);
    agent.write_all(&lines(&[drop(133)])).unwrap();
    running.wait_for_line("\"drops\":1");
    running.wait_for_line("\"drops\":0");
    assert_eq!(end(running, Signal::INT).status, 0);
}

#[test]
fn the_stream_of_an_agent_comes_as_it_does_from_a_file() {
    require!(shared);
    for name in ["gob-stream.bin", "gob-stream-1_0.bin"] {
        let served = Served::new();
        let bytes = std::fs::read(shared_folder().join("vectors/cilium").join(name)).unwrap();
        let from_file = served.place.monitor_file(&bytes, &["--compat", "1.5", "-v"]);
        let (running, mut agent) = served.spawn(&["--compat", "1.5", "-v"]);
        for piece in bytes.chunks(61) {
            agent.write_all(piece).unwrap();
        }
        std::mem::drop(agent);
        let (_again, _) = served.listener.accept().unwrap();
        let ended = end(running, Signal::INT);
        assert_eq!(ended.status, 0, "{ended:?}");
        assert_eq!(ended.stdout, from_file.stdout);
    }
}
