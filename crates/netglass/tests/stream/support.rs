//! The program in a place of its own, and what it writes.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use netglass_testing::{Finished, Running, Signal, run};
use serde_json::Value;

netglass_testing::own_place! {
    /// Where `netglass stream` runs.
    pub(crate) struct Place;
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(netglass_testing::Place::new())
    }

    /// `netglass stream …`.
    pub(crate) fn stream(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
        command.arg("stream");
        self.prepare(command, arguments)
    }

    /// Runs `netglass stream --format json OPTIONS -- PROGRAM` to its end.
    #[track_caller]
    pub(crate) fn follow(&self, options: &[&str], program: &[&OsStr]) -> Streamed {
        let own =
            ["--format", "json", "-o", "calls.json"].into_iter().chain(options.iter().copied());
        let arguments = own.chain(["--"]).map(OsStr::new).chain(program.iter().copied());
        let finished = Running::spawn(self.stream(arguments)).wait();
        self.streamed(finished)
    }

    /// Begins to watch; whatever is called once this returns is seen.
    #[track_caller]
    pub(crate) fn watch(&self, options: &[&str]) -> Watching<'_> {
        let own =
            ["--format", "json", "-o", "calls.json"].into_iter().chain(options.iter().copied());
        let running = Running::spawn(self.stream(own));
        // It answers to signals once everything is attached.
        running.wait_until_it_catches(Signal::USR1);
        running.signal(Signal::USR1);
        running.wait_for_lines("ledger: ", 1);
        Watching { place: self, running }
    }

    fn streamed(&self, finished: Finished) -> Streamed {
        let stderr = String::from_utf8(finished.stderr).unwrap();
        let text = fs::read_to_string(self.path("calls.json")).unwrap_or_default();
        let calls = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Streamed { status: finished.status.code(), stderr, calls }
    }

    /// Builds a program of `programs/`; its path is returned.
    pub(crate) fn compile(&self, source: &str) -> PathBuf {
        let program = self.path(source.split('.').next().unwrap_or(source));
        let mut command = Command::new("cc");
        command.args(["-O1", "-w", "-pthread", "-o"]).arg(&program).arg(source_of(source));
        run(&mut command);
        program
    }
}

/// A program's source.
pub(crate) fn source_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stream/programs").join(name)
}

/// One that goes on until it is told to end.
pub(crate) struct Watching<'a> {
    place: &'a Place,
    running: Running,
}

impl Watching<'_> {
    #[track_caller]
    pub(crate) fn end(self) -> Streamed {
        self.running.signal(Signal::INT);
        let finished = self.running.wait();
        self.place.streamed(finished)
    }
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) status: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) calls: Vec<Value>,
}

impl Streamed {
    /// The counts of the last ledger: seen, written, filtered, lost.
    #[track_caller]
    pub(crate) fn ledger(&self) -> [u64; 4] {
        let line = self.stderr.lines().rfind(|line| line.contains("ledger: ")).unwrap();
        let mut numbers = line.split(|character: char| !character.is_ascii_digit());
        let mut next = || numbers.by_ref().find_map(|number| number.parse().ok()).unwrap();
        [next(), next(), next(), next()]
    }

    /// Name, descriptor and result of all calls.
    pub(crate) fn names(&self) -> Vec<String> {
        self.calls.iter().map(|call| call["call"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub(crate) fn find(&self, name: &str) -> &Value {
        let found = self.calls.iter().find(|call| call["call"] == name);
        found.unwrap_or_else(|| panic!("there is no {name} in {self:?}"))
    }
}
