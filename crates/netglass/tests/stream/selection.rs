//! Which calls are told of.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::PathBuf,
    process,
};

use netglass_testing::{Namespace, Refusing, Running, require};

use crate::support::{Place, Streamed};

/// A round trip over TCP on a port of its own, between two threads of this process.
fn talk(address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = TcpStream::connect((address, port)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"ping").unwrap();
    let mut buffer = [0; 4];
    server.read_exact(&mut buffer).unwrap();
    port
}

fn own_pid() -> String {
    process::id().to_string()
}

fn has_port(streamed: &Streamed, port: u16) -> bool {
    let end = format!(":{port}");
    let ends_so = |call: &serde_json::Value, key: &str| {
        call[key].as_str().is_some_and(|endpoint| endpoint.ends_with(&end))
    };
    streamed.calls.iter().any(|call| ends_so(call, "local") || ends_so(call, "remote"))
}

#[test]
fn processes_by_id_and_by_name() {
    require!(root, ebpf);
    let place = Place::new();
    let watching = place.watch(&["--pid", &own_pid()]);
    let port = talk("127.0.0.1");
    let streamed = watching.end();
    assert!(has_port(&streamed, port));
    assert!(streamed.calls.iter().all(|call| call["pid"] == process::id()));

    let watching = place.watch(&["--not-pid", &own_pid()]);
    let port = talk("127.0.0.1");
    assert!(!has_port(&watching.end(), port));

    let comm = fs::read_to_string(format!("/proc/{}/comm", process::id())).unwrap();
    let watching = place.watch(&["--comm", &format!("nobody,{}", comm.trim())]);
    let port = talk("127.0.0.1");
    assert!(has_port(&watching.end(), port));

    let watching = place.watch(&["--not-comm", comm.trim()]);
    let port = talk("127.0.0.1");
    assert!(!has_port(&watching.end(), port));

    let watching = place.watch(&["--uid", "54321"]);
    let port = talk("127.0.0.1");
    assert!(!has_port(&watching.end(), port));

    let watching = place.watch(&["--uid", "54321,root", "--pid", &own_pid()]);
    let port = talk("127.0.0.1");
    assert!(has_port(&watching.end(), port));
}

#[test]
fn connections_by_port_address_and_call() {
    require!(root, ebpf);
    let place = Place::new();
    let pid = own_pid();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = datagrams.local_addr().unwrap().port();
    let watching = place.watch(&["-p", &pid, "-P", &format!("1,{port}")]);
    let other = talk("127.0.0.1");
    // Unconnected: the port is named by the call alone.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", ("127.0.0.1", port)).unwrap();
    let streamed = watching.end();
    assert!(!has_port(&streamed, other));
    assert_eq!(streamed.names(), ["sendto"]);
    let [seen, written, filtered, lost] = streamed.ledger();
    assert!(filtered > 0 && seen == written + filtered && lost == 0);

    let watching = place.watch(&["-p", &pid, "--addr", "127.7.0.0/16"]);
    let other = talk("127.0.0.1");
    let wanted = talk("127.7.1.1");
    let streamed = watching.end();
    assert!(has_port(&streamed, wanted) && !has_port(&streamed, other));

    let watching = place.watch(&["-p", &pid, "--call", "listen,connect"]);
    talk("127.0.0.1");
    let mut names = watching.end().names();
    names.sort();
    names.dedup();
    assert_eq!(names, ["connect", "listen"]);

    let watching = place.watch(&["-p", &pid, "--errors", "--call", "connect"]);
    let refusing = Refusing::tcp();
    talk("127.0.0.1");
    TcpStream::connect(refusing.address()).unwrap_err();
    let streamed = watching.end();
    assert_eq!(streamed.names(), ["connect"]);
    assert_eq!(streamed.calls[0]["error"], "ECONNREFUSED");
    assert_eq!(streamed.calls[0]["address"], refusing.address().to_string());
}

#[test]
fn sockets_by_family() {
    require!(root, ebpf);
    let place = Place::new();
    let pid = own_pid();
    let talk_unix = || {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.write_all(b"ping").unwrap();
        other.read_exact(&mut [0; 4]).unwrap();
    };
    let watching = place.watch(&["-p", &pid]);
    talk_unix();
    let streamed = watching.end();
    assert!(!streamed.calls.iter().any(|call| call["family"] == "AF_UNIX"));

    let watching = place.watch(&["-p", &pid, "--family", "unix"]);
    talk_unix();
    talk("127.0.0.1");
    let streamed = watching.end();
    assert!(streamed.names().contains(&"socketpair".to_owned()), "{streamed:?}");
    assert!(streamed.calls.iter().all(|call| call["family"] == "AF_UNIX"));
    assert_eq!(streamed.find("socketpair")["protocol"], "stream");

    let watching = place.watch(&["-p", &pid, "--family", "all"]);
    talk_unix();
    let port = talk("127.0.0.1");
    let streamed = watching.end();
    assert!(has_port(&streamed, port));
    assert!(streamed.calls.iter().any(|call| call["family"] == "AF_UNIX"));
}

