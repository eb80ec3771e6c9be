//! What the kernel programs have no room for.

use netglass_testing::{Finished, Namespace, Running, Signal, load_command, require, run};

use super::{NEVER, assert_processes, run_load, wait_until_closed};
use crate::support::{Database, Edge, Ledger, Probing, load};

const PROCESSES: u64 = 50;

fn connections(edges: &[Edge]) -> u64 {
    edges.iter().map(|edge| edge.number("connections")).sum()
}

/// More flows than each processor adds up by itself, at either end: one for each client's address.
const FLOWS: u64 = 200;

/// A connection from each of many addresses, with an option that may leave little room; if so, it
/// says `said`.
#[track_caller]
fn from_many_addresses(
    interval: &str,
    option: &str,
    value: &str,
    said: Option<&str>,
) -> (Finished, Vec<Edge>) {
    let host = Namespace::new("host");
    let _server = load(&host, "churn-server --listen 127.0.0.1:8001");
    let mut clients = load(
        &host,
        &format!(
            "churn-clients --to 127.0.0.1:8001 --connections {FLOWS} --source 127.0.1.1 --sources \
             {FLOWS}"
        ),
    );
    let database = Database::new();
    let options = ["--flush-interval", NEVER, option, value];
    let probe = Probing::stream(interval, &database, &host, &options);
    run_load(&mut clients, usize::try_from(FLOWS).unwrap());
    wait_until_closed(&host);
    // While it runs.
    if let Some(line) = said {
        probe.wait_for_line(line);
    }
    (probe.end(Signal::TERM), database.edges(&host, &["--port", "8001"]))
}

#[test]
fn a_full_table_of_flows_is_counted_to_the_last_sighting() {
    require!(root, ebpf);
    let (finished, edges) = from_many_addresses(NEVER, "--max-kernel-flows", "1", None);
    assert!(finished.status.success(), "{finished:?}");
    let ledger = Ledger::read(&finished.stdout);
    assert!(ledger.skipped("map_full") > 0, "{ledger:?}");
    assert_eq!(ledger.skipped("map_full"), ledger.skipped_total(), "{ledger:?}");
    // Each end of each connection is one sighting, and there are a few listeners'. An edge may be
    // known from one of its ends alone.
    assert!(ledger.count("seen") >= 2 * FLOWS, "{ledger:?}");
    let stored = connections(&edges);
    assert!(stored < FLOWS && 2 * stored >= 2 * FLOWS - ledger.skipped("map_full"), "{edges:#?}");
}

#[test]
fn when_the_table_of_flows_is_full_the_option_to_raise_is_named() {
    require!(root, ebpf);
    let said = "raise --max-kernel-flows or shorten --interval";
    // It may be full only in the last collection.
    let (finished, edges) = from_many_addresses(NEVER, "--max-kernel-flows", "1", None);
    assert!(finished.status.success(), "{finished:?}");
    let stderr = String::from_utf8(finished.stderr).unwrap();
    assert_eq!(stderr.matches(said).count(), 1, "{stderr}");
    assert!(connections(&edges) <= FLOWS, "{edges:#?}");
}

#[test]
fn when_the_table_of_the_collector_is_full_the_option_to_raise_is_named() {
    require!(root, ebpf);
    let said = "raise --max-flows or --max-sockets";
    let (finished, edges) = from_many_addresses("50ms", "--max-flows", "1", Some(said));
    assert!(finished.status.success(), "{finished:?}");
    let ledger = Ledger::read(&finished.stdout);
    assert!(ledger.skipped("table_full") > 0, "{ledger:?}");
    assert_eq!(ledger.skipped("table_full"), ledger.skipped_total(), "{ledger:?}");
    assert!(edges.len() <= 1, "{edges:#?}");
}

#[test]
fn with_room_for_all_of_them_nothing_is_said() {
    require!(root, ebpf);
    let (finished, edges) = from_many_addresses(NEVER, "--max-kernel-flows", "1000", None);
    let ledger = Ledger::read(&finished.stdout);
    assert_eq!(ledger.skipped_total(), 0, "{ledger:?}");
    assert!(!String::from_utf8(finished.stderr).unwrap().contains("raise "));
    assert_eq!(connections(&edges), FLOWS, "{edges:#?}");
}

