//! What Wireshark's programs say of a capture.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use netglass_packet::{
    Packet,
    file::{FileError, Interface, Reader},
};
use netglass_testing::requirement::{find_command, shared_folder};

/// All captures that are shared for tests.
pub(crate) fn captures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for suite in ["ndpi", "zeek", "tcpdump"] {
        let folder = shared_folder().join("pcaps").join(suite);
        for entry in folder.read_dir().expect("the captures are there") {
            found.push(entry.expect("an entry").path());
        }
    }
    found.sort();
    found
}

/// What a program prints.
pub(crate) fn run(program: &str, arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(find_command(program).expect("the requirement is met"))
        .args(arguments)
        .args(files)
        .env("TZ", "UTC")
        .output()
        .expect("it runs")
}

/// The named fields of each packet of a capture, by `tshark`.
pub(crate) fn fields(file: &Path, names: &[&str]) -> Vec<Vec<String>> {
    let mut arguments = vec!["-n", "-T", "fields", "-E", "occurrence=f"];
    arguments.extend(names.iter().flat_map(|name| ["-e", name]));
    arguments.push("-r");
    let output = run("tshark", &arguments, &[file]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// What is read of a capture, and how its reading ended.
pub(crate) fn read_all(
    file: &Path,
    mut packet: impl FnMut(Packet<'_>),
) -> Result<Vec<Interface>, FileError> {
    let mut reader = Reader::open(file)?;
    loop {
        let batch = reader.next_batch()?;
        if batch.is_empty() {
            return Ok(reader.interfaces().to_vec());
        }
        batch.packets().for_each(&mut packet);
    }
}
