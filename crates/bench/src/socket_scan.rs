//! One scan of all TCP sockets of a namespace, with their processes.
//!
//! The scanned namespace holds both ends of every connection, so that there is one open file to be
//! found per socket: who searches processes would search those of the clients in any case, and
//! `ss -tnp`, whose time grows with the square of the open files, would look worse than it is.

use std::{
    io::BufRead,
    process::Stdio,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use netglass_testing::{Namespace, Running, load_command, requirement::find_command, run};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    bench::{Bench, Effort},
    netglass::netglass_program,
    race::{Contestant, Race},
    report::Report,
};

const SIZES: [(&str, usize); 3] = [("1k", 1_000), ("10k", 10_000), ("100k", 100_000)];
/// The size that the goals are about.
const GOAL_SIZE: usize = 100_000;

/// So many that none of them reaches the limit of open files, which root may not raise everywhere.
const PROCESSES: u16 = 8;
const FIRST_PORT: u16 = 5000;
const SERVER: &str = "10.0.0.1";
const CLIENTS: [&str; 4] = ["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"];

/// How long the kernel may take until both ends agree that a connection is established.
const PATIENCE: Duration = Duration::from_secs(60);

const NETGLASS: &str = "netglass probe --once";
const SS: &str = "ss -tn";
const SS_PROCESSES: &str = "ss -tnp";
const LSOF: &str = "lsof -nP -iTCP";

/// The benches of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let bench = |(label, count): (&str, usize)| Bench {
        name: format!("socket-scan-{label}"),
        about: format!(
            "{count} established TCP sockets of {} processes, the ends of {} connections; {} rounds",
            2 * PROCESSES,
            count / 2,
            effort.rounds
        ),
        measure: Box::new(move || measure(count, effort.rounds)),
    };
    SIZES.into_iter().map(bench).collect()
}

/// Fields are dropped in order: first the clients, so that no end waits for the other.
struct Connections {
    _clients: Running,
    _servers: Running,
    scanned: Namespace,
}

fn measure(count: usize, rounds: u32) -> Result<Report> {
    let connections = Rc::new(Connections::open(count)?);
    let mut contestants = vec![netglass(&connections, count)?];
    let mut notes = Vec::new();
    contestants.push(lister(&connections, SS, "ss", &["-tn"], count));
    contestants.push(lister(&connections, SS_PROCESSES, "ss", &["-tnp"], count));
    if find_command("lsof").is_some() {
        contestants.push(lister(&connections, LSOF, "lsof", &["-nP", "-iTCP"], count));
    } else {
        notes.push("lsof is not installed".to_owned());
    }
    let race = Race::run(&contestants, rounds)?;
    let goals = if count == GOAL_SIZE {
        vec![
            race.wall_goal(NETGLASS, SS_PROCESSES, 0.2),
            race.peak_memory_goal(NETGLASS, 64_000_000),
        ]
    } else {
        Vec::new()
    };
    Ok(Report { table: race.table(&[SS, SS_PROCESSES]), notes, failures: race.failures, goals })
}

impl Connections {
    fn open(count: usize) -> Result<Self> {
        let scanned = Namespace::new("scanned");
        for key in ["net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"] {
            scanned.sysctl(key, "65535");
        }
        let hosts = [SERVER].into_iter().chain(CLIENTS);
        scanned.add_addresses("lo", hosts.map(|host| format!("{host}/32")));

        let (server, processes) = (format!("{SERVER}:{FIRST_PORT}"), PROCESSES.to_string());
        let start = |arguments: &[&str]| {
            let mut command = scanned.command(load_command());
            command.args(arguments).args(["--processes", &processes]);
            let running = Running::spawn(command);
            running.wait_for_line("ready");
            running
        };
        let servers = start(&["hold-server", "--listen", &server]);
        let (total, sources) = ((count / 2).to_string(), CLIENTS.len().to_string());
        let options = ["--connections", &total, "--source", CLIENTS[0], "--sources", &sources];
        let clients = start(&[&["hold-clients", "--to", &server][..], &options].concat());
        let connections = Self { _clients: clients, _servers: servers, scanned };
        connections.wait_until_established(count)?;
        Ok(connections)
    }

    /// A client is ready when the server's end has yet to see the last packet of the handshake.
    fn wait_until_established(&self, count: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut shell = self.scanned.command("sh");
            let listed = run(shell.args(["-c", "ss -Htn state established | wc -l"]));
            let established = listed.trim();
            if established == count.to_string() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{established} of {count} sockets established");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// `ss` or `lsof`, which list each socket on a line.
fn lister(
    connections: &Rc<Connections>,
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    count: usize,
) -> Contestant {
    let names_processes = name != SS;
    let connections = Rc::clone(connections);
    let command = move || {
        let mut command = connections.scanned.command(program);
        command.args(arguments);
        command
    };
    Contestant::new(name, command, move |output| {
        let mut listed = 0;
        for line in output.lines() {
            let line = line?;
            // lsof shows the first nine letters of a process name.
            let is_named = !names_processes || line.contains("netglass-");
            listed += usize::from(is_named && line.contains("ESTAB"));
        }
        ensure!(listed == count, "{listed} of {count} sockets listed");
        Ok(())
    })
}

/// `netglass probe`, which writes what it sees to a database.
fn netglass(connections: &Rc<Connections>, count: usize) -> Result<Contestant> {
    let program = netglass_program();
    let folder = Rc::new(tempfile::tempdir().context("a temporary folder for the database")?);
    let probe = {
        let (connections, folder) = (Rc::clone(connections), Rc::clone(&folder));
        let program = program.clone();
        move || {
            let mut command = connections.scanned.command(&program);
            command.args(["probe", "--once", "--mode", "polling", "--db", &database(&folder)]);
            command
        }
    };
    let connections = Rc::clone(connections);
    let check = move |_: &mut dyn BufRead| {
        let mut look = connections.scanned.command(&program);
        look.args(["look", "--format", "json", "--db", &database(&folder)]);
        let output = look.stderr(Stdio::inherit()).output().context("running netglass look")?;
        ensure!(output.status.success(), "netglass look: {}", output.status);
        let attributed = attributed_connections(&String::from_utf8_lossy(&output.stdout))?;
        let all = count as u64 / 2;
        ensure!(attributed == all, "{attributed} of {all} connections attributed at both ends");
        Ok(())
    };
    Ok(Contestant::new(NETGLASS, probe, check))
}

fn database(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("netglass.db").display())
}

/// The connections of the edges both of whose ends are our processes.
fn attributed_connections(edges: &str) -> Result<u64> {
    let mut sum = 0;
    for line in edges.lines() {
        let edge: Value = serde_json::from_str(line).context("reading an edge of netglass look")?;
        let is_ours = |end| edge[end]["process"]["comm"].as_str() == Some("netglass-load");
        if is_ours("client") && is_ours("server") {
            sum += edge["connections"].as_u64().context("an edge counts its connections")?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_of_which_both_ends_are_ours_count_as_attributed() {
        let edge = |client: &str, server: &str, connections: u32| {
            format!(r#"{{"client":{{"process":{client}}},"server":{{"process":{server}}},"#)
                + &format!(r#""connections":{connections}}}"#)
        };
        let ours = r#"{"comm":"netglass-load"}"#;
        let edges = [
            edge(ours, ours, 3),
            edge(ours, ours, 4),
            edge(ours, r#"{"comm":"nginx"}"#, 5),
            edge("null", ours, 6),
        ];
        assert_eq!(attributed_connections(&edges.join("\n")).unwrap(), 7);
    }
}
