//! The database server `PostgreSQL`, as a private cluster.

use std::{
    fmt::Write as _,
    fs,
    hash::{BuildHasher as _, RandomState},
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::fs::{PermissionsExt as _, chown},
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tempfile::TempDir;

use crate::{Namespace, Running, process::run, requirement::find_command};

/// Runs the server until a line comes on standard input, or its end: that of a test which was
/// killed, too. The word in the line says how the server is to end, and that its folder is kept. A
/// server that is paused goes on, to do so.
const KEEPER: &str = r#"
    folder=$1; shift
    "$@" & server=$!
    read -r signal
    kill "-${signal:-QUIT}" "$server"; kill -CONT "$server"; wait "$server"
    [ -n "$signal" ] || rm -rf "$folder""#;

/// How long a server may take to start, crash recovery included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A private cluster of `PostgreSQL`, removed when it is dropped or its process ends.
///
/// As root it runs as the user `postgres`, which Debian's package makes; the server refuses to run
/// as root.
#[derive(Debug)]
pub struct PostgreSql {
    running: Option<Running>,
    folder: TempDir,
    address: String,
    port: u16,
    arguments: Vec<String>,
    namespace: Option<PathBuf>,
}

/// How a cluster is to run.
#[derive(Debug, Clone, Default)]
pub struct PostgreSqlOptions {
    settings: Vec<String>,
    tls_name: Option<String>,
    durable: bool,
    address: Option<(String, u16)>,
}

impl PostgreSql {
    /// The name of the superuser.
    pub const USER: &str = "netglass";
    /// The password of the superuser.
    pub const PASSWORD: &str = "a secret: /?#[]@%";

    /// A cluster on a free port of the loopback interface.
    #[must_use]
    #[expect(clippy::new_ret_no_self, reason = "it is made by starting it")]
    pub fn new() -> PostgreSqlOptions {
        PostgreSqlOptions::default()
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, with the superuser's name and password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_at(&self.address, self.port, database)
    }

    /// The same, reached through another address.
    #[must_use]
    pub fn url_at(&self, host: &str, port: u16, database: &str) -> String {
        let mut password = String::new();
        for byte in Self::PASSWORD.bytes() {
            // Writing to a String cannot fail.
            let _ = write!(password, "%{byte:02x}");
        }
        format!("postgres://{}:{password}@{host}:{port}/{database}", Self::USER)
    }

    /// Makes an empty database.
    pub fn create_database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
    }

    /// Runs SQL commands as the superuser, and returns the rows of their answers, columns separated
    /// by `|`.
    pub fn sql(&self, database: &str, commands: &str) -> String {
        run(self.psql(database).args(["--command", commands])).trim_end().to_owned()
    }

    /// Runs SQL commands in a session that stays open, with the locks that it took, until what this
    /// returns is dropped.
    #[must_use]
    pub fn hold(&self, database: &str, commands: &str) -> Running {
        let mut session = Running::spawn(self.psql(database));
        session.write_stdin(format!("BEGIN; {commands};\n\\echo held\n").as_bytes());
        session.wait_for_line("held");
        session
    }

    /// The certificate of the authority that signed the server's, where it speaks TLS.
    #[must_use]
    pub fn root_certificate(&self) -> PathBuf {
        self.folder.path().join("root.crt")
    }

    /// The process id of the postmaster.
    #[must_use]
    pub fn id(&self) -> u32 {
        let file = self.folder.path().join("data/postmaster.pid");
        let text = fs::read_to_string(file).expect("the server runs");
        text.lines().next().and_then(|line| line.parse().ok()).expect("a process id")
    }

    /// Stops it; connections are cut.
    pub fn stop(&mut self) {
        self.end("INT");
    }

    /// Ends it as a crash does: what is in progress is lost, and recovered from the log at the
    /// next start.
    pub fn kill(&mut self) {
        self.end("QUIT");
    }

    /// Kills the postmaster alone, as the kernel does when memory runs out: its processes notice, and
    /// are waited for.
    pub fn kill_postmaster(&mut self) {
        // A child that has ended meanwhile need not be waited for.
        let children = children(self.pid());
        let children = children.into_iter().map(|child| pidfd_open(child, PidfdFlags::empty()));
        let children: Vec<_> = children.flatten().collect();
        self.end("KILL");
        let patience = Timespec::try_from(PATIENCE).expect("patience is a minute");
        for child in children {
            let ended = poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&patience));
            assert_eq!(ended, Ok(1), "a process of the server outlives its postmaster");
        }
    }

    /// Stops all its processes in the middle of what they do, until what this returns is dropped:
    /// connections stay, and nobody gets an answer.
    #[must_use]
    pub fn pause(&self) -> Paused {
        let postmaster = self.pid();
        let mut paused = Paused { processes: Vec::new() };
        paused.add(postmaster);
        // It makes no more of them, and does not reap those that end.
        for child in children(postmaster) {
            paused.add(child);
        }
        paused
    }

    /// Starts it again, where it was.
    pub fn restart(&mut self) {
        let mut command = self.command("sh");
        command.args(["-c", KEEPER, "sh"]).arg(self.folder.path());
        command.arg(program("postgres")).args(&self.arguments);
        let running = Running::spawn(command);
        let started = running.lines_within("is ready to accept connections", 1, PATIENCE);
        started.unwrap_or_else(|reason| panic!("{reason}"));
        self.running = Some(running);
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut running) = self.running.take() {
            running.write_stdin(format!("{signal}\n").as_bytes());
            running.wait();
        }
    }

    /// A command of its own user, in its namespace.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut words = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["nsenter".to_owned(), format!("--net={}", namespace.display())]);
        }
        if rustix::process::geteuid().is_root() {
            let user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"];
            words.extend(user.map(str::to_owned));
        }
        match words.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        }
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        id.expect("a process id is positive")
    }

    /// A session of the superuser, which says rows alone, columns separated by `|`.
    fn psql(&self, database: &str) -> Command {
        let mut psql = self.inside("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--host", &self.address])
            .args(["--port", &self.port.to_string(), "--username", Self::USER])
            .args(["--dbname", database])
            .env("PGPASSWORD", Self::PASSWORD);
        psql
    }

    /// One of the package's programs, in its namespace.
    fn inside(&self, name: &str) -> Command {
        let mut command = self.command(program(name));
        command.current_dir(self.folder.path());
        command
    }

    fn make(&self, options: &PostgreSqlOptions) {
        let folder = self.folder.path();
        let data = folder.join("data");
        let password = folder.join("password");
        fs::write(&password, Self::PASSWORD).expect("the temporary folder can be written");
        if let Some(name) = &options.tls_name {
            certificates(folder, name);
        }
        if rustix::process::geteuid().is_root() {
            let (user, group) = (id("-u"), id("-g"));
            let files = fs::read_dir(folder).expect("the folder is ours");
            let files = files.map(|entry| entry.expect("the folder is ours").path());
            for path in files.chain([folder.to_owned()]) {
                chown(path, Some(user), Some(group)).expect("root may");
            }
        }
        run(self
            .inside("initdb")
            .args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"])
            .args(["--username", Self::USER, "--pwfile"])
            .arg(&password)
            .arg("--pgdata")
            .arg(&data));
    }
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.close_stdin();
            running.wait_for_end_quietly();
        }
    }
}

