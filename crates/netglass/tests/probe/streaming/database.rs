//! A database that is away for a while.

use netglass_testing::{Namespace, require};

use super::{Watch, assert_processes, run_load, wait_until_closed};
use crate::support::{Database, load};

#[test]
fn what_the_database_cannot_take_is_kept_until_it_can() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let server = load(&host, "churn-server --listen 127.0.0.1:5000");
    let to = "churn-clients --to 127.0.0.1:5000 --connections 1000 --send 3";
    let (mut before, mut meanwhile, mut after) =
        (load(&host, to), load(&host, to), load(&host, to));
    let database = Database::new();
    let watch = Watch::with("20ms", &database, &[&host], &["--flush-interval", "20ms"]);
    let probe = &watch.probes[0];
    run_load(&mut before, 1000);
    // Another program holds the database.
    let lock = rusqlite::Connection::open(database.path()).unwrap();
    lock.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    probe.wait_for_line("what was seen is kept and tried again");
    run_load(&mut meanwhile, 1000);
    lock.execute_batch("COMMIT").unwrap();
    probe.wait_for_line("the database is back; what had waited is stored");
    run_load(&mut after, 1000);
    wait_until_closed(&host);
    let (edges, _) = watch.end();
    assert_eq!(edges.len(), 3, "{edges:#?}");
    for client in [before, meanwhile, after] {
        let of = |edge: &&crate::support::Edge| {
            edge.number("client/process/pid") == u64::from(client.id())
        };
        let edge = edges.iter().find(of).unwrap();
        assert_processes(edge, client.id(), server.id());
        assert_eq!((edge.number("connections"), edge.number("failed")), (1000, 0));
        assert_eq!(edge.number("bytes_sent"), 3000);
    }
}
