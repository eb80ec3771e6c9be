//! The processes and their open sockets, once.

use netglass_testing::{Namespace, Running, require};
use serde_json::Value;

use crate::support::Place;

/// A parent that listens, and its child, of another user, that is connected to it and has a socket of
/// each family.
const FAMILY: &str = r#"
import os, socket, sys
directory = sys.argv[1]
server = socket.create_server(("127.0.0.1", 7080))
path = socket.socket(socket.AF_UNIX)
path.bind(directory + "/a b")
path.listen(5)
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0608)
packet.bind(("lo", 0x0806))
ready, is_ready = os.pipe()
child = os.fork()
if child == 0:
    for held in (server, path, packet):
        held.close()
    # The real ones: what it may read stays the same.
    os.setresgid(54322, -1, -1)
    os.setresuid(54321, -1, -1)
    tcp = socket.create_connection(("127.0.0.1", 7080))
    tcp.sendall(b"five!")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 7081))
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(directory + "/a b")
    abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    abstract.bind("\0netglass-6b")
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    netlink.bind((0, 5))
    unbound = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    os.write(is_ready, b"x")
    sys.stdin.readline()
    os._exit(0)
accepted, _ = server.accept()
peer, _ = path.accept()
os.read(ready, 1)
print("child", child, flush=True)
os.wait()
"#;

struct Processes {
    namespace: Namespace,
    parent: Running,
    child: u32,
    directory: String,
}

fn start(place: &Place, label: &str) -> Processes {
    let namespace = Namespace::new(label);
    let directory = place.path("sockets");
    std::fs::create_dir(&directory).unwrap();
    let mut command = namespace.command("python3");
    command.args(["-c", FAMILY]).arg(&directory);
    let parent = Running::spawn(command);
    let line = parent.wait_for_line("child ");
    let child = line.trim_start_matches("child ").parse().unwrap();
    Processes { namespace, parent, child, directory: directory.to_str().unwrap().to_owned() }
}

fn snapshot(place: &Place, options: &[&str]) -> String {
    let finished = Running::spawn(place.stream(["--snapshot"].iter().chain(options))).wait();
    assert!(finished.status.success(), "{finished:?}");
    String::from_utf8(finished.stdout).unwrap()
}

fn objects(place: &Place, options: &[&str]) -> Vec<Value> {
    let text = snapshot(place, &[&["--format", "json"], options].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The socket of a process whose `key` has this value.
#[track_caller]
fn socket<'a>(process: &'a Value, key: &str, value: &str) -> &'a Value {
    let sockets = process["sockets"].as_array().unwrap();
    sockets.iter().find(|socket| socket[key] == value).unwrap_or_else(|| panic!("{process:#}"))
}

#[test]
fn sockets_of_each_family_are_under_their_process() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let processes = start(&place, "snapshot");
    let (parent, child) = (processes.parent.id(), processes.child);
    let selection = ["--family", "all", "--children", "-p", &parent.to_string()];
    let shown = objects(&place, &selection);
    let find = |pid: u32| shown.iter().find(|process| process["pid"] == pid).unwrap();
    let (parent, child) = (find(parent), find(child));
    assert_eq!((&parent["version"], &child["ppid"]), (&1.into(), &parent["pid"]));
    assert_eq!((&parent["user"], &parent["group"]), (&"root".into(), &"root".into()));
    assert_eq!((&child["uid"], &child["gid"]), (&54321.into(), &54322.into()));
    assert_eq!(child["user"], Value::Null);

    let listener = socket(parent, "state", "LISTEN");
    assert_eq!((&listener["family"], &listener["protocol"]), (&"AF_INET".into(), &"tcp".into()));
    assert_eq!((&listener["local"], &listener["remote"]), (&"127.0.0.1:7080".into(), &Value::Null));
    assert_eq!(listener["netns"], processes.namespace.inode());
    assert_eq!(listener["netns_name"], processes.namespace.name());
    let connection = socket(child, "remote", "127.0.0.1:7080");
    let accepted = socket(parent, "remote", connection["local"].as_str().unwrap());
    assert_eq!(connection["state"], "ESTABLISHED");
    assert_eq!((&connection["bytes_sent"], &accepted["receive_queue"]), (&5.into(), &5.into()));
    let datagrams = socket(child, "local", "127.0.0.1:7081");
    assert_eq!((&datagrams["protocol"], &datagrams["state"]), (&"udp".into(), &"CLOSE".into()));

    let path = format!("{}/a b", processes.directory);
    let unix = socket(child, "remote", &path);
    assert_eq!((&unix["family"], &unix["protocol"]), (&"AF_UNIX".into(), &"stream".into()));
    assert_eq!(unix["peer"]["pid"], parent["pid"]);
    assert_eq!(socket(child, "local", "@netglass-6b")["protocol"], "dgram");
    let netlink = socket(child, "family", "AF_NETLINK");
    assert_eq!((&netlink["subsystem"], &netlink["groups"]), (&"route".into(), &5.into()));
    let packet = socket(parent, "family", "AF_PACKET");
    assert_eq!((&packet["local"], &packet["ethertype"]), (&"lo".into(), &0x0806.into()));
    let unbound = socket(child, "family", "AF_INET6");
    assert_eq!((&unbound["protocol"], &unbound["local"]), (&"tcpv6".into(), &Value::Null));
}

