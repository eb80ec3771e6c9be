//! What the tests share.

use std::{
    env, fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use netglass_model::{
    Attribution, Direction, Endpoint, Failures, FlowCounters, Host, HostAddress, HostFlow, HostId,
    Listener, NamespaceInode, NetworkNamespace, Observations, Process, Protocol, RttSamples,
    Timestamp, Translation,
};
use netglass_store::{Access, Database, DatabaseUrl, Error, Settings, Window, open};
use netglass_testing::PostgreSql;
use tempfile::TempDir;

/// All of time.
pub(crate) const ALWAYS: Window = Window { since: Timestamp::MIN, until: Timestamp::MAX };

/// Where a database of one test alone is, in one of the backends.
pub(crate) struct Place {
    pub(crate) url: DatabaseUrl,
    _directory: Option<TempDir>,
}

impl Place {
    /// A file that is not there yet.
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::sqlite(directory.path().join("db"));
        Self { url, _directory: Some(directory) }
    }

    /// An empty database of the cluster that all tests share.
    pub(crate) fn postgresql() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let server = cluster();
        server.create_database(&name);
        Self { url: server.url(&name).parse().unwrap(), _directory: None }
    }

    /// The name of a server's database.
    pub(crate) fn name(&self) -> String {
        self.url.to_string().rsplit('/').next().unwrap().to_owned()
    }

    pub(crate) fn open(&self, settings: Settings) -> Box<dyn Database> {
        open(&self.url, Access::Write, settings).unwrap()
    }

    pub(crate) fn write(&self) -> Box<dyn Database> {
        self.open(Settings::default())
    }

    pub(crate) fn read(&self) -> Box<dyn Database> {
        open(&self.url, Access::Read, Settings::default()).unwrap()
    }
}

/// The cluster that all tests share; it ends with their process.
pub(crate) fn cluster() -> &'static PostgreSql {
    static CLUSTER: LazyLock<PostgreSql> =
        LazyLock::new(|| PostgreSql::new().setting("max_connections=300").start());
    &CLUSTER
}

/// Makes of each function a test for each backend.
macro_rules! each_backend {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::support::Place;

            #[test]
            fn sqlite() {
                super::$test(&Place::sqlite());
            }

            #[test]
            fn postgresql() {
                netglass_testing::require!(postgresql);
                super::$test(&Place::postgresql());
            }
        })+
    };
}
pub(crate) use each_backend;

pub(crate) fn write_to(path: &Path) -> Result<Box<dyn Database>, Error> {
    open(&DatabaseUrl::sqlite(path), Access::Write, Settings::default())
}

pub(crate) fn read_from(path: &Path) -> Result<Box<dyn Database>, Error> {
    open(&DatabaseUrl::sqlite(path), Access::Read, Settings::default())
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_nanoseconds(second * 1_000_000_000)
}

