//! The live map.

use netglass_testing::{Namespace, Nginx, Running, Signal, link, require};

use crate::support::{Database, Probing, clients, server};

#[test]
fn the_map_shows_a_server_and_its_client_and_ends_with_the_ledger() {
    require!(root, command("nginx"), command("wrk"));
    let (client, host) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.9.9.1/24", &host, "10.9.9.2/24");
    let nginx = Nginx::new().listen("10.9.9.2:80").file("/page", 1000).start(&host);
    let mut wrk = client.command("wrk");
    wrk.args(["--connections", "4", "--threads", "1", "--duration", "60s", "http://10.9.9.2/page"]);
    let wrk = Running::spawn(wrk);

    let database = Database::new();
    let up = Running::spawn(
        database.netglass(&host, &["up", "--all-namespaces", "--interval", "100ms"]),
    );
    let server_line = format!("10.9.9.2:80 ('nginx', pgid={})", nginx.id());
    let client_line = format!("└<-- 10.9.9.1:many ('wrk', pgid={})", wrk.id());
    // What went over old connections counts from the second look on.
    up.wait_for_lines(&client_line, 5);
    up.wait_for_line(&server_line);
    up.signal(Signal::INT);
    let finished = up.wait();
    assert!(finished.status.success(), "{finished:?}");
    let stdout = String::from_utf8(finished.stdout).unwrap();
    assert!(!stdout.contains('\u{1b}'), "no escape sequences where there is no terminal");
    let last = stdout.lines().last().unwrap();
    assert!(last.starts_with("ledger: ") && last.ends_with(" 0 skipped"), "{last}");
    let map = stdout.rsplit("\n\n").nth(1).unwrap();
    let of_client = map.lines().find(|line| line.starts_with(&client_line)).unwrap();
    assert!(of_client.contains("KiB") || of_client.contains("MiB"), "{of_client}");
}

#[test]
fn a_terminal_is_given_back_as_it_was() {
    require!(root, command("script"));
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let _clients = clients(&host, "127.0.0.1:8080", 1);
    let database = Database::new();
    let netglass = database.netglass(&host, &["up", "--interval", "50ms"]);
    let line = std::iter::once(netglass.get_program())
        .chain(netglass.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect::<Vec<_>>()
        .join(" ");
    let mut script = host.command("script");
    script.args(["--quiet", "--return", "--command", &format!("exec {line}"), "/dev/null"]);
    for (name, value) in netglass.get_envs() {
        if let Some(value) = value {
            script.env(name, value);
        }
    }
    script.env("TERM", "xterm");
    let mut terminal = Running::spawn(script);
    terminal.wait_for_line("└<-- 127.0.0.1:many ('netglass-load', pgid=");
    terminal.write_stdin(b"\x03");
    let finished = terminal.wait();
    assert!(finished.status.success(), "{finished:?}");
    let stdout = String::from_utf8(finished.stdout).unwrap();
    let (before, after) = stdout.rsplit_once("\u{1b}[?1049l").expect("the second page is left");
    assert!(before.contains("\u{1b}[?1049h"), "the second page was entered");
    assert!(after.contains("ledger: "), "the ledger stands where it stays: {after:?}");
}

#[test]
fn the_map_of_a_probe_that_runs_already_is_shown() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let _clients = clients(&host, "127.0.0.1:8080", 3);
    let database = Database::new();
    let probe = Probing::start(&database, &host, &["--flush-interval", "10ms"]);
    probe.wait_until_seen(7);
    let up = Running::spawn(database.netglass(&host, &["up", "--interval", "50ms"]));
    up.wait_for_line("another probe of this host writes to");
    let line = up.wait_for_line("└<-- 127.0.0.1:many ('netglass-load', pgid=");
    assert_eq!(line.split_ascii_whitespace().nth(4), Some("3"), "counted once: {line}");
    up.signal(Signal::INT);
    let finished = up.wait();
    assert!(finished.status.success(), "{finished:?}");
    assert!(probe.end(Signal::TERM).status.success());
}