#[test]
fn people_see_a_tree() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let processes = start(&place, "tree");
    let (parent, child) = (processes.parent.id().to_string(), processes.child.to_string());
    let text = snapshot(&place, &["--children", "-p", &parent]);
    let lines: Vec<&str> = text.lines().collect();
    let place_of = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    assert!(lines[0].trim_start().starts_with("PID"), "{text}");
    let line_of =
        |pid: &str| place_of(lines.iter().find(|line| line.trim_start().starts_with(pid)).unwrap());
    let (above, below) = (line_of(&parent), line_of(&child));
    let listener = place_of("LISTEN");
    assert!(above < listener && listener < below, "{text}");
    assert!(lines[listener].contains("tcp") && lines[listener].contains("127.0.0.1:7080"));
    assert!(lines[listener].ends_with(&format!("in {}", processes.namespace.name())), "{text}");
    assert!(lines[below].contains("54321  54322") && lines[below].contains("└─ python3"), "{text}");
    assert!(lines[below + 1].contains(" -> 127.0.0.1:7080"), "{text}");
    assert!(!text.contains("unix"), "only what --net stands for: {text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_selection_leaves_what_is_above_it() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let processes = start(&place, "select");
    let namespace = processes.namespace.name();
    let with_sockets = |options: &[&str]| {
        let shown = objects(&place, &[&["--netns", namespace], options].concat());
        let holds = |process: &&Value| !process["sockets"].as_array().unwrap().is_empty();
        let holders: Vec<u64> =
            shown.iter().filter(holds).map(|process| process["pid"].as_u64().unwrap()).collect();
        (shown, holders)
    };
    let (parent, child) = (u64::from(processes.parent.id()), u64::from(processes.child));
    let (shown, holders) = with_sockets(&["-P", "7081"]);
    assert_eq!(holders, [child]);
    assert!(shown.iter().any(|process| process["pid"] == parent), "its parent is shown: {shown:?}");
    assert_eq!(with_sockets(&["--addr", "127.0.0.0/8"]).1, [parent, child]);
    assert_eq!(with_sockets(&["--addr", "10.0.0.0/8"]).1, [0_u64; 0]);
    assert_eq!(with_sockets(&["--family", "packet"]).1, [parent]);
    assert_eq!(with_sockets(&["--uid", "54321"]).1, [child]);
    assert_eq!(with_sockets(&["--comm", "nobody"]).1, [0_u64; 0]);
}

#[test]
fn what_is_about_calls_alone_is_wrong_usage() {
    let place = Place::new();
    for (options, part) in [
        (&["--errors"] as &[&str], "--errors"),
        (&["--call", "connect"], "--call"),
        (&["--", "true"], "COMMAND"),
        (&["--format", "csv"], "--format table or json"),
    ] {
        let finished = Running::spawn(place.stream(["--snapshot"].iter().chain(options))).wait();
        let stderr = String::from_utf8(finished.stderr).unwrap();
        assert_eq!(finished.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}