/// A server that does nothing, with all its connections open. It goes on when this is dropped.
#[derive(Debug)]
pub struct Paused {
    processes: Vec<OwnedFd>,
}

impl Paused {
    /// Stops a process that is not reaped; returns when it has stopped, or has ended before.
    fn add(&mut self, id: Pid) {
        let process = pidfd_open(id, PidfdFlags::empty()).expect("it is not reaped");
        pidfd_send_signal(&process, Signal::STOP).expect("it is not reaped");
        self.processes.push(process);
        let file = format!("/proc/{}/stat", id.as_raw_nonzero());
        let deadline = Instant::now() + PATIENCE;
        // Nobody but its parent is told.
        loop {
            let stat = fs::read_to_string(&file).expect("it is not reaped");
            // The name stands in parentheses and may hold any character; the state follows.
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            if matches!(state, Some('T' | 'Z')) {
                return;
            }
            assert!(Instant::now() < deadline, "it does not stop: {stat}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        for process in &self.processes {
            // One that has ended needs nothing.
            let _ = pidfd_send_signal(process, Signal::CONT);
        }
    }
}

fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.expect("the server runs");
    let ids = children.split_ascii_whitespace().filter_map(|id| id.parse().ok());
    ids.filter_map(Pid::from_raw).collect()
}

