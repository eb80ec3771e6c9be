//! Which process a socket belongs to.

use std::os::unix::ffi::OsStringExt;

use netglass_testing::{Namespace, Nginx, Running, copy_program, link, load_command, require};

use crate::support::{Database, clients, only_edge_to, server};

/// Every way to find owners.
const OWNERS: [&str; 2] = ["task-file", "procfs"];

#[test]
fn both_processes_of_a_connection_over_loopback_are_known_and_it_is_one_edge() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let server = server(&host, "127.0.0.1:8080");
    let client = clients(&host, "127.0.0.1:8080", 3);
    for owners in OWNERS {
        let database = Database::new();
        database.probe_once(&host, &["--owners", owners]);
        let edges = database.edges(&host, &[]);
        assert_eq!(edges.len(), 1, "{edges:#?}");
        let edge = &edges[0];
        assert_eq!(edge.ends(), "127.0.0.1 -> 127.0.0.1:8080");
        assert_eq!(edge.number("connections"), 3);
        assert_eq!(edge.number("client/process/pgid"), u64::from(client.id()));
        assert_eq!(edge.number("server/process/pgid"), u64::from(server.id()));
        assert_eq!(edge.text("client/attribution"), "socket");
        assert_eq!(edge.text("server/attribution"), "socket");
        assert_eq!(edge.number("client/netns"), host.inode());
        let exe = load_command().canonicalize().unwrap();
        assert_eq!(edge.text("server/process/exe"), exe.to_str().unwrap());
        assert_eq!(edge.number("server/process/uid"), 0);
        let command_line = edge.text("server/process/command_line");
        assert!(command_line.ends_with("hold-server --listen 127.0.0.1:8080"), "{command_line}");
    }
}

#[test]
fn a_server_and_its_workers_are_one_node_that_the_master_stands_for() {
    require!(root, ebpf, command("nginx"));
    let (client, server) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.9.0.1/24", &server, "10.9.0.2/24");
    let nginx = Nginx::new().workers(2).listen("10.9.0.2:80").start(&server);
    // Two clients, so that both ends are several processes.
    let _clients = [clients(&client, "10.9.0.2:80", 4), clients(&client, "10.9.0.2:80", 4)];
    for owners in OWNERS {
        let database = Database::new();
        database.probe_once(&server, &["--all-namespaces", "--owners", owners]);
        let edges = database.edges(&server, &["nginx"]);
        let edges: Vec<_> =
            edges.iter().filter(|edge| edge.text("server/address") == "10.9.0.2").collect();
        assert_eq!(edges.len(), 2, "an edge for each client: {edges:#?}");
        for edge in edges {
            assert_eq!(edge.number("server/process/pid"), u64::from(nginx.id()));
            assert_eq!(edge.text("server/process/comm"), "nginx");
            assert_eq!(edge.text("client/process/comm"), "netglass-load");
            assert_eq!(edge.number("connections"), 4);
        }
    }
}

#[test]
fn a_name_of_any_bytes_stays_one_piece() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let names: [(&[u8], &str); 4] = [
        (b"a) S 7 (b", "a) S 7 (b"),
        (b"it's [x]", "it's [x]"),
        (b"two\nlines", "two\nlines"),
        (b"not\xffutf8", "not\\xffutf8"),
    ];
    let mut running = Vec::new();
    for (port, (name, _)) in (8000..).zip(names) {
        let mut command = host.command(load_command());
        command.args(["named", "--comm"]).arg(std::ffi::OsString::from_vec(name.to_vec()));
        command.args(["--", "hold-server", "--listen", &format!("127.0.0.1:{port}")]);
        let server = Running::spawn(command);
        server.wait_for_line("ready");
        running.push(server);
        running.push(clients(&host, &format!("127.0.0.1:{port}"), 1));
    }
    for owners in OWNERS {
        let database = Database::new();
        database.probe_once(&host, &["--owners", owners]);
        let edges = database.edges(&host, &[]);
        for (port, (_, shown)) in (8000..).zip(names) {
            let edge = only_edge_to(&edges, port);
            assert_eq!(edge.text("server/process/comm"), shown);
            assert_eq!(edge.text("client/process/comm"), "netglass-load");
        }
        // A heading, and for each server its line and its client, and one client with its servers.
        let tree = database.tree(&host, &[]);
        assert_eq!(tree.lines().filter(|line| line.starts_with("127.0.0.1:80")).count(), 4);
        assert!(tree.contains("\n127.0.0.1:8002 ('two\\nlines', pgid="), "{tree}");
        assert!(tree.contains("\n127.0.0.1:8001 ('it\\'s [x]', pgid="), "{tree}");
    }
}

