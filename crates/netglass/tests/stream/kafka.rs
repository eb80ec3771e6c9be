//! Calls that go to Kafka: to librdkafka's own cluster for tests.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use netglass_testing::{Running, Signal, require};
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    mocking::MockCluster,
    producer::DefaultProducerContext,
};
use serde_json::Value;

use crate::support::Place;

const TOPIC: &str = "calls";
const ROUNDS: usize = 3000;

/// Sends datagrams of 1, 2, 3, … bytes to itself.
fn program() -> [String; 3] {
    let script = format!(
        "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 0))
for i in range({ROUNDS}):
    s.sendto(b'x' * (1 + i % 1000), s.getsockname())
    s.recv(2000)
"
    );
    ["python3".to_owned(), "-c".to_owned(), script]
}

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 3, 1).unwrap();
    cluster
}

/// All messages that the topic has, so many at least.
fn messages(brokers: &str, count: usize) -> Vec<(String, Value)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "test")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut found = Vec::new();
    // Beyond what is expected there is nothing.
    while Instant::now() < deadline {
        let patience = Duration::from_millis(if found.len() < count { 200 } else { 1000 });
        match consumer.poll(patience) {
            Some(message) => {
                let message = message.unwrap();
                let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                found.push((key, serde_json::from_slice(message.payload().unwrap()).unwrap()));
            }
            None if found.len() >= count => break,
            None => {}
        }
    }
    found
}

/// `written` and `lost` of the ledger.
fn ledger(stderr: &str) -> (u64, u64, u64) {
    let line = stderr.lines().rfind(|line| line.contains("ledger: ")).unwrap();
    let number = |what: &str| {
        let (before, _) = line.split_once(&format!(" {what}")).unwrap();
        before.rsplit(' ').next().unwrap().parse().unwrap()
    };
    (number("calls"), number("written"), number("lost"))
}

#[test]
fn each_call_arrives_once_and_in_order() {
    require!(root, ebpf, command("python3"));
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let place = Place::new();
    let options = ["--kafka", &brokers, "--topic", TOPIC, "--call", "sendto,recv", "--"];
    let program = program();
    let arguments = options.into_iter().chain(program.iter().map(String::as_str));
    let finished = Running::spawn(place.stream(arguments)).wait();
    let stderr = String::from_utf8(finished.stderr).unwrap();
    assert!(finished.status.success() && finished.stdout.is_empty(), "{stderr}");
    let (seen, written, lost) = ledger(&stderr);
    assert_eq!((seen, written, lost), (2 * ROUNDS as u64, seen, 0), "{stderr}");

    let messages = messages(&brokers, 2 * ROUNDS);
    assert_eq!(messages.len(), 2 * ROUNDS);
    let pid = |call: &Value| call["pid"].as_u64();
    assert!(messages.iter().all(|(key, call)| key.parse().ok() == pid(call)));
    let of = |name: &str| -> Vec<usize> {
        let calls = messages.iter().filter(|(_, call)| call["call"] == name);
        calls.map(|(_, call)| usize::try_from(call["return"].as_u64().unwrap()).unwrap()).collect()
    };
    let expected: Vec<usize> = (0..ROUNDS).map(|round| 1 + round % 1000).collect();
    assert!(of("sendto") == expected && of("recvfrom") == expected);
}

#[test]
fn calls_that_no_broker_takes_are_counted_and_nobody_waits() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    // Bound and not listening: nobody else gets the port.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let brokers = format!("127.0.0.1:{}", nobody.local_addr().unwrap().port());
    drop(nobody);
    let options = [
        "--kafka",
        &brokers,
        "--topic",
        TOPIC,
        "--kafka-timeout",
        "1s",
        "--call",
        "sendto,recv",
        "--",
    ];
    let program = program();
    let arguments = options.into_iter().chain(program.iter().map(String::as_str));
    let finished = Running::spawn(place.stream(arguments)).wait();
    let stderr = String::from_utf8(finished.stderr).unwrap();
    assert!(finished.status.success(), "{stderr}");
    assert_eq!(ledger(&stderr), (2 * ROUNDS as u64, 0, 2 * ROUNDS as u64), "{stderr}");
    assert!(stderr.contains(" not acknowledged"), "{stderr}");
    assert!(stderr.contains("no broker has acknowledged them in time"), "{stderr}");
    assert!(stderr.contains("netglass: Kafka: "), "{stderr}");
}

#[test]
fn a_queue_that_is_full_is_counted() {
    require!(root, ebpf, command("python3"));
    let cluster = cluster();
    cluster.broker_down(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let place = Place::new();
    let options = [
        "--kafka",
        &brokers,
        "--topic",
        TOPIC,
        "--kafka-queue",
        "64KiB",
        "--kafka-timeout",
        "1m",
        "--call",
        "sendto,recv",
        "--pid",
    ];
    let [python, flag, script] = program();
    let mut command = Command::new(python);
    command.args([flag, format!("import sys\nsys.stdin.readline()\n{script}print('done', flush=True)\nsys.stdin.readline()")]);
    let mut talking = Running::spawn(command);
    let pid = talking.id().to_string();
    let running = Running::spawn(place.stream(options.into_iter().chain([pid.as_str()])));
    running.wait_until_it_catches(Signal::USR1);
    running.signal(Signal::USR1);
    running.wait_for_lines("ledger: ", 1);
    talking.write_stdin(b"\n");
    talking.wait_for_line("done");
    running.wait_for_lines("more waits to be acknowledged than there is room for", 1);
    // What waited arrives once somebody is there.
    cluster.broker_up(1).unwrap();
    running.signal(Signal::INT);
    let stderr = String::from_utf8(running.wait().stderr).unwrap();
    let (seen, written, lost) = ledger(&stderr);
    assert!(written > 0 && lost > 0 && seen == written + lost, "{stderr}");
    assert!(stderr.contains(" queue full"), "{stderr}");
    assert_eq!(messages(&brokers, usize::try_from(written).unwrap()).len() as u64, written);
}

#[test]
fn what_does_not_go_together_is_wrong_usage() {
    let place = Place::new();
    for (options, part) in [
        (&["--kafka", "127.0.0.1:1"] as &[&str], "--topic"),
        (&["--kafka", "127.0.0.1:1", "--topic", "t", "-o", "file"], "--output-file"),
        (&["--kafka", "127.0.0.1:1", "--topic", "t", "--format", "csv"], "--format"),
        (&["--kafka", "127.0.0.1:1", "--topic", ""], "249 characters"),
    ] {
        let finished = Running::spawn(place.stream(options)).wait();
        let stderr = String::from_utf8(finished.stderr).unwrap();
        assert_eq!(finished.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}
