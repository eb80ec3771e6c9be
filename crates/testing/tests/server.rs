//! The real servers serve, each in its own namespace.
#![allow(clippy::unwrap_used, reason = "test code")]

use netglass_testing::{Dnsmasq, Namespace, Nginx, PostgreSql, link, require, run};

#[test]
fn nginx_serves_a_file_of_the_size_asked_for_by_both_families() {
    require!(root, command("nginx"), command("curl"));
    let (client, server) = (Namespace::new("client"), Namespace::new("server"));
    let devices = link(&client, "10.0.0.1/24", &server, "10.0.0.2/24");
    client.add_address(&devices.first, "fd00::1/64");
    server.add_address(&devices.second, "fd00::2/64");
    let nginx = Nginx::new().workers(3).listen("10.0.0.2:80").listen("[fd00::2]:80");
    let nginx = nginx.file("/folder/page", 12_345).start(&server);
    for host in ["10.0.0.2", "[fd00::2]"] {
        let url = format!("http://{host}/folder/page");
        let page = run(client.command("curl").args(["--silent", "--fail", &url]));
        assert_eq!(page.len(), 12_345);
    }
    let children = format!("/proc/{0}/task/{0}/children", nginx.id());
    assert_eq!(std::fs::read_to_string(children).unwrap().split_whitespace().count(), 3);
}

#[test]
fn nginx_passes_requests_on_to_another_server() {
    require!(root, command("nginx"), command("curl"));
    let namespaces = ["client", "front", "back"].map(Namespace::new);
    let [client, front, back] = &namespaces;
    link(client, "10.0.1.1/24", front, "10.0.1.2/24");
    link(front, "10.0.2.1/24", back, "10.0.2.2/24");
    let _back = Nginx::new().listen("10.0.2.2:8080").file("/api/x", 10).start(back);
    let _front = Nginx::new().listen("10.0.1.2:80").proxy("/api/", "10.0.2.2:8080").start(front);
    let url = "http://10.0.1.2/api/x";
    assert_eq!(run(client.command("curl").args(["--silent", "--fail", url])).len(), 10);
}

#[test]
fn dnsmasq_answers_for_the_names_it_was_given() {
    require!(root, command("dnsmasq"), command("curl"), command("nginx"));
    let (client, server) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.0.0.1/24", &server, "10.0.0.2/24");
    let dnsmasq = Dnsmasq::new("10.0.0.2").host("web.test", "10.0.0.2");
    let dnsmasq = dnsmasq.argument("--log-queries").start(&server);
    // A query by hand: id 1, recursion desired, one question of type A, class IN.
    let query = r"\0\1\1\0\0\1\0\0\0\0\0\0\3web\4test\0\0\1\0\1";
    let ask =
        format!("exec 3<>/dev/udp/10.0.0.2/53; printf '{query}' >&3; head -c 42 <&3 | od -An -tu1");
    let answer = run(client.command("bash").args(["-c", &ask]));
    let bytes: Vec<&str> = answer.split_whitespace().collect();
    assert_eq!(bytes[bytes.len() - 4..], ["10", "0", "0", "2"]);
    dnsmasq.running().wait_for_line("web.test is 10.0.0.2");
}

#[test]
fn a_cluster_answers_stops_and_starts_again() {
    require!(postgresql);
    let mut server = PostgreSql::new().start();
    server.create_database("fleet");
    server.sql("fleet", "CREATE TABLE one (answer int); INSERT INTO one VALUES (42)");
    for end in [PostgreSql::stop, PostgreSql::kill, PostgreSql::kill_postmaster] {
        end(&mut server);
        server.restart();
        assert_eq!(server.sql("fleet", "SELECT answer FROM one"), "42");
    }
    let process = format!("/proc/{}", server.id());
    drop(server);
    assert!(!std::path::Path::new(&process).exists(), "it is gone with its guard");
}

#[test]
fn a_cluster_that_is_paused_goes_on_and_ends_even_if_it_is_paused_for_ever() {
    require!(postgresql);
    let server = PostgreSql::new().start();
    let session = server.hold("postgres", "SELECT pg_advisory_xact_lock(1)");
    let processes = || {
        let id = server.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let children = children.split_whitespace().map(str::to_owned);
        children.chain([id.to_string()]).collect::<Vec<_>>()
    };
    let held = processes();
    let is_stopped = |id: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    };
    let paused = server.pause();
    assert!(held.len() > 2 && held.iter().all(is_stopped), "{held:?}");
    drop(paused);
    assert_eq!(server.sql("postgres", "SELECT pg_try_advisory_lock(1)"), "f");
    drop(session);

    let held = processes();
    std::mem::forget(server.pause());
    drop(server);
    for id in held {
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists(), "{id} is left");
    }
}

#[test]
fn a_cluster_is_reached_from_another_namespace_with_tls() {
    require!(root, postgresql, command("openssl"));
    let (client, host) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.0.0.1/24", &host, "10.0.0.2/24");
    let server = PostgreSql::new().tls("10.0.0.2").start_in(&host);
    let mut psql = client.command("psql");
    let url = server.url_at("10.0.0.2", 5432, "postgres");
    let root = server.root_certificate();
    psql.arg(format!("{url}?sslmode=verify-full&sslrootcert={}", root.display()));
    let answer = run(psql.args(["--tuples-only", "--no-align", "--command", "SELECT 6 * 7"]));
    assert_eq!(answer, "42\n");
}
