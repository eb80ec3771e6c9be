//! Kernel programs of the benches, compiled where they run.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use crate::command::run;

/// The object file of a program in C. It is compiled without the types of the running kernel.
pub(crate) fn compile(source: &str) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("a temporary folder for clang")?;
    let (file, object) = (folder.path().join("program.bpf.c"), folder.path().join("program.bpf.o"));
    fs::write(&file, source).context("writing the source of a kernel program")?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => other,
    };
    let mut clang = Command::new("clang");
    clang.args(["-O2", "-g", "-target", "bpf", "-c", "-o"]).arg(&object).arg(&file);
    clang.arg(format!("-D__TARGET_ARCH_{architecture}"));
    clang.arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH));
    run(&mut clang)?;
    fs::read(object).context("reading what clang has made")
}
