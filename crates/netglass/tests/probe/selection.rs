//! Which connections are kept, and what the ledger says of the others.

use netglass_testing::{Namespace, link, require};

use crate::support::{Database, clients, server};

#[test]
fn loopback_can_be_left_out_and_is_counted() {
    require!(root);
    let host = Namespace::new("host");
    let _servers = [server(&host, "127.0.0.1:8080"), server(&host, "[::1]:8080")];
    let _clients = [clients(&host, "127.0.0.1:8080", 2), clients(&host, "[::1]:8080", 3)];
    let database = Database::new();
    let ledger = database.ledger_of_one_scan(&host, &["--loopback", "exclude"]);
    assert_eq!((ledger.count("seen"), ledger.count("stored")), (12, 2), "two listeners");
    assert_eq!(ledger.skipped("loopback"), 10);
}

#[test]
fn peers_are_kept_by_their_address() {
    require!(root);
    let (client, host) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.9.7.1/24", &host, "10.9.7.2/24");
    link(&client, "192.0.2.1/24", &host, "192.0.2.2/24");
    let _servers = [server(&host, "10.9.7.2:8080"), server(&host, "192.0.2.2:8080")];
    let _clients = [clients(&client, "10.9.7.2:8080", 2), clients(&client, "192.0.2.2:8080", 3)];
    for (filter, kept, skipped) in
        [("all", 2 + 2 + 3, 0), ("private", 2 + 2, 3), ("public", 2 + 3, 2)]
    {
        let database = Database::new();
        let ledger = database.ledger_of_one_scan(&host, &["--filter", filter]);
        assert_eq!(
            (ledger.count("stored"), ledger.skipped("filter")),
            (kept, skipped),
            "--filter {filter}"
        );
    }
}
