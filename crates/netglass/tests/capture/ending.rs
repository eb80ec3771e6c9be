//! How a capture ends: nothing is lost that the ledger does not name.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use netglass_testing::{Namespace, Running, Signal, require, run};

use crate::{
    frames::{many, pcap, udp},
    support::{Captured, Capturing, Place, lines_of, read_flows, wait_for},
};

/// One that reads standard input, which stays open.
fn reading(place: &Place, options: &[&str]) -> Running {
    let arguments = [&["-r", "-", "--stats-format", "json"], options].concat();
    Running::spawn(place.netglass(&arguments))
}

#[test]
fn a_signal_ends_it_with_everything_logged() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let mut running = reading(&place, &["--stats-interval", "50ms"]);
        running.write_stdin(&many(100, 10));
        // Though more could come.
        let capturing = Capturing::once_ready(running);
        wait_for(|| (capturing.ledger().packets("seen") == 100).then_some(()));
        let captured = capturing.end(signal);
        assert_eq!((captured.status, captured.flows.len()), (0, 10), "{captured:?}");
        let ledger = captured.ledger();
        assert_eq!(ledger.packets("in_flows"), 100);
        assert_eq!(ledger.output("standard output", "stored"), 10);
    }
}

#[test]
fn a_signal_ends_a_live_capture_with_a_ledger_for_people() {
    require!(root);
    let (place, host) = (Place::new(), Namespace::new("host"));
    let command = place.netglass_in(&host, &["-i", "lo", "--stats-interval", "50ms", "udp"]);
    let running = Running::spawn(command);
    running.wait_for_line("packets/s");
    let socket = host.inside(|| std::net::UdpSocket::bind("127.0.0.1:9000").unwrap());
    for _ in 0..10 {
        socket.send_to(b"packet", "127.0.0.1:9000").unwrap();
    }
    running.signal(Signal::INT);
    let captured = Captured::of(running.wait());
    assert_eq!((captured.status, captured.flows.len()), (0, 1), "{captured:?}");
    let stderr = &captured.stderr;
    for line in [
        "netglass: 10 packets = 10 in flows + 0 not IP + 0 malformed + 0 dropped by the kernel\n",
        "netglass: lo: 10 packets seen by the kernel = 10 taken + 0 dropped by it",
        "netglass: standard output: 1 flow record = 1 stored + 0 dropped",
    ] {
        assert!(stderr.contains(line), "{line:?} is not in {stderr}");
    }
}

