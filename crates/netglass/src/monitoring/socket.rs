//! Events from the socket of a Cilium agent.

use std::{
    io::{self, ErrorKind, Read as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use netglass_cilium::{
    Event, Style,
    stream::{Omitted, StreamError, StreamReader},
};

use super::{
    arguments::LineArguments,
    sink::{self, Sink},
};

/// Where the agent has them, the newer first.
const DEFAULTS: [&str; 2] = ["/var/run/cilium/monitor1_2.sock", "/var/run/cilium/monitor.sock"];
/// How long is waited for events before something else is looked at.
const WAIT: Duration = Duration::from_millis(100);
/// How much is read at once.
const PIECE: usize = 1 << 16;

/// A socket from which events come.
pub(super) struct Socket {
    path: PathBuf,
    stream: UnixStream,
    omitted: Omitted,
    reconnect: Duration,
}

/// Why a connection ended.
enum End {
    /// It was told to.
    Told,
    /// The agent closed it.
    Closed,
}

impl Socket {
    /// Connects to a socket, or to the first that the agent has.
    pub(super) fn connect(
        path: Option<&Path>,
        reconnect: Duration,
        lines: &LineArguments,
    ) -> anyhow::Result<Self> {
        let paths: Vec<&Path> =
            path.map_or_else(|| DEFAULTS.map(Path::new).to_vec(), |it| vec![it]);
        let mut failures = Vec::new();
        for path in paths {
            match connect(path) {
                Ok(stream) => {
                    let omitted = omitted(lines);
                    return Ok(Self { path: path.to_owned(), stream, omitted, reconnect });
                }
                Err(error) => failures.push(format!("{}: {error}", path.display())),
            }
        }
        anyhow::bail!(
            "cannot connect to a Cilium agent ({}): see whether it runs here, name its socket with \
             --socket, or read a file with -r",
            failures.join("; ")
        )
    }

    /// Reads until it is told to end. A socket that is closed is opened again, as Cilium does it.
    pub(super) fn run(&mut self, sink: &mut Sink) -> anyhow::Result<()> {
        if !sink.begin()? {
            return Ok(());
        }
        loop {
            match self.read(sink)? {
                End::Told => return Ok(()),
                End::Closed => sink.ledger.gaps += 1,
            }
            let path = self.path.display().to_string();
            sink::tell(&format!("{path} was closed; it is opened again in {:?}", self.reconnect));
            if !self.open_again(sink)? {
                return Ok(());
            }
            sink::tell(&format!("{path} is open again"));
        }
    }

    /// Reads until the connection ends. What it sends that is not understood is an error.
    fn read(&mut self, sink: &mut Sink) -> anyhow::Result<End> {
        let reading = || format!("reading {}", self.path.display());
        let mut reader = StreamReader::new(None, self.omitted);
        let mut piece = vec![0; PIECE];
        loop {
            let length = match self.stream.read(&mut piece) {
                Ok(0) => {
                    if let Err(StreamError::Incomplete { length }) = reader.finish() {
                        sink.ledger.cut = sink.ledger.cut.saturating_add(length);
                    }
                    return Ok(End::Closed);
                }
                Ok(length) => length,
                Err(error) if is_timeout(&error) => {
                    if sink.idle()? {
                        continue;
                    }
                    return Ok(End::Told);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // As good as closed: what comes next is not known either way.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(End::Closed),
                Err(error) => return Err(error).with_context(reading),
            };
            let at = Some(sink::now());
            reader.push(piece.get(..length).unwrap_or_default());
            while let Some(event) = reader.next_event().with_context(reading)? {
                if !sink.take(&Event { at, ..event })? {
                    return Ok(End::Told);
                }
            }
            // Less than was asked for: nothing more is there.
            if length < PIECE && !sink.idle()? {
                return Ok(End::Told);
            }
        }
    }

    /// Waits and connects, until that is done. Returns false if it is told to end before.
    fn open_again(&mut self, sink: &mut Sink) -> anyhow::Result<bool> {
        loop {
            let next = Instant::now() + self.reconnect;
            while Instant::now() < next {
                if !sink.idle()? {
                    return Ok(false);
                }
                std::thread::sleep(WAIT.min(self.reconnect));
            }
            if let Ok(stream) = connect(&self.path) {
                self.stream = stream;
                return Ok(true);
            }
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(WAIT))?;
    Ok(stream)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What a field means that is left out: Cilium's programs keep what was there before.
pub(super) fn omitted(lines: &LineArguments) -> Omitted {
    match lines.options().style {
        Style::V1_5 | Style::V1_20 => Omitted::Last,
        Style::Netglass(_) => Omitted::Zero,
    }
}
