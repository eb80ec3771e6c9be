//! Where a program runs in a test, and how it ended there.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{directory_in_memory, process::Finished};

/// A directory of a test's own, and an environment in which nothing of this machine is known but where
/// its programs are.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
}

impl Place {
    /// An empty one, but for a file without settings.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "making it makes a directory")]
    pub fn new() -> Self {
        let place = Self { directory: directory_in_memory() };
        place.file("empty.toml", "");
        place
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where something of this name is, or may be.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file; its path is returned.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file can be made");
        path
    }

    /// What a file says.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file of text")
    }

    /// A command that runs here, with these arguments after those that it has.
    pub fn prepare(
        &self,
        mut command: Command,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("TZ", "UTC")
            .env("NETGLASS_CONFIG", self.path("empty.toml"))
            .stdin(Stdio::null());
        command
    }
}

/// Makes a type of a suite's own that is a [`Place`], for what only that suite does there.
#[macro_export]
macro_rules! own_place {
    ($(#[$about:meta])* $visibility:vis struct $name:ident;) => {
        $(#[$about])*
        $visibility struct $name($crate::Place);

        impl ::std::ops::Deref for $name {
            type Target = $crate::Place;

            fn deref(&self) -> &$crate::Place {
                &self.0
            }
        }
    };
}

/// How a program ended by itself, and what it said. It did not panic.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// What a child that was waited for said.
    #[track_caller]
    pub fn of(finished: Finished) -> Self {
        let Finished { status, stdout, stderr } = finished;
        let stderr = String::from_utf8(stderr).expect("text");
        assert!(!stderr.contains("panicked"), "{stderr}");
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        Self { status: status.code().expect("it ends by itself"), stdout, stderr }
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn by(command: &mut Command) -> Self {
        let output = command.output().expect("it can be run");
        let (status, stdout, stderr) = (output.status, output.stdout, output.stderr);
        Self::of(Finished { status, stdout, stderr })
    }

    /// Asserts that it ended with this status, and that its standard output has all of `parts`.
    #[track_caller]
    pub fn assert_says(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        for part in parts {
            assert!(self.stdout.contains(part), "{part:?} is missing in {self:?}");
        }
    }

    /// Asserts that it failed with this status, and that its standard error has all of `parts`.
    #[track_caller]
    pub fn assert_fails(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing in {self:?}");
        }
    }

    /// The same, where it said nothing on standard output.
    #[track_caller]
    pub fn assert_refused(&self, status: i32, parts: &[&str]) {
        self.assert_fails(status, parts);
        assert_eq!(self.stdout, "", "{self:?}");
    }

    /// Asserts that the last line of its standard error is this one of the program.
    #[track_caller]
    pub fn assert_ledger(&self, text: &str) {
        let ledger = self.stderr.lines().last().unwrap_or_default();
        assert_eq!(ledger, format!("netglass: {text}"));
    }

    /// The one JSON object that it wrote.
    #[track_caller]
    pub fn object(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What it wrote, as lines of JSON.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        let read = |line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line} of {self:?}"))
        };
        self.stdout.lines().map(read).collect()
    }
}
