//! Programs that benches need before anything is measured.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs a command to its end; an error says what it said.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, said.trim());
    Ok(())
}
