//! Attempts that do not become connections, by the reason that the program is given.

use netglass_testing::require;

use super::{Hosts, NEVER, Watch, failures, run_load};
use crate::support::{Database, Edge, load};

const COUNT: u16 = 100;

#[test]
fn every_kind_of_failed_attempt_is_counted_as_what_it_was() {
    require!(root, ebpf);
    let hosts = Hosts::new();
    hosts.client.add_black_hole("10.9.21.1/24");
    hosts.client.add_black_hole("fd09:21::1/64");
    hosts.client.ip("route add unreachable 10.9.22.0/24");
    hosts.client.ip("route add unreachable fd09:22::/64");
    let (v4, v6) = (Hosts::SERVER_V4, Hosts::SERVER_V6);
    let _servers = [
        load(&hosts.server, &format!("reset-server --listen {v4}:5000")),
        load(&hosts.server, &format!("reset-server --listen [{v6}]:5000")),
    ];
    // How the load calls it, how we do, to whom; each address and port is another edge.
    let attempts = [
        ("refused", "refused", format!("{v4}:1")),
        ("refused", "refused", format!("[{v6}]:1")),
        ("timed-out", "timed_out", "10.9.21.9:2".to_owned()),
        ("timed-out", "timed_out", "[fd09:21::9]:2".to_owned()),
        ("unreachable", "unreachable", "10.9.22.9:3".to_owned()),
        ("unreachable", "unreachable", "[fd09:22::9]:3".to_owned()),
        ("no-route", "unreachable", "10.9.23.9:4".to_owned()),
        ("no-route", "unreachable", "[fd09:23::9]:4".to_owned()),
        ("reset", "reset", format!("{v4}:5000")),
        ("reset", "reset", format!("[{v6}]:5000")),
        ("abandoned", "abandoned", "10.9.21.9:6".to_owned()),
        ("abandoned", "abandoned", "[fd09:21::9]:6".to_owned()),
    ];
    let database = Database::new();
    let mut loads: Vec<_> = attempts
        .iter()
        .map(|(kind, _, to)| {
            let attempt = format!("failed-attempts --kind {kind} --to {to} --count {COUNT}");
            load(&hosts.client, &attempt)
        })
        .collect();
    let watch = Watch::new(NEVER, &database, &hosts.both());
    for load in &mut loads {
        run_load(load, COUNT.into());
    }
    let (edges, _) = watch.end();

    for ((_, kind, to), load) in attempts.iter().zip(&loads) {
        let to = to.replace(['[', ']'], "");
        let of =
            |edge: &Edge| format!("{}:{}", edge.text("server/address"), edge.number("server/port"));
        let found: Vec<_> = edges.iter().filter(|edge| of(edge) == to).collect();
        assert_eq!(found.len(), 1, "edges to {to} in {edges:#?}");
        let edge = found[0];
        assert_eq!(edge.number("failed"), u64::from(COUNT), "{edge:?}");
        assert_eq!(failures(edge), [((*kind).to_owned(), u64::from(COUNT))], "{edge:?}");
        assert_eq!(edge.number("client/process/pid"), u64::from(load.id()));
        // The server had a connection, until it reset it.
        let connections = if *kind == "reset" { u64::from(COUNT) } else { 0 };
        assert_eq!(edge.number("connections"), connections, "{edge:?}");
    }
    assert_eq!(edges.len(), attempts.len(), "{edges:#?}");
}
