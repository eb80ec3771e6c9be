//! Call by call the same as strace says of the same run.

use std::{collections::BTreeMap, ffi::OsStr, fs, path::Path};

use netglass_testing::require;

use crate::support::{Place, Streamed, source_of};

/// Those that both tell of.
const CALLS: [&str; 27] = [
    "socket",
    "bind",
    "listen",
    "connect",
    "accept",
    "accept4",
    "getsockopt",
    "shutdown",
    "close",
    "read",
    "readv",
    "pread64",
    "write",
    "writev",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "sendfile",
    "splice",
    "tee",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
];

/// Name, descriptor and result, which is the name of an error where it failed.
type Told = (String, Option<i64>, String);

/// By thread.
type ByThread = BTreeMap<u64, Vec<Told>>;

/// Runs a program under strace under netglass, and compares what both say of it.
#[track_caller]
fn assert_same(place: &Place, program: &[&OsStr]) -> (Streamed, usize) {
    let traced = format!("trace={}", CALLS.join(","));
    let log = place.path("strace");
    let options = ["strace", "-ff", "-yy", "-s", "0", "-e", &traced, "-o"].map(OsStr::new);
    let command = [&options, [log.as_os_str()].as_slice(), program].concat();
    let streamed = place.follow(&[], &command);
    assert_eq!(streamed.status, Some(0), "{}", streamed.stderr);
    let expected = straced(&log);
    let told = netglass(&streamed);
    for thread in expected.keys().chain(told.keys()) {
        assert_eq!(told.get(thread), expected.get(thread), "thread {thread}");
    }
    let [seen, written, filtered, lost] = streamed.ledger();
    assert_eq!((seen, lost), (written + filtered, 0));
    assert_eq!(usize::try_from(written).unwrap(), streamed.calls.len());
    let count = expected.values().map(Vec::len).sum();
    (streamed, count)
}

fn netglass(streamed: &Streamed) -> ByThread {
    let mut threads = ByThread::new();
    for call in &streamed.calls {
        if !call["phase"].is_null() {
            continue;
        }
        let result = match call["error"].as_str() {
            Some(error) => error.to_owned(),
            None => call["return"].to_string(),
        };
        let told = (call["call"].as_str().unwrap().to_owned(), call["fd"].as_i64(), result);
        threads.entry(call["tid"].as_u64().unwrap()).or_default().push(told);
    }
    threads
}

/// Reads the files that `strace -ff` writes, one for each thread.
fn straced(log: &Path) -> ByThread {
    let mut threads = ByThread::new();
    let prefix = format!("{}.", log.file_name().unwrap().to_str().unwrap());
    for entry in fs::read_dir(log.parent().unwrap()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Some(thread) = name.strip_prefix(&prefix) else { continue };
        let text = fs::read(entry.path()).unwrap();
        let calls: Vec<_> =
            String::from_utf8_lossy(&text).lines().filter_map(straced_call).collect();
        if !calls.is_empty() {
            threads.insert(thread.parse().unwrap(), calls);
        }
    }
    threads
}

/// `recvfrom(4<TCP:[127.0.0.1:1->127.0.0.1:2]>, ""..., 511, MSG_PEEK, NULL, NULL) = 511`
fn straced_call(line: &str) -> Option<Told> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let is_other_kind = (name == "fcntl" && !arguments.contains("F_DUPFD"))
        || (name == "getsockopt" && !arguments.contains("SO_ERROR"));
    let result = match result.split_once(' ') {
        Some(("-1" | "?", error)) => error.split(' ').next()?.to_owned(),
        _ => result.split('<').next()?.trim().to_owned(),
    };
    let fd = match name {
        "socket" => {
            let is_inet = arguments.starts_with("AF_INET");
            return is_inet.then(|| (name.to_owned(), result.parse().ok(), result));
        }
        _ => inet_descriptor(arguments)?,
    };
    (!is_other_kind).then(|| (name.to_owned(), Some(fd), result))
}

/// The first descriptor of a socket of IPv4 or IPv6: `4<TCP:[…]>`.
fn inet_descriptor(arguments: &str) -> Option<i64> {
    let at = ["<TCP", "<UDP"].iter().filter_map(|tag| arguments.find(tag)).min()?;
    let before = arguments.get(..at)?;
    let digits = before.rfind(|character: char| !character.is_ascii_digit()).map_or(0, |at| at + 1);
    before.get(digits..)?.parse().ok()
}

#[test]
fn a_c_program_that_makes_every_call() {
    require!(root, ebpf, command("strace"), command("cc"));
    let place = Place::new();
    let program = place.compile("calls.c");
    let (streamed, count) = assert_same(&place, &[program.as_os_str()]);
    assert!(count >= 50, "{count}");
    let names = streamed.names();
    // tee(2) works on pipes alone.
    for call in CALLS.into_iter().filter(|call| !matches!(*call, "tee")) {
        assert!(names.iter().any(|name| name == call), "{call} in {names:?}");
    }
    let connect = streamed.find("connect");
    assert_eq!(connect["protocol"], "tcp");
    assert_eq!(connect["remote"], connect["address"]);
    let accepted = streamed.find("accept4");
    assert_eq!((&accepted["remote"], &accepted["local"]), (&connect["local"], &connect["remote"]));
    let sent = streamed.find("sendmmsg");
    assert_eq!((&sent["return"], &sent["bytes"]), (&2.into(), &16.into()));
    assert_eq!(streamed.find("writev")["length"], 8);
    assert_eq!(streamed.find("sendfile")["length"], 100);
    let closed = streamed.calls.iter().rfind(|call| call["call"] == "close").unwrap();
    assert_eq!((&closed["family"], &closed["protocol"]), (&"AF_INET6".into(), &"tcp".into()));
    let received =
        streamed.calls.iter().find(|call| call["call"] == "recvfrom" && call["protocol"] == "udp");
    assert!(received.unwrap()["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    let nowhere: Vec<_> = streamed.calls.iter().filter(|call| call["error"] == "EFAULT").collect();
    assert_eq!(nowhere.len(), 4, "{nowhere:?}");
    let times: Vec<_> =
        streamed.calls.iter().map(|call| call["time_ns"].as_u64().unwrap()).collect();
    assert!(times.is_sorted());
}

#[test]
fn a_python_server_and_its_client() {
    require!(root, ebpf, command("strace"), command("python3"));
    let source = source_of("web.py");
    let (_, count) = assert_same(&Place::new(), &[OsStr::new("python3"), source.as_os_str()]);
    assert!(count >= 50, "{count}");
}

#[test]
fn a_node_server_and_its_client() {
    require!(root, ebpf, command("strace"), command("node"));
    let source = source_of("web.js");
    let (_, count) = assert_same(&Place::new(), &[OsStr::new("node"), source.as_os_str()]);
    assert!(count >= 20, "{count}");
}

#[test]
fn a_java_server_and_its_client() {
    require!(root, ebpf, command("strace"), command("java"));
    let source = source_of("Web.java");
    let (_, count) = assert_same(&Place::new(), &[OsStr::new("java"), source.as_os_str()]);
    assert!(count >= 30, "{count}");
}
