//! Child processes that cannot outlive their test, and the events of theirs that a test waits for.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    param::clock_ticks_per_second,
    process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open},
};

use crate::{Namespace, wait_for};

/// How long a test waits for an event before it fails. Generous, because a busy machine is no
/// failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command to its end and returns its standard output.
///
/// # Panics
///
/// When it fails, with what it wrote to standard error.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {message}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Copies a program so that it can be run at once.
///
/// Another process does it: a child that another test starts meanwhile would inherit our open copy,
/// and a file that somebody may write to is not executed (`ETXTBSY`).
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    run(Command::new("cp").arg(from.as_ref()).arg(to.as_ref()));
}

/// A running child, the leader of a process group of its own. When it is dropped, the whole group
/// is killed and the child is reaped.
#[derive(Debug)]
pub struct Running {
    /// What was started, for messages.
    command: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
}

/// How a child ended, and all that it wrote.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

#[derive(Debug, Default)]
struct Output {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    closed: usize,
}

impl Running {
    /// Starts a command. Its output is kept for [`wait_for_line`](Self::wait_for_line), its standard
    /// input stays open until [`close_stdin`](Self::close_stdin).
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        Output::collect(&output, stdout, |written| &mut written.stdout);
        Output::collect(&output, stderr, |written| &mut written.stderr);
        Self { command: format!("{command:?}"), stdin: child.stdin.take(), child, output }
    }

    /// Its process id, which is its process group's id too.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<u8> {
        self.output.lock().stdout.clone()
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<u8> {
        self.output.lock().stderr.clone()
    }

    /// Waits until it catches a signal, which ends it until then.
    #[track_caller]
    pub fn wait_until_it_catches(&self, signal: Signal) {
        let status = format!("/proc/{}/status", self.id());
        wait_for(|| {
            assert!(!self.has_ended(), "{self:?}");
            let status = fs::read_to_string(&status).ok()?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
            (caught >> (signal.as_raw() - 1) & 1 == 1).then_some(())
        });
    }

    /// Waits until a whole line of its output, on either stream, contains `text`; returns the line.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for_lines(text, 1).remove(0)
    }

    /// Waits until `count` lines of its output contain `text`, those already written included.
    pub fn wait_for_lines(&self, text: &str, count: usize) -> Vec<String> {
        self.lines_within(text, count, PATIENCE).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// The same for who knows how long it may take, and what to do when they do not come: the error
    /// says what came instead.
    pub fn lines_within(
        &self,
        text: &str,
        count: usize,
        patience: Duration,
    ) -> Result<Vec<String>, String> {
        let deadline = Instant::now() + patience;
        let mut written = self.output.lock();
        loop {
            let lines = written.lines_with(text);
            if lines.len() >= count {
                return Ok(lines);
            }
            let ended = written.closed == 2;
            if ended || Instant::now() >= deadline {
                let how = if ended { "ended" } else { "still runs" };
                let command = &self.command;
                return Err(format!(
                    "{command} {how} without {count} lines of {text:?}: {written}"
                ));
            }
            written = self.output.wait(written, deadline);
        }
    }

    /// Waits until a TCP port is listening in the namespace in which the child runs.
    pub fn wait_for_tcp(&self, namespace: &Namespace, port: u16) {
        self.wait_for_port(namespace, "tcp", "0A", port);
    }

    /// Waits until an unconnected UDP socket has a port in the namespace in which the child runs.
    pub fn wait_for_udp(&self, namespace: &Namespace, port: u16) {
        self.wait_for_port(namespace, "udp", "07", port);
    }

    /// The kernel tells nobody that a port began to listen: this asks again and again.
    fn wait_for_port(&self, namespace: &Namespace, protocol: &str, state: &str, port: u16) {
        let deadline = Instant::now() + PATIENCE;
        let proc = format!("/proc/{}", self.id());
        let mut pause = Duration::from_millis(1);
        loop {
            // The child enters its namespace after it was started: until then, its ports are those
            // of another one.
            let inside = fs::metadata(format!("{proc}/ns/net"))
                .is_ok_and(|metadata| metadata.ino() == namespace.inode());
            let table = |name: String| fs::read_to_string(format!("{proc}/net/{name}"));
            let listening = [protocol.to_owned(), format!("{protocol}6")].into_iter().any(|name| {
                table(name).is_ok_and(|table| {
                    table.lines().skip(1).any(|line| has_local_port(line, state, port))
                })
            });
            if inside && listening {
                return;
            }
            let ended = self.has_ended();
            if ended || Instant::now() >= deadline {
                let how = if ended { "ended" } else { "still runs" };
                let written = self.output.lock();
                panic!("{} {how} without opening {protocol} port {port}: {written}", self.command);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Sends it (not its group) a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child is ours and not yet reaped");
    }

    /// Writes to its standard input.
    pub fn write_stdin(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("the child reads");
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The processor time that it has used, in user and in system mode, by all its threads.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.read_proc("stat");
        // The name stands in parentheses and may hold any character.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = |field: &str| field.parse::<u64>().expect("a number of clock ticks");
        // The state, the field after the name, is the third one of proc_pid_stat(5); utime is the
        // fourteenth, stime follows.
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(ticks).sum();
        Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second()).expect("about 100")
    }

    /// The memory that it has resident, in bytes; none when it has ended.
    pub fn resident_size(&self) -> Option<u64> {
        let status = self.read_proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kibibytes * 1024)
    }

    fn read_proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.id());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Finished {
        self.close_stdin();
        let deadline = Instant::now() + PATIENCE;
        let ended = self.wait_for_end(PATIENCE);
        assert!(ended, "{} does not end: {}", self.command, self.output.lock());
        let status = self.reap();
        let mut written = self.output.lock();
        while written.closed < 2 && Instant::now() < deadline {
            written = self.output.wait(written, deadline);
        }
        Finished {
            status,
            stdout: std::mem::take(&mut written.stdout),
            stderr: std::mem::take(&mut written.stderr),
        }
    }

    /// Waits until it has ended by itself, or, after a long time, ends it.
    pub(crate) fn wait_for_end_quietly(&mut self) {
        self.wait_for_end(PATIENCE);
        self.reap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.wait_for_end(Duration::ZERO)
    }

    fn wait_for_end(&self, patience: Duration) -> bool {
        let process = pidfd_open(self.pid(), PidfdFlags::empty()).expect("the child is not reaped");
        let timeout = Timespec::try_from(patience).expect("patience is a few seconds");
        let mut events = [PollFd::new(&process, PollFlags::IN)];
        poll(&mut events, Some(&timeout)).is_ok_and(|ready| ready == 1)
    }

    /// The group is killed before its leader is reaped: afterwards its id may be another's.
    fn reap(&mut self) -> ExitStatus {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        self.child.wait().expect("the child is ours")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Reaped already by `wait`: its process id may be another's by now.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.reap();
        }
    }
}

