//! Where to find `netglass-load`, our program that opens and holds sockets.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

use crate::process::run;

/// The path of `netglass-load`, for [`Namespace::command`](crate::Namespace::command).
///
/// Cargo builds it with the tests of this crate. For the tests of another crate alone, and when it
/// is older than its source, it is built here, once per process.
pub fn load_command() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let folder = build_folder();
        let path = folder.join("netglass-load");
        if !is_current(&path) {
            build(&folder);
        }
        path
    })
}

/// The same command, run where the kernel refuses every netlink socket.
pub fn without_netlink(command: &Command) -> Command {
    let mut wrapped = Command::new(load_command());
    wrapped.arg("without-netlink").arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// The folder of the build profile: of `target/debug/deps/test-0123`, `target/debug`.
fn build_folder() -> PathBuf {
    let executable = env::current_exe().expect("the path of the current executable");
    let mut folder = executable.parent().expect("an executable is in a folder");
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder = folder.parent().unwrap_or(folder);
    }
    folder.to_owned()
}

fn is_current(path: &Path) -> bool {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/netglass-load");
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let newest: Option<SystemTime> = fs::read_dir(source)
        .ok()
        .and_then(|entries| entries.flatten().filter_map(|entry| modified(&entry.path())).max());
    modified(path).is_some_and(|built| Some(built) > newest)
}

fn build(folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let target = folder.parent().unwrap_or(folder);
    run(Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--locked", "--package", "netglass-testing"])
        .args(["--bin", "netglass-load", "--profile", profile, "--target-dir"])
        .arg(target));
}