#[test]
fn a_user_without_privileges_is_told_what_it_cannot_see() {
    require!(root, command("setpriv"));
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let _client = clients(&host, "127.0.0.1:8080", 1);
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(65534), Some(65534)).unwrap();
    // The program's own directory need not be open to everybody.
    let program = directory.path().join("program");
    copy_program(env!("CARGO_BIN_EXE_netglass"), &program);

    let output =
        unprivileged(&host, &program, &["probe", "--once", "--all-namespaces"], &directory);
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("socket owners by the kernel's iterator"), "{stderr}");
    assert!(stderr.contains("the owners of all sockets: the open files of some"), "{stderr}");
    assert!(stderr.contains("all network namespaces: "), "{stderr}");
    assert!(directory.path().join("netglass/netglass.db").exists(), "the user's own database");

    let output = unprivileged(&host, &program, &["look", "--format", "json"], &directory);
    let edge: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(edge["connections"], 1);
    assert!(edge["client"]["process"].is_null() && edge["server"]["process"].is_null(), "{edge}");
}

fn unprivileged(
    host: &Namespace,
    program: &std::path::Path,
    arguments: &[&str],
    home: &tempfile::TempDir,
) -> std::process::Output {
    let mut command = host.command("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(program)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("XDG_DATA_HOME", home.path())
        .env("HOME", home.path());
    command.output().unwrap()
}

#[test]
fn a_process_that_shares_a_name_with_another_is_not_taken_for_it() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    // Client and server have one name and, as a script's children have, one process group.
    let load = load_command().display();
    let mut shell = host.command("sh");
    shell.arg("-c").arg(format!(
        // The server must not take the line that is meant for the shell.
        "tail -f /dev/null | {load} hold-server --listen 127.0.0.1:8080 &
        read go
        {load} hold-clients --to 127.0.0.1:8080 --connections 2",
    ));
    let mut script = Running::spawn(shell);
    script.wait_for_line("ready");
    script.write_stdin(b"go\n");
    script.wait_for_lines("ready", 2);
    let database = Database::new();
    database.probe_once(&host, &[]);
    let edges = database.edges(&host, &[]);
    let edge = only_edge_to(&edges, 8080);
    assert_eq!(edge.get("client/process/pgid"), edge.get("server/process/pgid"));
    assert_ne!(edge.get("client/process/pid"), edge.get("server/process/pid"));
    assert!(!database.tree(&host, &[]).contains("(cycle)"));
}

#[test]
fn in_a_pid_namespace_processes_have_its_ids() {
    require!(root, ebpf, command("unshare"));
    let host = Namespace::new("host");
    for owners in OWNERS {
        let database = Database::new();
        let probe = database.netglass(&host, &["probe", "--once", "--owners", owners]);
        // Two levels deep: the ids of each level are found by its number.
        let mut shell = host.command("unshare");
        shell.args(["--pid", "--fork", "--mount-proc", "unshare", "--pid", "--fork"]);
        shell.args(["--mount-proc", "setsid", "--fork", "--wait", "sh", "-c"]).arg(format!(
            "echo $$ > {directory}/shell
            tail -f /dev/null | {load} hold-server --listen 127.0.0.1:8080 > {directory}/out &
            until grep -q ready {directory}/out; do :; done
            {netglass}",
            directory = database.path().parent().unwrap().display(),
            load = load_command().display(),
            netglass = command_line(&probe),
        ));
        for (name, value) in probe.get_envs() {
            value.map(|value| shell.env(name, value));
        }
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{output:?}");

        let listening = database.edges(&host, &["--listening"]);
        let listener = &listening[0];
        let group = std::fs::read_to_string(database.path().with_file_name("shell")).unwrap();
        assert_eq!(listener.text("listener/process/comm"), "netglass-load");
        assert_eq!(listener.get("listener/process/pgid").to_string(), group.trim());
        let pid = listener.number("listener/process/pid");
        assert!(pid > 1 && pid < 30, "{owners}: {pid} of a few processes");
        let exe = load_command().canonicalize().unwrap();
        assert_eq!(listener.text("listener/process/exe"), exe.to_str().unwrap());
    }
}

/// The words of the program itself, without those that enter a namespace.
fn command_line(command: &std::process::Command) -> String {
    let words = command.get_args().skip_while(|word| *word != env!("CARGO_BIN_EXE_netglass"));
    words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}
