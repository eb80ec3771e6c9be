//! How connections are found where this host does not offer everything: what is used instead, and
//! what is said about it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
};

use netglass_testing::{Finished, Namespace, Running, Signal, copy_program, require};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Database, Probing, clients, load, only_edge_to, server, wait_for};

/// A user who is not root.
const NOBODY: u32 = 65_534;

/// What a host may lack.
#[derive(Debug, Clone, Copy)]
enum Lacking {
    /// The kernel's types.
    Types,
    /// The capabilities to load kernel programs.
    Capabilities,
    /// Iterators over sockets and open files.
    Iterators,
    /// Control groups of version 2.
    ControlGroups,
    /// Everything but what any user may do.
    Root,
}

impl Lacking {
    /// The command before netglass that takes it away, from that process alone.
    fn command(self) -> Vec<&'static str> {
        // Without "private", what is mounted would be mounted for everybody.
        const UNSHARE: [&str; 6] = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"];
        let mounting = |script| [&UNSHARE[..], &[script, "sh"]].concat();
        match self {
            Self::Types => mounting("mount -t tmpfs none /sys/kernel/btf; exec \"$@\""),
            // The kernel's types name each iterator that there is.
            Self::Iterators => mounting(
                "types=$(mktemp)
                 sed 's/bpf_iter_\\(tcp\\|udp\\|task_file\\)\\x00/BPF_ITER_\\1\\x00/g' \\
                     /sys/kernel/btf/vmlinux >$types
                 mount --bind $types /sys/kernel/btf/vmlinux
                 rm $types
                 exec \"$@\"",
            ),
            Self::ControlGroups => mounting(
                "while read -r number parent device root place rest; do
                     case \"$rest\" in *' - cgroup2 '*) umount \"$place\";; esac
                 done < /proc/self/mountinfo
                 exec \"$@\"",
            ),
            Self::Capabilities => {
                vec!["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--inh-caps", "-all"]
            }
            Self::Root => {
                vec!["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
            }
        }
    }
}

/// A host that lacks something, and the program on it.
struct Host {
    lacking: Lacking,
    namespace: Namespace,
    database: Database,
    /// A copy of netglass that everybody may run, wherever the original is.
    directory: TempDir,
}

