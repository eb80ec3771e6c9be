//! What a test needs of the machine, and the one line that it says when that is missing.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::{namespace::Namespace, server::program_folder};

/// The environment variable that makes a missing requirement a failure instead of a skip.
pub const STRICT: &str = "NETGLASS_TEST_STRICT";

/// Where the administrator's programs are; they are not always in the `PATH` of a test.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// Something that a test needs; `Err` says what is missing and, in brackets, what to do about it.
#[derive(Debug, Clone)]
pub struct Requirement {
    missing: Result<(), String>,
    /// Whether it must be there when [`STRICT`] is set.
    strict: bool,
}

impl Requirement {
    fn new(missing: Result<(), String>) -> Self {
        Self { missing, strict: true }
    }

    /// What is missing, if anything is.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_ref().err().map(String::as_str)
    }
}

/// The right to create network namespaces, tried once per process.
#[must_use]
pub fn root() -> Requirement {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    let try_it = || {
        if !rustix::process::geteuid().is_root() {
            return Err("root (run as root)".to_owned());
        }
        Namespace::try_new("probe")
            .map(drop)
            .map_err(|reason| format!("network namespaces ({})", reason.replace('\n', " ")))
    };
    Requirement::new(TRIED.get_or_init(try_it).clone())
}

/// A program in `PATH` or in the system folders.
#[must_use]
pub fn command(name: &str) -> Requirement {
    Requirement::new(
        find_command(name).map(drop).ok_or_else(|| format!("the command {name} (run make setup)")),
    )
}

/// The programs of a `PostgreSQL` server, of Debian's package or in `PATH`.
#[must_use]
pub fn postgresql() -> Requirement {
    let found = program_folder().map(drop);
    Requirement::new(found.ok_or_else(|| "PostgreSQL (run make setup)".to_owned()))
}

/// The right to load eBPF programs, and the kernel's types to load them by.
#[must_use]
pub fn ebpf() -> Requirement {
    let types = Path::new("/sys/kernel/btf/vmlinux");
    Requirement::new(if !has_capability(CAP_BPF) && !has_capability(CAP_SYS_ADMIN) {
        Err("eBPF (run as root)".to_owned())
    } else if types.exists() {
        Ok(())
    } else {
        Err(format!("eBPF (the kernel offers no {})", types.display()))
    })
}

/// The folder of shared test data beside the repository. Not everybody has it: its absence is
/// never a failure.
#[must_use]
pub fn shared() -> Requirement {
    let folder = shared_folder();
    let missing = if folder.is_dir() {
        Ok(())
    } else {
        Err(format!("shared test data ({} is not there)", folder.display()))
    };
    Requirement { missing, strict: false }
}

/// The folder of shared test data beside the repository.
#[must_use]
pub fn shared_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared")
}

/// The path of a program.
#[must_use]
pub fn find_command(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Whether all of `requirements` are met; if not, says which are missing. Called by [`require!`](crate::require).
///
/// # Panics
///
/// When one is missing that must be there because [`STRICT`] is set.
#[must_use]
pub fn all_met(test: &str, requirements: &[Requirement]) -> bool {
    let missing: Vec<(&str, bool)> = requirements
        .iter()
        .filter_map(|requirement| Some((requirement.missing()?, requirement.strict)))
        .collect();
    if missing.is_empty() {
        return true;
    }
    let needs = missing.iter().map(|(need, _)| *need).collect::<Vec<_>>().join(", ");
    let strict = env::var_os(STRICT).is_some_and(|value| !value.is_empty());
    assert!(!strict || !missing.iter().any(|(_, strict)| *strict), "{test} needs {needs}");
    // Not eprintln!: the test harness would capture it, and the skip would go unnoticed.
    let line = format!("skipped {test}: needs {needs}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
    false
}

/// The path of the function around `marker`, without its crate.
#[doc(hidden)]
#[must_use]
pub fn function_name<T>(_marker: T) -> String {
    let path = std::any::type_name::<T>();
    let path = path.strip_suffix("::marker").unwrap_or(path);
    let path = path.split_once("::").map_or(path, |(_, rest)| rest);
    path.replace("::{{closure}}", "")
}

fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or("0");
    u64::from_str_radix(effective.trim(), 16).is_ok_and(|set| set >> number & 1 == 1)
}

/// States what a test needs; returns from the test, after one line on stderr, when it is missing.
///
/// Each requirement is a function of [`requirement`](crate::requirement): `root`,
/// `command("nginx")`, `postgresql`, `ebpf`, `shared`. Where [`STRICT`] is set, a missing one other than
/// `shared` fails the test.
#[macro_export]
macro_rules! require {
    ($($name:ident $(($argument:expr))?),+ $(,)?) => {
        {
            fn marker() {}
            let test = $crate::requirement::function_name(marker);
            let requirements = [$($crate::requirement::$name($($argument)?)),+];
            if !$crate::requirement::all_met(&test, &requirements) {
                return;
            }
        }
    };
}