#[test]
fn reports_come_at_their_interval_and_are_json_line_by_line() {
    require!(root);
    let (place, host) = (Place::new(), Namespace::new("host"));
    let capturing = place.begin(&host, &["-i", "lo", "--stats-interval", "50ms", "udp"]);
    let socket = host.inside(|| std::net::UdpSocket::bind("127.0.0.1:9000").unwrap());
    socket.send_to(b"packet", "127.0.0.1:9000").unwrap();
    wait_for(|| (capturing.ledger().packets("seen") == 1).then_some(()));
    let before = lines_of(&capturing.0.stderr(), "capture_statistics").len();
    capturing.0.wait_for_lines("\"capture_statistics\"", before + 2);
    let captured = capturing.end(Signal::TERM);
    let statistics = lines_of(captured.stderr.as_bytes(), "capture_statistics");
    assert_eq!(statistics.last().unwrap()["flows"], 1, "{statistics:?}");
    let sum = |name: &str| statistics.iter().map(|it| it[name].as_f64().unwrap()).sum::<f64>();
    assert!(sum("packets_per_second") > 0.0 && sum("bits_per_second") > 0.0, "{statistics:?}");
    for name in ["evicted", "dropped_by_kernel", "records_waiting"] {
        assert!(statistics.iter().all(|it| it[name] == 0), "{statistics:?}");
    }
    for line in captured.stderr.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(object["version"], 1, "{line}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let place = Place::new();
    place.file("in.pcap", many(100_000, 50_000));
    let mut command = place.netglass(&["-r", "in.pcap", "--stats-format", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(read_flows(line.as_bytes()).len(), 1);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let ledger = stderr.lines().last().unwrap();
    let ledger = crate::support::Ledger::read(ledger);
    // What nobody wanted any more is named.
    assert!(ledger.output("standard output", "dropped") > 0, "{ledger:?}");
}

/// Runs it where `small` is a disk with little room.
fn on_a_small_disk(place: &Place, size: &str, arguments: &[&str]) -> Captured {
    std::fs::create_dir(place.path("small")).unwrap();
    // In a mount namespace of its own, so that the disk goes with the process; what is on it is told.
    let script = format!(
        "mount -t tmpfs -o size={size} tmpfs small; \"$0\" \"$@\"; status=$?; wc -l small/* >&2; \
         exit $status"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    command.arg(env!("CARGO_BIN_EXE_netglass"));
    let arguments = [arguments, &["--stats-format", "json"]].concat();
    Captured::of(Running::spawn(place.capturing(command, arguments)).wait())
}

#[test]
fn a_full_disk_loses_what_the_ledger_names_and_nothing_of_other_outputs() {
    require!(root, command("unshare"), command("mount"));
    let place = Place::new();
    place.file("in.pcap", many(4000, 4000));
    let outputs = ["-r", "in.pcap", "-o", "file:small/flows.json", "-o", "file:all.json"];
    let captured = on_a_small_disk(&place, "512k", &outputs);
    assert_eq!(captured.status, 1, "{captured:?}");
    let ledger = captured.ledger();
    assert_eq!(ledger.packets("in_flows"), 4000);
    assert_eq!(ledger.output("all.json", "stored"), 4000);
    assert_eq!(read_flows(place.read("all.json").as_bytes()).len(), 4000);
    let stored = ledger.output("small/flows.json", "stored");
    assert!(stored < 4000, "{ledger:?}");
    // Whole lines, as many as are said to be stored.
    assert!(captured.stderr.contains(&format!("{stored} small/flows.json")), "{captured:?}");
    assert!(captured.stderr.contains("no space is left"), "{captured:?}");
}

#[test]
fn packets_that_a_full_disk_does_not_take_are_counted() {
    require!(root, command("unshare"), command("mount"));
    let place = Place::new();
    place.file("in.pcap", many(20_000, 10));
    let options = ["-r", "in.pcap", "-w", "small/out.pcapng", "-o", "file:all.json"];
    let captured = on_a_small_disk(&place, "512k", &options);
    assert_eq!(captured.status, 1, "{captured:?}");
    let ledger = captured.ledger();
    assert_eq!(ledger.packets("in_flows"), 20_000);
    assert_eq!(read_flows(place.read("all.json").as_bytes()).len(), 10);
    let file = |name: &str| ledger.get(&format!("/packet_file/{name}")).as_u64().unwrap();
    assert_eq!(file("packets"), 20_000);
    assert!(file("lost") > 0 && file("written") > 1000, "{ledger:?}");
    let told = captured.notes().iter().filter(|note| note.contains("No space left")).count();
    assert_eq!(told, 1, "{captured:?}");
    let lost = format!("{} written + {} lost", file("written"), file("lost"));
    assert!(captured.stderr.contains(&lost), "{captured:?}");
}

#[test]
fn a_pipe_is_waited_for_and_read_until_it_ends() {
    require!(command("mkfifo"));
    let place = Place::new();
    run(Command::new("mkfifo").arg(place.path("pipe")));
    let begin = || {
        let options = ["-r", "pipe", "--stats-format", "json", "--batch-interval", "10ms"];
        Capturing::once_ready(Running::spawn(place.netglass(&options)))
    };
    // Nobody writes, and it ends all the same.
    let captured = begin().end(Signal::TERM);
    assert_eq!((captured.status, captured.ledger().packets("seen")), (0, 0), "{captured:?}");

    let capturing = begin();
    let mut pipe = File::options().write(true).open(place.path("pipe")).unwrap();
    let packets = many(100, 10);
    // In the middle of a packet.
    let (first, rest) = packets.split_at(3000);
    pipe.write_all(first).unwrap();
    wait_for(|| (capturing.ledger().packets("seen") > 20).then_some(()));
    pipe.write_all(rest).unwrap();
    drop(pipe);
    let captured = Captured::of(capturing.0.wait());
    assert_eq!((captured.status, captured.flows.len()), (0, 10), "{captured:?}");
    assert_eq!(captured.ledger().packets("in_flows"), 100);
}

#[test]
fn a_file_that_is_moved_is_followed_by_another_one() {
    require!(command("setsid"));
    let place = Place::new();
    // Without a terminal, as a service.
    let program = Path::new(env!("CARGO_BIN_EXE_netglass"));
    let mut command = Command::new("setsid");
    command.args(["--wait"]).arg(program);
    let output = ["-o", "file:flows.json", "--batch-interval", "10ms", "--timeout", "1s"];
    let input = ["-r", "-", "--stats-format", "json"];
    let mut running = Running::spawn(place.capturing(command, [&input[..], &output].concat()));
    let stored = |count: u64| {
        wait_for(|| {
            let text = std::fs::read_to_string(place.path("flows.json")).unwrap_or_default();
            (text.lines().count() as u64 >= count).then_some(())
        });
    };
    // setsid(1) starts another process where it would have to be another group's.
    let id = running.id();
    let signal = |signal: &str| {
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let target = children.split_whitespace().next().map_or(id.to_string(), str::to_owned);
        run(Command::new("kill").args([signal, &target]));
    };
    // Each of its packets is the end of the conversations before it, but for the last ten.
    let packet = |second: f64| (second, udp("10.1.0.1:4000", "10.0.0.1:53", 30));
    let header = pcap(&[]);
    running.write_stdin(&header);
    let mut send = |from: u32| {
        let packets: Vec<_> = (from..from + 10).map(|it| packet(f64::from(it) * 10.0)).collect();
        running.write_stdin(&pcap(&packets)[header.len()..]);
    };
    send(0);
    stored(9);
    std::fs::rename(place.path("flows.json"), place.path("flows.json.1")).unwrap();
    // It is there again before there is anything to write.
    wait_for(|| place.path("flows.json").exists().then_some(()));
    send(10);
    stored(10);
    std::fs::rename(place.path("flows.json"), place.path("flows.json.2")).unwrap();
    signal("-HUP");
    send(20);
    stored(10);
    signal("-TERM");
    let captured = Captured::of(running.wait());
    assert_eq!(captured.status, 0, "{captured:?}");
    let counts = ["flows.json.1", "flows.json.2", "flows.json"]
        .map(|name| read_flows(place.read(name).as_bytes()).len());
    assert_eq!(counts.iter().sum::<usize>(), 30, "{counts:?}");
    assert_eq!(captured.ledger().output("flows.json", "stored"), 30);
}