impl Output {
    fn collect(
        output: &Arc<Self>,
        mut stream: impl Read + Send + 'static,
        buffer: fn(&mut Written) -> &mut Vec<u8>,
    ) {
        let output = Arc::clone(output);
        thread::spawn(move || {
            let mut chunk = [0; 8192];
            loop {
                let length = stream.read(&mut chunk).unwrap_or(0);
                let mut written = output.lock();
                buffer(&mut written).extend_from_slice(&chunk[..length]);
                written.closed += usize::from(length == 0);
                output.changed.notify_all();
                if length == 0 {
                    return;
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        written: MutexGuard<'a, Written>,
        deadline: Instant,
    ) -> MutexGuard<'a, Written> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout(written, patience);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Written {
    fn lines_with(&self, text: &str) -> Vec<String> {
        let whole = |stream: &[u8]| {
            let end = stream.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            String::from_utf8_lossy(&stream[..end]).into_owned()
        };
        let lines = [whole(&self.stdout), whole(&self.stderr)];
        let lines = lines.iter().flat_map(|stream| stream.lines());
        lines.filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(|s| String::from_utf8_lossy(s));
        write!(f, "\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

/// Whether a line of /proc/net/{tcp,udp}{,6} is of a socket in `state` with the local port.
fn has_local_port(line: &str, state: &str, port: u16) -> bool {
    let mut fields = line.split_whitespace().skip(1);
    let local = fields.next().and_then(|local| local.rsplit_once(':'));
    let local = local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    local == Some(port) && fields.nth(1) == Some(state)
}
