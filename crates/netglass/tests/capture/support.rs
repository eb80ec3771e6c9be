//! The program in a place of its own, and what it tells.

use std::{ffi::OsStr, fs, ops::Deref, process::Command};

pub(crate) use netglass_testing::wait_for;
use netglass_testing::{Ended, Finished, Namespace, Running, Signal};
use serde_json::Value;

netglass_testing::own_place! {
    /// Where `netglass capture` runs.
    pub(crate) struct Place;
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(netglass_testing::Place::new())
    }

    /// The names of the files in a directory, in order.
    pub(crate) fn files_in(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// `netglass capture …`, which begins with what `command` runs.
    pub(crate) fn capturing(
        &self,
        mut command: Command,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        command.arg("capture");
        self.prepare(command, arguments)
    }

    /// `netglass capture …` here.
    pub(crate) fn netglass(&self, arguments: &[&str]) -> Command {
        self.capturing(Command::new(env!("CARGO_BIN_EXE_netglass")), arguments)
    }

    /// `netglass capture …` in a namespace.
    pub(crate) fn netglass_in(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        self.capturing(namespace.command(env!("CARGO_BIN_EXE_netglass")), arguments)
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn capture(&self, arguments: &[&str]) -> Captured {
        let arguments = [arguments, &["--stats-format", "json"]].concat();
        // In front of a filter, which takes all that follows.
        let (filter, options): (Vec<&str>, Vec<&str>) =
            arguments.into_iter().partition(|it| it.contains(' '));
        Captured::of(Running::spawn(self.netglass(&[options, filter].concat())).wait())
    }

    /// Runs it to its end on these packets of a file.
    #[track_caller]
    pub(crate) fn capture_file(&self, file: &[u8], arguments: &[&str]) -> Captured {
        self.file("in.pcap", file);
        let captured = self.capture(&[&["-r", "in.pcap"], arguments].concat());
        assert_eq!(captured.status, 0, "{captured:?}");
        captured
    }

    /// Begins to capture in a namespace; whatever comes after this returns is seen.
    #[track_caller]
    pub(crate) fn begin(&self, namespace: &Namespace, arguments: &[&str]) -> Capturing {
        let arguments = [&["--stats-format", "json"], arguments].concat();
        let running = Running::spawn(self.netglass_in(namespace, &arguments));
        Capturing::once_ready(running)
    }
}

/// One that goes on until it is told to end.
pub(crate) struct Capturing(pub(crate) Running);

impl Capturing {
    /// Waits until it answers to signals, which it does once everything is open.
    #[track_caller]
    pub(crate) fn once_ready(running: Running) -> Self {
        running.wait_until_it_catches(Signal::USR1);
        let capturing = Self(running);
        capturing.ledger();
        capturing
    }

    /// The ledger now.
    #[track_caller]
    pub(crate) fn ledger(&self) -> Ledger {
        let before = lines_of(&self.0.stderr(), "capture_ledger").len();
        self.0.signal(Signal::USR1);
        let lines = self.0.wait_for_lines("\"capture_ledger\"", before + 1);
        Ledger::read(lines.last().unwrap())
    }

    /// Waits until the sockets of the host were looked at, which nothing tells: on a machine that is
    /// busy it is done once in several seconds.
    #[track_caller]
    pub(crate) fn wait_for_a_look(&self) {
        let before = lines_of(&self.0.stderr(), "capture_statistics").len();
        self.0.wait_for_lines("\"capture_statistics\"", before + 25);
    }

    /// Tells it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn end(self, signal: Signal) -> Captured {
        self.0.signal(signal);
        Captured::of(self.0.wait())
    }
}

/// The objects of a kind among lines of JSON.
pub(crate) fn lines_of(bytes: &[u8], kind: &str) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes);
    let objects = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.filter(|object| object["kind"] == kind).collect()
}

/// How it ended, and what it told as JSON.
#[derive(Debug)]
pub(crate) struct Captured {
    ended: Ended,
    /// What it logged on standard output, if that was JSON.
    pub(crate) flows: Vec<Flow>,
    pub(crate) ledger: Option<Ledger>,
}

impl Deref for Captured {
    type Target = Ended;

    fn deref(&self) -> &Ended {
        &self.ended
    }
}