#[test]
fn unix_sockets_have_paths() {
    require!(root, ebpf);
    let place = Place::new();
    let path = place.path("a.sock");
    let watching = place.watch(&["-p", &own_pid(), "--family", "unix"]);
    let listener = UnixListener::bind(&path).unwrap();
    let name = format!("netglass-{}", process::id());
    let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
    let other = UnixListener::bind_addr(&abstract_name).unwrap();
    for address in [listener.local_addr().unwrap(), abstract_name] {
        let mut client = UnixStream::connect_addr(&address).unwrap();
        client.write_all(b"ping").unwrap();
    }
    drop((listener, other));
    let streamed = watching.end();
    let path = path.to_str().unwrap();
    // Other tests of this process use Unix sockets at the same time.
    let own_thread = rustix::thread::gettid().as_raw_nonzero().get();
    let own: Vec<_> = streamed.calls.iter().filter(|call| call["tid"] == own_thread).collect();
    let bound = own.iter().filter(|call| call["call"] == "bind");
    let bound: Vec<_> = bound.map(|call| call["local"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bound, [path, &format!("@{name}")], "{streamed:#?}");
    for call in ["connect", "sendto"] {
        let called = own.iter().filter(|it| it["call"] == call);
        let peers: Vec<_> = called.map(|it| it["remote"].as_str().unwrap().to_owned()).collect();
        assert_eq!(peers, bound, "{streamed:#?}");
    }
    assert_eq!(streamed.ledger()[3], 0);
}

#[test]
fn sockets_by_network_namespace() {
    require!(root, ebpf);
    let place = Place::new();
    let namespace = Namespace::new("stream");
    let watching = place.watch(&["-p", &own_pid(), "--netns", namespace.name()]);
    let other = talk("127.0.0.1");
    let wanted = namespace.inside(|| talk("127.0.0.1"));
    let streamed = watching.end();
    assert!(!has_port(&streamed, other) || other == wanted);
    assert!(!streamed.calls.is_empty());
    assert!(streamed.calls.iter().all(|call| call["netns"] == namespace.inode()));
}

#[test]
fn children_that_there_are_and_that_come() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let script = "\
import os, socket, sys
if os.fork() == 0:
    sys.stdin.readline()
    socket.socket().close()
    if os.fork() == 0:
        socket.socket().close()
        os._exit(0)
    os.wait()
    os._exit(0)
print('ready', flush=True)
os.wait()
";
    let mut command = process::Command::new("python3");
    command.args(["-c", script]);
    let mut parent = Running::spawn(command);
    parent.wait_for_line("ready");
    let watching = place.watch(&["-p", &parent.id().to_string(), "--children"]);
    parent.write_stdin(b"\n");
    parent.wait();
    let streamed = watching.end();
    assert_eq!(streamed.names(), ["socket", "close", "socket", "close"]);
    assert_ne!(streamed.calls[0]["pid"], streamed.calls[2]["pid"]);
}

/// A control group of version 2 that goes with the test, together with one below.
struct ControlGroup {
    path: PathBuf,
    below: PathBuf,
}

impl ControlGroup {
    /// None where the hierarchy is not there or may not be changed.
    fn new(below: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mount = mounts.lines().map(fields).find(|fields| fields[2] == "cgroup2")?;
        let path = PathBuf::from(&mount[1]).join(format!("netglass-stream-{}", process::id()));
        let below = path.join(below);
        fs::create_dir_all(&below).ok()?;
        Some(Self { path, below })
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.below);
        let _ = fs::remove_dir(&self.path);
    }
}

#[test]
fn processes_by_control_group_and_container() {
    require!(root, ebpf, command("python3"));
    let container = format!("{:08x}", process::id()).repeat(8);
    let Some(group) = ControlGroup::new(&format!("docker-{container}.scope")) else { return };
    let place = Place::new();
    // Each is its own process: one in the group, one in the container below it, one in neither.
    let talk = || {
        for (path, kind) in
            [(Some(&group.path), "STREAM"), (Some(&group.below), "DGRAM"), (None, "RAW")]
        {
            let enter = path.map_or(String::new(), |path| {
                format!("open('{}/cgroup.procs', 'w').write('0')", path.display())
            });
            let script = format!(
                "import socket\n{enter}\nsocket.socket(socket.AF_INET, socket.SOCK_{kind}, {})",
                u8::from(kind == "RAW")
            );
            let status = process::Command::new("python3").args(["-c", &script]).status().unwrap();
            assert!(status.success());
        }
    };
    let kinds = |streamed: &Streamed| -> Vec<String> {
        let sockets = streamed.calls.iter().filter(|call| call["call"] == "socket");
        sockets.map(|call| call["protocol"].as_str().unwrap().to_owned()).collect()
    };
    let path = group.path.to_str().unwrap();
    let relative = format!("/{}", group.path.file_name().unwrap().to_str().unwrap());
    for path in [path, &relative] {
        let watching = place.watch(&["--cgroup", path, "--call", "socket"]);
        talk();
        assert_eq!(kinds(&watching.end()), ["tcp", "udp"], "{path}");
    }
    for id in [container.as_str(), &container[..60]] {
        let watching = place.watch(&["--container", id, "--call", "socket"]);
        talk();
        assert_eq!(kinds(&watching.end()), ["udp"], "{id}");
    }
}

#[test]
fn what_does_not_exist_is_an_error() {
    require!(root, ebpf);
    let place = Place::new();
    for (arguments, part) in [
        (["--pid", "4194304"], "there is no process 4194304"),
        (["--uid", "nobody-at-all"], "there is no user nobody-at-all"),
        (["--netns", "nowhere-at-all"], "the network namespace nowhere-at-all"),
        (["--cgroup", "/nowhere/at/all"], "/nowhere/at/all"),
        (["--container", "0123456789ab"], "begins with 0123456789ab"),
    ] {
        let finished = Running::spawn(place.stream(arguments)).wait();
        let stderr = String::from_utf8(finished.stderr).unwrap();
        assert_eq!(finished.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}