impl PostgreSqlOptions {
    /// Adds a setting of `postgresql.conf`, e.g. `max_connections=200`.
    #[must_use]
    pub fn setting(mut self, setting: &str) -> Self {
        self.settings.push(setting.to_owned());
        self
    }

    /// Speaks TLS, with a certificate for `name`, a host name or an address.
    #[must_use]
    pub fn tls(mut self, name: &str) -> Self {
        self.tls_name = Some(name.to_owned());
        self
    }

    /// Keeps what was committed also when the machine fails, as a server in earnest does.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Listens on this address and port instead of a free one of the loopback interface.
    #[must_use]
    pub fn listen(mut self, address: &str, port: u16) -> Self {
        self.address = Some((address.to_owned(), port));
        self
    }

    /// Starts it; returns when it takes connections.
    ///
    /// # Panics
    ///
    /// When it does not, with what it says about that.
    #[must_use]
    pub fn start(&self) -> PostgreSql {
        self.start_at(None)
    }

    /// The same inside a namespace, on port 5432 of all its addresses unless another one was named.
    #[must_use]
    pub fn start_in(&self, namespace: &Namespace) -> PostgreSql {
        self.start_at(Some(namespace.path()))
    }

    fn start_at(&self, namespace: Option<PathBuf>) -> PostgreSql {
        let folder = tempfile::Builder::new().prefix("netglass-postgresql-").tempdir();
        let folder = folder.expect("a temporary folder");
        let (address, port) = match (&self.address, &namespace) {
            (Some(address), _) => address.clone(),
            (None, Some(_)) => ("127.0.0.1".to_owned(), 5432),
            (None, None) => ("127.0.0.1".to_owned(), free_port()),
        };
        let interfaces = if namespace.is_some() { "*" } else { &address };
        let path = folder.path().display();
        let mut settings = vec![
            format!("listen_addresses={interfaces}"),
            format!("port={port}"),
            format!("unix_socket_directories={path}"),
            format!("fsync={}", if self.durable { "on" } else { "off" }),
            "logging_collector=off".to_owned(),
        ];
        if self.tls_name.is_some() {
            settings.extend([
                "ssl=on".to_owned(),
                format!("ssl_cert_file={path}/server.crt"),
                format!("ssl_key_file={path}/server.key"),
            ]);
        }
        settings.extend(self.settings.iter().cloned());
        let data = format!("{path}/data");
        let options = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        let arguments = ["-D".to_owned(), data].into_iter().chain(options).collect();
        let mut server = PostgreSql { running: None, folder, address, port, arguments, namespace };
        server.make(self);
        if server.namespace.is_some() {
            let rules = "host all all all scram-sha-256\n";
            let file = server.folder.path().join("data/pg_hba.conf");
            let text = fs::read_to_string(&file).expect("initdb made it");
            fs::write(&file, text + rules).expect("it is ours");
        }
        server.restart();
        server
    }
}

/// Where Debian keeps the programs of the newest version that is installed.
pub(crate) fn program_folder() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path());
    let newest = folders.filter(|path| path.join("bin/initdb").exists()).max_by_key(|p| version(p));
    let elsewhere = || Some(find_command("initdb")?.parent()?.to_owned());
    newest.map(|folder| folder.join("bin")).or_else(elsewhere)
}

fn program(name: &str) -> PathBuf {
    program_folder().expect("PostgreSQL is installed").join(name)
}

/// One below those that connections are given, as one of these may have it before the server begins.
fn free_port() -> u16 {
    let any = || u16::try_from(10_000 + RandomState::new().hash_one(0) % 20_000).expect("a port");
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(any).take(1000).find(is_free).expect("a free port")
}

fn id(which: &str) -> u32 {
    let text = run(Command::new("id").args([which, "postgres"]));
    text.trim().parse().expect("a number")
}

/// An authority of the folder's own, and a certificate of the server that it signed.
pub(super) fn certificates(folder: &Path, name: &str) {
    let kind = if name.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
    fs::write(folder.join("extensions"), format!("subjectAltName={kind}:{name}\n"))
        .expect("the folder is ours");
    for line in [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
         -addext basicConstraints=critical,CA:TRUE -keyout root.key -out root.crt",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
         -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA root.crt -CAkey root.key -CAcreateserial -days 2 \
         -extfile extensions -out server.crt",
    ] {
        run(Command::new("openssl").args(line.split_whitespace()).current_dir(folder));
    }
    let key = folder.join("server.key");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("the folder is ours");
}
