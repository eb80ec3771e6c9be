//! Public captures, repeated until they are large enough: where the shared test data are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use netglass_testing::{requirement, shared_folder};

use crate::{capture_file::CaptureFile, command::run};

/// From the first packet to the last of each copy, in seconds.
const WINDOW: &str = "60";
/// How many copies of all captures make about a gigabyte.
pub(crate) const COPIES: u64 = 32;

/// What is missing to make such a file, if anything is.
pub(crate) fn missing() -> Option<String> {
    [requirement::shared(), requirement::command("editcap"), requirement::command("gcc")]
        .iter()
        .find_map(|requirement| requirement.missing().map(str::to_owned))
}

/// A file of so many copies of all captures, each with addresses of its own.
pub(crate) fn public_captures(copies: u64) -> Result<CaptureFile> {
    CaptureFile::cached(&format!("public-1-{copies}.pcap"), |path| {
        let folder = tempfile::tempdir().context("a temporary folder for captures")?;
        let program = folder.path().join("mkreal");
        let source = shared_folder().join("gen/mkreal.c");
        run(Command::new("gcc").arg("-O2").arg("-o").arg(&program).arg(source))?;
        let mut command = Command::new(program);
        command.arg(path).arg(copies.to_string()).arg(WINDOW);
        run(command.args(converted(folder.path())?))
    })
}

/// All captures in the one format that is merged.
fn converted(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut captures = Vec::new();
    for source in ["ndpi", "tcpdump", "zeek"] {
        let source = shared_folder().join("pcaps").join(source);
        let entries = fs::read_dir(&source)
            .with_context(|| format!("listing the captures of {}", source.display()))?;
        for entry in entries {
            captures.push(entry?.path());
        }
    }
    captures.sort();
    let mut all = Vec::new();
    for (number, capture) in captures.iter().enumerate() {
        let path = folder.join(format!("{number}.pcap"));
        let mut editcap = Command::new("editcap");
        editcap.args(["-F", "pcap"]).arg(capture).arg(&path);
        // It refuses what is broken on purpose, and what has several link types.
        let _ = editcap.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if path.exists() {
            all.push(path);
        }
    }
    ensure!(!all.is_empty(), "there are no captures");
    Ok(all)
}