impl Host {
    fn new(lacking: Lacking) -> Self {
        let (namespace, database) = (Namespace::new("host"), Database::new());
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        copy_program(env!("CARGO_BIN_EXE_netglass"), directory.path().join("netglass"));
        if matches!(lacking, Lacking::Root) {
            chown(database.path().parent().unwrap(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self { lacking, namespace, database, directory }
    }

    fn netglass(&self, arguments: &[&str]) -> Command {
        let mut before = self.lacking.command().into_iter();
        let mut command = self.namespace.command(before.next().unwrap());
        let home = self.database.path();
        command
            .args(before)
            .arg(self.directory.path().join("netglass"))
            .args(arguments)
            .env("HOME", home.parent().unwrap())
            .env("NETGLASS_CONFIG", home.with_file_name("empty.toml"))
            .env("NETGLASS_DB", &home)
            .env_remove("NETGLASS_MODE");
        command
    }

    /// Probes from before three connections are made until all of them are stored.
    #[track_caller]
    fn probe_connections(&self, mode: &str) -> Finished {
        let _server = server(&self.namespace, "127.0.0.1:8080");
        let probe = self.netglass(&[
            "probe",
            "--mode",
            mode,
            "--format",
            "json",
            "--interval",
            "10ms",
            "--flush-interval",
            "10ms",
        ]);
        let probe = Running::spawn(probe);
        // The listener is there before the connection.
        self.wait_until_known(&["--listening"], |line| line["listener"]["port"] == 8080);
        let _clients = clients(&self.namespace, "127.0.0.1:8080", 3);
        self.wait_until_known(&["--port", "8080"], |line| line["connections"] == 3);
        probe.signal(Signal::TERM);
        let finished = probe.wait();
        assert!(finished.status.success(), "{finished:?}");
        finished
    }

    /// Waits until `look` shows a certain line.
    #[track_caller]
    fn wait_until_known(&self, options: &[&str], is_wanted: impl Fn(&Value) -> bool) {
        wait_for(|| {
            let arguments = [&["look", "--format", "json"], options].concat();
            // As long as nothing is known, it is an error.
            let look = self.database.netglass(&self.namespace, &arguments).output().unwrap();
            let text = String::from_utf8(look.stdout).unwrap();
            let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            lines.any(|line| is_wanted(&line)).then_some(())
        });
    }

    #[track_caller]
    fn doctor(&self) -> Doctor {
        let output = self.netglass(&["doctor", "--format", "json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        Doctor(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[track_caller]
    fn assert_streaming_fails(&self, reason: &str) {
        let output = self.netglass(&["probe", "--mode", "streaming"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("getting ready to watch sockets: "), "{told}");
        assert!(told.contains(reason), "{told}");
    }
}

/// What `doctor --format json` says.
#[derive(Debug)]
struct Doctor(Vec<Value>);

impl Doctor {
    #[track_caller]
    fn feature(&self, key: &str) -> &Value {
        let found = self.0.iter().find(|record| record["key"] == key);
        found.unwrap_or_else(|| panic!("{key} in {self:#?}"))
    }

    #[track_caller]
    fn assert_works(&self, key: &str) {
        assert_eq!(self.feature(key)["works"], true, "{}", self.feature(key));
    }

    #[track_caller]
    fn assert_fails(&self, key: &str, reason: &str, remedy: &str) {
        let feature = self.feature(key);
        assert_eq!(feature["works"], false, "{feature}");
        assert!(feature["reason"].as_str().unwrap().contains(reason), "{feature}");
        assert!(feature["remedy"].as_str().unwrap().contains(remedy), "{feature}");
    }

    fn mode(&self) -> &Value {
        &self.0.last().unwrap()["mode"]
    }

    /// What `--mode auto` would tell of.
    fn lost(&self) -> Vec<&str> {
        let lost = self.0.last().unwrap()["lost"].as_array().unwrap();
        lost.iter().map(|lost| lost["feature"].as_str().unwrap()).collect()
    }
}

fn stderr(finished: &Finished) -> String {
    String::from_utf8(finished.stderr.clone()).unwrap()
}

/// It polled, said so once, with the reason, and counted the connections.
#[track_caller]
fn assert_polled(host: &Host, reason: &str) {
    let told = stderr(&host.probe_connections("auto"));
    let lines: Vec<_> =
        told.lines().filter(|line| line.starts_with("netglass: streaming: ")).collect();
    assert_eq!(lines.len(), 1, "{told}");
    assert!(lines[0].contains(reason), "{told}");
    assert!(lines[0].contains("sockets are polled instead"), "{told}");
    let edges = host.database.edges(&host.namespace, &["--port", "8080"]);
    assert_eq!(only_edge_to(&edges, 8080).number("connections"), 3);
}

#[test]
fn without_the_kernels_types_sockets_are_polled() {
    require!(root, ebpf, command("unshare"));
    let host = Host::new(Lacking::Types);
    let reason = "/sys/kernel/btf/vmlinux is missing";
    assert_polled(&host, reason);
    host.assert_streaming_fails(reason);
    let doctor = host.doctor();
    doctor.assert_fails("kernel_types", reason, "CONFIG_DEBUG_INFO_BTF");
    doctor.assert_fails("tcp_connections", reason, "CONFIG_DEBUG_INFO_BTF");
    doctor.assert_fails("socket_owners", reason, "CONFIG_DEBUG_INFO_BTF");
    doctor.assert_fails("dropped_packets", reason, "CONFIG_DEBUG_INFO_BTF");
    doctor.assert_works("kernel_programs");
    doctor.assert_works("cgroup_v2");
    assert_eq!(doctor.mode(), "polling");
    assert_eq!(doctor.lost()[0], "streaming");
}

#[test]
fn without_the_capabilities_sockets_are_polled() {
    require!(root, ebpf, command("setpriv"));
    let host = Host::new(Lacking::Capabilities);
    let reason = "CAP_BPF and CAP_PERFMON are missing";
    assert_polled(&host, reason);
    host.assert_streaming_fails(reason);
    let doctor = host.doctor();
    doctor.assert_works("kernel_types");
    doctor.assert_fails("kernel_programs", reason, "root, or CAP_BPF");
    doctor.assert_fails("lasting_connections", reason, "root, or CAP_BPF");
    doctor.assert_fails("namespaces_entered", "not permitted", "CAP_SYS_ADMIN");
    doctor.assert_fails("system_calls", reason, "root, or CAP_BPF");
    doctor.assert_fails("dropped_packets", reason, "root, or CAP_BPF");
    assert_eq!(doctor.mode(), "polling");
}

#[test]
fn without_control_groups_streaming_goes_on_and_says_what_is_lost() {
    require!(root, ebpf, command("unshare"));
    let host = Host::new(Lacking::ControlGroups);
    let lost = [
        ("peers of unconnected UDP sockets", "datagram_peers"),
        ("attempts that fail for lack of a route", "attempts_without_route"),
        ("UDP sockets from when they are bound", "udp_binds"),
    ];
    for mode in ["auto", "streaming"] {
        let host = Host::new(Lacking::ControlGroups);
        let told = stderr(&host.probe_connections(mode));
        for (feature, _) in lost {
            let begin = format!("netglass: {feature}: ");
            let lines: Vec<_> = told.lines().filter(|line| line.starts_with(&begin)).collect();
            assert_eq!(lines.len(), 1, "{told}");
            assert!(lines[0].contains("no file system of type cgroup2 is mounted"), "{told}");
        }
        assert!(!told.contains("polled"), "{told}");
        let edges = host.database.edges(&host.namespace, &["--port", "8080"]);
        let edge = only_edge_to(&edges, 8080);
        assert_eq!(edge.number("connections"), 3);
        assert_eq!(edge.text("client/process/comm"), "netglass-load");
    }
    let doctor = host.doctor();
    doctor.assert_fails("cgroup_v2", "no file system of type cgroup2", "mount -t cgroup2");
    for (_, key) in lost {
        doctor.assert_fails(key, "no file system of type cgroup2", "mount -t cgroup2");
    }
    for key in ["kernel_types", "tcp_connections", "lasting_connections", "datagrams"] {
        doctor.assert_works(key);
    }
    assert_eq!(doctor.mode(), "streaming");
    for (feature, _) in lost {
        assert!(doctor.lost().contains(&feature), "{doctor:#?}");
    }
}

#[test]
fn without_iterators_older_sockets_are_listed() {
    require!(root, ebpf, command("unshare"));
    let lost =
        ["connections older than the probe", "processes of connections older than the probe"];
    for mode in ["auto", "streaming"] {
        let host = Host::new(Lacking::Iterators);
        let server = load(&host.namespace, "churn-server --listen 127.0.0.1:8080 --answer 1000");
        let client = "hold-clients --to 127.0.0.1:8080 --connections 3 --send 500";
        let client = load(&host.namespace, client);
        let options = ["--interval", "10ms", "--flush-interval", "10ms"];
        let probe = [&["probe", "--mode", mode, "--format", "json"], &options[..]].concat();
        let probe = Probing::once_ready(Running::spawn(host.netglass(&probe)));
        // What the server answers to their end is the first and last that goes over them since.
        let (client_id, server_id) = (client.id(), server.id());
        assert!(client.wait().status.success());
        host.wait_until_known(&["--port", "8080"], |line| line["connections"] == 3);
        let told = stderr(&probe.end(Signal::TERM));
        for feature in lost {
            let begin = format!("netglass: {feature}: ");
            let lines: Vec<_> = told.lines().filter(|line| line.starts_with(&begin)).collect();
            assert_eq!(lines.len(), 1, "{told}");
        }
        let edges = host.database.edges(&host.namespace, &["--port", "8080"]);
        let edge = only_edge_to(&edges, 8080);
        assert_eq!((edge.number("connections"), edge.number("failed")), (3, 0), "{edge:?}");
        assert_eq!(edge.number("bytes_received"), 3000, "{edge:?}");
        for (end, id) in [("client", client_id), ("server", server_id)] {
            assert_eq!(edge.number(&format!("{end}/process/pid")), u64::from(id), "{edge:?}");
        }
        let doctor = host.doctor();
        for key in ["existing_connections", "processes_of_existing_connections", "socket_owners"] {
            doctor.assert_fails(key, "No such process", "BTF");
        }
        for key in ["kernel_types", "tcp_connections", "lasting_connections", "datagrams"] {
            doctor.assert_works(key);
        }
        assert_eq!(doctor.mode(), "streaming");
        for feature in lost {
            assert!(doctor.lost().contains(&feature), "{doctor:#?}");
        }
    }
}

#[test]
fn an_unprivileged_user_polls() {
    require!(root, command("setpriv"));
    let host = Host::new(Lacking::Root);
    let reason = "CAP_BPF and CAP_PERFMON are missing";
    assert_polled(&host, reason);
    host.assert_streaming_fails(reason);
    let doctor = host.doctor();
    doctor.assert_works("sockets_over_netlink");
    doctor.assert_works("addresses_over_netlink");
    doctor.assert_fails("kernel_programs", reason, "root, or CAP_BPF");
    doctor.assert_fails("processes", "may not be read", "root, or CAP_SYS_PTRACE");
    doctor.assert_fails("namespaces_found", "may not be read", "root, or CAP_SYS_PTRACE");
    assert_eq!(doctor.mode(), "polling");
}

#[test]
fn what_is_taken_away_is_taken_from_that_process_alone() {
    require!(root, ebpf, command("unshare"));
    for lacking in [Lacking::Types, Lacking::Iterators, Lacking::ControlGroups] {
        drop(Host::new(lacking).netglass(&["--version"]).output().unwrap());
    }
    assert!(Path::new("/sys/kernel/btf/vmlinux").exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(" /sys/kernel/btf "), "{mounts}");
}
