//! What becomes of events: lines, a summary, a recording, and always the ledger.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant, SystemTime},
};

use netglass_cilium::{Event as Payload, Filter, Outcome, Renderer, Style};
use netglass_model::{Timestamp, printable};

use super::{
    arguments::{FilterArguments, LineArguments, SourceArguments},
    interfaces::Interfaces,
    ledger::Ledger,
    recording::Recording,
    summary::Drops,
};
use crate::probing::{Event, Signals};

/// How often signals and clocks are looked at while there is much to do.
const OFTEN: Duration = Duration::from_millis(100);
/// How much is written at once.
const ENOUGH: usize = 1 << 16;

/// Where events go.
pub(super) struct Sink {
    style: Style,
    renderer: Renderer,
    filter: Filter,
    out: Vec<u8>,
    /// Whether lines are written.
    shows: bool,
    /// Events of this host, whose interfaces have names here.
    interfaces: Option<Interfaces>,
    recording: Option<Recording>,
    drops: Option<Drops>,
    pub(super) ledger: Ledger,
    signals: Option<Signals>,
    next_look: Instant,
}

impl Sink {
    /// Opens what is written to.
    pub(super) fn open(
        lines: &LineArguments,
        filter: &FilterArguments,
        source: &SourceArguments,
    ) -> anyhow::Result<Self> {
        lines.check(source)?;
        source.check()?;
        let options = lines.options();
        let now = Instant::now();
        let recording = match &lines.recording {
            Some(path) => Some(Recording::create(path, source.file.as_deref())?),
            None => None,
        };
        // Cilium names interfaces by those of whoever reads; ours only where they are the same.
        let is_ours = matches!(options.style, Style::Netglass(_));
        let has_names = source.file.is_none() || !is_ours;
        Ok(Self {
            style: options.style,
            renderer: Renderer::new(options),
            filter: Filter::new(filter.criteria(SystemTime::now().into())),
            out: Vec::with_capacity(2 * ENOUGH),
            shows: lines.summary.is_none() && !lines.takes_standard_output(),
            interfaces: has_names.then(Interfaces::default),
            recording,
            drops: lines.summary.map(|summary| Drops::new(summary, options, now)),
            ledger: Ledger::default(),
            signals: None,
            next_look: now,
        })
    }

    /// From now on signals are heard.
    pub(super) fn listen(&mut self, signals: Signals) {
        self.signals = Some(signals);
    }

    /// Takes an event. Returns whether it should go on.
    pub(super) fn take(&mut self, event: &Payload<'_>) -> anyhow::Result<bool> {
        self.ledger.events += 1;
        let start = self.out.len();
        let outcome = self.renderer.render(event, &mut self.filter, &mut self.out);
        match outcome {
            Outcome::Shown => self.ledger.shown += 1,
            Outcome::Filtered => self.ledger.filtered += 1,
            Outcome::UnknownType => self.ledger.unknown += 1,
            Outcome::Malformed => self.ledger.malformed += 1,
            Outcome::Lost(lost) => {
                self.ledger.shown += 1;
                self.ledger.lost = self.ledger.lost.saturating_add(lost);
            }
            Outcome::UnknownPayload => {
                self.ledger.unknown += 1;
                if self.style == Style::V1_5 {
                    // It is Cilium's program that does this, not its formatter.
                    self.renderer.lost(event, &mut self.out);
                }
            }
        }
        if !self.shows {
            self.out.truncate(start);
        }
        if outcome != Outcome::Filtered {
            if let Some(drops) = &mut self.drops {
                drops.take(event, outcome);
            }
            if let Some(recording) = &mut self.recording {
                recording.write(event)?;
            }
        }
        if self.out.len() >= ENOUGH {
            self.write()?;
        }
        // The clock is not looked at for every event.
        if self.ledger.events.is_multiple_of(1024) { self.look() } else { Ok(true) }
    }

    /// Nothing comes for now: what there is is written. Returns whether it should go on.
    pub(super) fn idle(&mut self) -> anyhow::Result<bool> {
        self.write()?;
        if let Some(recording) = &mut self.recording {
            recording.flush()?;
        }
        self.next_look = Instant::now();
        self.look()
    }

    /// Looks at signals and clocks, if it is time to. Returns whether it should go on.
    fn look(&mut self) -> anyhow::Result<bool> {
        let now = Instant::now();
        if now < self.next_look {
            return Ok(true);
        }
        self.next_look = now + OFTEN;
        if let Some(names) = self.interfaces.as_mut().and_then(|it| it.read(now)) {
            if let Some(drops) = &mut self.drops {
                drops.set_interfaces(names.clone());
            }
            self.renderer.set_interfaces(names);
        }
        if let Some(drops) = self.drops.as_mut().filter(|drops| drops.is_due(now)) {
            drops.show(now, &mut self.out);
            self.write()?;
        }
        while let Some(signal) = self.signals.as_ref().and_then(Signals::pending) {
            match signal {
                Event::Report => tell(&self.ledger.to_string()),
                Event::End | Event::HangUp => return Ok(false),
                Event::Scan | Event::Flush => {}
            }
        }
        Ok(true)
    }

    fn write(&mut self) -> anyhow::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.out).and_then(|()| stdout.flush());
        self.out.clear();
        Ok(written?)
    }

    /// The names of interfaces are read before the first event.
    pub(super) fn begin(&mut self) -> anyhow::Result<bool> {
        self.look()
    }

    /// Writes all that is left, and tells what became of all events.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        if let Some(drops) = &mut self.drops {
            drops.show(Instant::now(), &mut self.out);
        }
        let written = self.write();
        let recorded = self.recording.as_mut().map_or(Ok(()), Recording::flush);
        tell(&self.ledger.to_string());
        written.and(recorded)
    }
}

/// Tells the user something.
pub(super) fn tell(note: &str) {
    // Nobody is left to be told when even this cannot be written.
    let _ = writeln!(io::stderr().lock(), "netglass: {}", printable(note));
}

/// The present.
pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}