impl Captured {
    #[track_caller]
    pub(crate) fn of(finished: Finished) -> Self {
        let ended = Ended::of(finished);
        let is_json = ended.stdout.starts_with('{');
        let flows = if is_json { read_flows(ended.stdout.as_bytes()) } else { Vec::new() };
        let ledger = ended.stderr.lines().rfind(|line| line.contains("\"capture_ledger\""));
        let ledger = ledger.map(Ledger::read);
        Self { ended, flows, ledger }
    }

    #[track_caller]
    pub(crate) fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap_or_else(|| panic!("no ledger: {self:?}"))
    }

    /// The flow with these ends, as `10.0.0.1:40 -> 10.0.0.2:53`; fails unless there is exactly one.
    #[track_caller]
    pub(crate) fn flow(&self, ends: &str) -> &Flow {
        let found: Vec<_> = self.flows.iter().filter(|flow| flow.ends() == ends).collect();
        assert_eq!(found.len(), 1, "{ends} in {self:#?}");
        found[0]
    }

    /// All notes.
    pub(crate) fn notes(&self) -> Vec<String> {
        let notes = lines_of(self.stderr.as_bytes(), "note");
        notes.iter().map(|note| note["note"].as_str().unwrap().to_owned()).collect()
    }
}

/// The records in lines of JSON.
#[track_caller]
pub(crate) fn read_flows(bytes: &[u8]) -> Vec<Flow> {
    let text = std::str::from_utf8(bytes).unwrap();
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(|line| Flow(read(line))).collect()
}

/// A record as JSON.
#[derive(Debug)]
pub(crate) struct Flow(Value);

impl Flow {
    pub(crate) fn get(&self, name: &str) -> &Value {
        &self.0[name]
    }

    /// What no other one has.
    pub(crate) fn forget_id(&mut self) {
        self.0["id"] = Value::Null;
    }

    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("{name} in {self:?}"))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or("")
    }

    /// `10.0.0.1:40 -> 10.0.0.2:53`.
    pub(crate) fn ends(&self) -> String {
        format!("{} -> {}", self.end("src"), self.end("dst"))
    }

    fn end(&self, which: &str) -> String {
        let address = self.text(&format!("{which}_addr"));
        format!("{address}:{}", self.number(&format!("{which}_port")))
    }

    /// Packets and bytes of the source, then of the destination.
    pub(crate) fn counts(&self) -> [u64; 4] {
        ["src_packets", "src_bytes", "dst_packets", "dst_bytes"].map(|name| self.number(name))
    }
}

/// The ledger, which balances.
#[derive(Debug)]
pub(crate) struct Ledger(Value);

impl Ledger {
    #[track_caller]
    pub(crate) fn read(line: &str) -> Self {
        let ledger: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&ledger["version"], &ledger["kind"]), (&1.into(), &"capture_ledger".into()));
        let ledger = Self(ledger);
        let parts = ["in_flows", "not_ip", "filtered", "dropped_by_kernel"];
        let parts: u64 = parts.iter().map(|name| ledger.packets(name)).sum();
        assert_eq!(ledger.packets("seen"), parts + ledger.malformed(), "{ledger:?}");
        if let Some(file) = ledger.0.get("packet_file") {
            let count = |name: &str| file[name].as_u64().unwrap();
            let accounted = count("written") + count("left_out") + count("lost");
            assert_eq!(count("packets"), accounted, "{ledger:?}");
        }
        for output in ledger.0["outputs"].as_array().unwrap() {
            let count = |name: &str| output[name].as_u64().unwrap();
            let accounted = count("stored") + count("spooled") + count("pending");
            assert_eq!(count("records"), accounted + sum(&output["dropped"]), "{ledger:?}");
        }
        ledger
    }

    /// A count of packets.
    #[track_caller]
    pub(crate) fn packets(&self, name: &str) -> u64 {
        self.0["packets"][name].as_u64().unwrap()
    }

    /// Packets that could not be understood.
    pub(crate) fn malformed(&self) -> u64 {
        sum(&self.0["packets"]["malformed"])
    }

    /// A count beside packets.
    pub(crate) fn get(&self, path: &str) -> &Value {
        self.0.pointer(path).unwrap_or(&Value::Null)
    }

    /// A count of an output whose target ends so.
    #[track_caller]
    pub(crate) fn output(&self, target: &str, count: &str) -> u64 {
        let outputs = self.0["outputs"].as_array().unwrap();
        let named = |output: &&Value| output["target"].as_str().unwrap().ends_with(target);
        let output = outputs.iter().find(named).unwrap_or_else(|| panic!("{target}: {self:?}"));
        output[count].as_u64().unwrap_or_else(|| sum(&output[count]))
    }
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}