#[test]
fn without_room_in_the_table_of_connections_all_of_them_are_counted_all_the_same() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let server = load(&host, "churn-server --listen 127.0.0.1:8001 --answer 11");
    let database = Database::new();
    let options = ["--flush-interval", "200ms", "--max-kernel-connections", "3"];
    let probe = Probing::stream("20ms", &database, &host, &options);
    let lasting = load(&host, "hold-clients --to 127.0.0.1:8001 --connections 50 --send 1000");
    let mut short =
        load(&host, "churn-clients --to 127.0.0.1:8001 --connections 1000 --await-end --send 7");
    run_load(&mut short, 1000);
    probe.wait_for_collection();
    let finished = probe.end(Signal::TERM);
    let ledger = Ledger::read(&finished.stdout);
    assert_eq!(ledger.skipped_total(), 0, "{ledger:?}");
    let edges = database.edges(&host, &["--port", "8001"]);
    for (client, count, sent) in [(&lasting, 50, 50_000), (&short, 1000, 7000)] {
        let of_client = |edge: &&Edge| edge.number("client/process/pid") == u64::from(client.id());
        let edge = edges.iter().find(of_client).unwrap();
        assert_processes(edge, client.id(), server.id());
        assert_eq!(edge.text("server/attribution"), "socket");
        assert_eq!((edge.number("connections"), edge.number("failed")), (count, 0));
        assert_eq!(edge.number("bytes_sent"), sent);
    }
    assert_eq!(edges.len(), 2, "{edges:#?}");
}

#[test]
fn a_full_buffer_of_processes_is_counted() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let _server = load(&host, "churn-server --listen 127.0.0.1:8001");
    let database = Database::new();
    let options = ["--flush-interval", NEVER, "--process-buffer", "4096"];
    let probe = Probing::stream(NEVER, &database, &host, &options);
    let to = "127.0.0.1:8001";
    let load = load_command().display();
    run(host.command("sh").arg("-c").arg(format!(
        "for number in $(seq {PROCESSES}); do {load} hold-clients --to {to} </dev/null; done"
    )));
    wait_until_closed(&host);
    let finished = probe.end(Signal::TERM);
    let ledger = Ledger::read(&finished.stdout);
    assert!(ledger.lacking("process_buffer_full") > 0, "{ledger:?}");
    assert_eq!(ledger.skipped_total(), 0, "they are stored: {ledger:?}");
    let edges = database.edges(&host, &[]);
    assert_eq!(connections(&edges), PROCESSES, "{edges:#?}");
    let known = edges.iter().filter(|edge| !edge.get("client/process").is_null()).count();
    assert!(known > 0 && known < edges.len(), "{edges:#?}");
}

#[test]
fn processes_that_find_room_later_are_known_and_the_option_to_raise_is_named() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let _server = load(&host, "churn-server --listen 127.0.0.1:8001");
    let database = Database::new();
    let options = ["--flush-interval", "1h", "--process-buffer", "4096"];
    let probe = Probing::stream("200ms", &database, &host, &options);
    let mut clients: Vec<Running> =
        (0..20).map(|_| load(&host, "churn-clients --to 127.0.0.1:8001 --connections 1")).collect();
    // All at once, of which few find room, and then one after the other.
    for client in &mut clients {
        client.write_stdin(b"\n");
    }
    for client in &clients {
        client.wait_for_line("done 1");
    }
    drop(clients);
    probe.wait_for_line("raise --process-buffer or shorten --interval");
    probe.wait_for_collection();
    for _ in 0..5 {
        let mut client = load(&host, "churn-clients --to 127.0.0.1:8001 --connections 7");
        run_load(&mut client, 7);
        probe.wait_for_collection();
    }
    wait_until_closed(&host);
    let finished = probe.end(Signal::TERM);
    assert_eq!(Ledger::read(&finished.stdout).skipped_total(), 0);
    let edges = database.edges(&host, &[]);
    assert_eq!(connections(&edges), 20 + 35, "{edges:#?}");
    let of_seven = edges.iter().filter(|edge| edge.number("connections") == 7);
    assert_eq!(of_seven.filter(|edge| !edge.get("client/process").is_null()).count(), 5);
}