pub(crate) fn between(since: i64, until: i64) -> Window {
    Window { since: at(since), until: at(until) }
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn host(name: &str) -> HostId {
    HostId { machine_id: format!("id of {name}"), hostname: name.to_owned() }
}

pub(crate) fn process(comm: &str, pid: u32) -> Arc<Process> {
    Arc::new(Process {
        pid,
        start_time: at(1),
        pgid: pid,
        ppid: 1,
        family: pid,
        uid: Some(33),
        gid: Some(u32::MAX),
        comm: comm.to_owned(),
        exe: Some(format!("/usr/bin/{comm}")),
        cgroup: Some("/system.slice".to_owned()),
        container: None,
        command_line: Some(format!("{comm} --verbose")),
    })
}

/// An active flow to `port` with every counter set, seen from `first` to `last`.
pub(crate) fn flow(port: u16, first: i64, last: i64) -> HostFlow {
    HostFlow {
        namespace: NamespaceInode(4_026_531_840),
        protocol: Protocol::Tcp,
        direction: Direction::Active,
        local: Endpoint::many(address("10.0.0.1")),
        peer: Endpoint::numbered(address("10.0.0.2"), port),
        process: Some(process("curl", u32::from(port))),
        attribution: Attribution::Socket,
        counters: FlowCounters {
            connections: 3,
            opened: 2,
            failed: Failures::from_counts([6, 7, 8, 9, 10, 11]),
            bytes_sent: 100,
            bytes_received: 1000,
            segments_sent: 12,
            segments_received: 13,
            retransmits: 4,
            rtt: RttSamples { sum_us: 50, count: 5 },
        },
        first_seen: at(first),
        last_seen: at(last),
    }
}

pub(crate) fn observations(flows: Vec<HostFlow>, listeners: Vec<Listener>) -> Observations {
    let namespace = NamespaceInode(4_026_531_840);
    Observations {
        host: Host {
            id: host("a"),
            namespace,
            addresses: vec![HostAddress { namespace, address: address("10.0.0.1") }],
        },
        namespaces: vec![NetworkNamespace { inode: namespace, name: None }],
        flows,
        listeners,
        translations: Vec::new(),
    }
}

/// The flows of a window: what is told of each put together, which a database may do as it reads.
pub(crate) fn flows(database: &mut dyn Database, window: Window) -> Vec<HostFlow> {
    all_flows(database, window).into_iter().map(|(_, flow)| flow).collect()
}

/// The same, each with its host.
pub(crate) fn all_flows(database: &mut dyn Database, window: Window) -> Vec<(HostId, HostFlow)> {
    let mut flows: Vec<(HostId, HostFlow)> = Vec::new();
    let same = |a: &HostFlow, b: &HostFlow| {
        let HostFlow { counters, first_seen, last_seen, .. } = *b;
        HostFlow { counters, first_seen, last_seen, ..a.clone() } == *b
    };
    database
        .snapshot(window)
        .unwrap()
        .flows(None, &mut |host, flow| {
            let known = flows.iter_mut().find(|(its, known)| its == host && same(known, &flow));
            match known {
                Some((_, known)) => {
                    known.counters.append(&flow.counters);
                    known.first_seen = known.first_seen.min(flow.first_seen);
                    known.last_seen = known.last_seen.max(flow.last_seen);
                }
                None => flows.push((host.clone(), flow)),
            }
        })
        .unwrap();
    flows
}

/// How many of the flows that [`flow`] makes were written, in all.
pub(crate) fn written(database: &mut dyn Database) -> usize {
    let each = flow(1, 0, 0).counters.bytes_sent;
    let sent: u64 = flows(database, ALWAYS).iter().map(|flow| flow.counters.bytes_sent).sum();
    assert_eq!(sent % each, 0);
    usize::try_from(sent / each).unwrap()
}

/// The listeners of a window, in the same way.
pub(crate) fn listeners(database: &mut dyn Database, window: Window) -> Vec<Listener> {
    all_listeners(database, window).into_iter().map(|(_, listener)| listener).collect()
}

/// The same, each with its host.
pub(crate) fn all_listeners(
    database: &mut dyn Database,
    window: Window,
) -> Vec<(HostId, Listener)> {
    let mut listeners: Vec<(HostId, Listener)> = Vec::new();
    let same = |a: &Listener, b: &Listener| {
        let Listener { first_seen, last_seen, .. } = *b;
        Listener { first_seen, last_seen, ..a.clone() } == *b
    };
    database
        .snapshot(window)
        .unwrap()
        .listeners(None, &mut |host, listener| {
            let known =
                listeners.iter_mut().find(|(its, known)| its == host && same(known, &listener));
            match known {
                Some((_, known)) => {
                    known.first_seen = known.first_seen.min(listener.first_seen);
                    known.last_seen = known.last_seen.max(listener.last_seen);
                }
                None => listeners.push((host.clone(), listener)),
            }
        })
        .unwrap();
    listeners
}

/// The translations of a window, in the same way, each with its host.
pub(crate) fn all_translations(
    database: &mut dyn Database,
    window: Window,
) -> Vec<(HostId, Translation)> {
    let mut translations: Vec<(HostId, Translation)> = Vec::new();
    let key = |it: &Translation| (it.namespace, it.protocol, it.original, it.translated);
    database
        .snapshot(window)
        .unwrap()
        .translations(&mut |host, one| {
            let known =
                translations.iter_mut().find(|(its, known)| its == host && key(known) == key(&one));
            match known {
                Some((_, known)) => {
                    known.append(one.connections, one.opened);
                    known.first_seen = known.first_seen.min(one.first_seen);
                    known.last_seen = known.last_seen.max(one.last_seen);
                }
                None => translations.push((host.clone(), one)),
            }
        })
        .unwrap();
    translations
}

/// The names of the files in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The value of a variable by which [`part`] tells the other process where to work.
pub(crate) fn part_directory() -> Option<PathBuf> {
    env::var_os("NETGLASS_TEST_PART").map(PathBuf::from)
}

/// A command that runs the ignored test `name` of this binary in a process of its own, working in
/// `directory`. The binary is copied there, where any user can run it.
pub(crate) fn part(name: &str, directory: &Path) -> Command {
    let binary = directory.join("part");
    fs::copy(env::current_exe().unwrap(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(binary);
    command
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("NETGLASS_TEST_PART", directory)
        .current_dir(directory);
    command
}

/// Fails if the one test of a [`part`] did.
pub(crate) fn assert_passed(output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}\n{stderr}");
}

/// Runs a test of this program in another process, with a disk of 192 KiB of its own at the path
/// that `variable` tells it.
pub(crate) fn run_on_small_disk(test: &str, variable: &str) {
    let directory = tempfile::tempdir().unwrap();
    // In a mount namespace, so that the disk goes with whoever uses it.
    let script = "mount -t tmpfs -o size=192k,mode=700 tmpfs \"$1\" && exec \"$2\" --exact \"$3\" \
                  --nocapture";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(directory.path()).arg(env::current_exe().unwrap()).arg(test);
    let output = command.env(variable, directory.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
