//! The command whose calls are streamed.

use std::{
    ffi::OsString,
    io,
    process::{Child, Command, ExitCode, ExitStatus},
};

use netglass_model::printable;
use rustix::process::{Pid, Signal, kill_process};

/// As a shell says it (POSIX, "Exit Status for Commands").
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
const KILLED: u8 = 128;

/// The command, running.
#[derive(Debug)]
pub(super) struct Traced {
    child: Child,
    ended: Option<ExitStatus>,
}

/// Why there is no command, and with which status the program ends then.
#[derive(Debug)]
pub(super) struct NoCommand {
    pub(super) reason: String,
    pub(super) status: ExitCode,
}

impl Traced {
    /// Runs the command. It is followed before its first instruction: the kernel programs know it as
    /// soon as it is forked.
    pub(super) fn start(
        command: &[OsString],
        follow_next_child: impl Fn(bool) -> Result<(), netglass_kernel::Error>,
    ) -> anyhow::Result<Option<Result<Self, NoCommand>>> {
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        follow_next_child(true)?;
        let spawned = Command::new(program).args(arguments).spawn();
        follow_next_child(false)?;
        Ok(Some(match spawned {
            Ok(child) => Ok(Self { child, ended: None }),
            Err(error) => Err(NoCommand::of(program, &error)),
        }))
    }

    /// Whether it has ended by now.
    pub(super) fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            // It is ours and nobody else's, so the kernel knows of it.
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_some()
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        if self.ended.is_none() {
            // It may have ended meanwhile.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
    }

    /// With what it ended; that of a signal is given as a shell does.
    pub(super) fn status(&self) -> ExitCode {
        use std::os::unix::process::ExitStatusExt as _;

        let Some(status) = self.ended else { return ExitCode::FAILURE };
        let number = match (status.code(), status.signal()) {
            (Some(code), _) => u8::try_from(code).ok(),
            (None, Some(signal)) => {
                u8::try_from(signal).ok().map(|signal| KILLED.saturating_add(signal))
            }
            (None, None) => None,
        };
        number.map_or(ExitCode::FAILURE, ExitCode::from)
    }
}

impl NoCommand {
    fn of(program: &OsString, error: &io::Error) -> Self {
        let shown = program.to_string_lossy();
        let shown = printable(&shown);
        let (reason, status) = match error.kind() {
            io::ErrorKind::NotFound => {
                (format!("cannot run {shown}: there is no such command in PATH"), NOT_FOUND)
            }
            io::ErrorKind::PermissionDenied => {
                (format!("cannot run {shown}: it may not be executed"), NOT_EXECUTABLE)
            }
            _ => (format!("cannot run {shown}: {error}"), NOT_EXECUTABLE),
        };
        Self { reason, status: ExitCode::from(status) }
    }
}
