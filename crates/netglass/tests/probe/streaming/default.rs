//! What is done when nobody says how.

use netglass_testing::{Namespace, Running, Signal, require};

use super::{assert_processes, run_load, wait_until_closed};
use crate::support::{Database, Ledger, Probing, clients, load, only_edge_to, wait_for};

const CHURN: &str = "churn-clients --to 127.0.0.1:5000 --connections 500";

#[test]
fn a_probe_streams() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let server = load(&host, "churn-server --listen 127.0.0.1:5000");
    let mut clients = load(&host, CHURN);
    let database = Database::new();
    let options = ["probe", "--format", "json", "--interval", "1h", "--flush-interval", "1h"];
    let mut command = database.netglass(&host, &options);
    command.env_remove("NETGLASS_MODE");
    let probe = Probing::once_ready(Running::spawn(command));
    run_load(&mut clients, 500);
    wait_until_closed(&host);
    let finished = probe.end(Signal::TERM);
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!(Ledger::read(&finished.stdout).skipped_total(), 0);
    let edges = database.edges(&host, &[]);
    let edge = only_edge_to(&edges, 5000);
    assert_processes(edge, clients.id(), server.id());
    assert_eq!(edge.number("connections"), 500);
}

#[test]
fn the_live_map_streams() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let server = load(&host, "churn-server --listen 127.0.0.1:5000");
    let _held = clients(&host, "127.0.0.1:5000", 1);
    let mut clients = load(&host, CHURN);
    let database = Database::new();
    let mut command = database.netglass(&host, &["up", "--interval", "50ms"]);
    command.env_remove("NETGLASS_MODE");
    let up = Running::spawn(command);
    // It shows what was there before.
    up.wait_for_line("└<-- 127.0.0.1:many ('netglass-load', pgid=");
    run_load(&mut clients, 500);
    let server_line = format!("127.0.0.1:5000 ('netglass-load', pgid={})", server.id());
    up.wait_for_line(&server_line);
    let of_client = |line: &str| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        line.contains(&format!("pgid={})", clients.id())) && words.get(4) == Some(&"500")
    };
    wait_for(|| {
        let stdout = String::from_utf8(up.stdout()).unwrap();
        stdout.lines().any(of_client).then_some(())
    });
    up.signal(Signal::INT);
    let finished = up.wait();
    assert!(finished.status.success(), "{finished:?}");
}
