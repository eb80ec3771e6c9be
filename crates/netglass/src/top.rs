//! The processes that use the network, by how much, again and again.

mod arguments;
mod connections;
mod help;
mod once;
mod sample;
mod screen;
mod state;
mod terminal;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal as _},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use netglass_kernel::{Needs, calls::CallSums};

pub(crate) use self::arguments::TopArguments;
use self::{
    connections::Watched,
    sample::Sampler,
    state::{Reaction, State},
    terminal::{Input, Terminal},
};
use crate::{
    probing::{RegisteredSignals, drop_privileges, tell},
    streaming::FilterArguments,
    usage::UsageError,
    users::UserNames,
};

/// How often it is looked whether the terminal has another size.
const LOOK: Duration = Duration::from_millis(200);

/// Shows the processes until it is told to end.
pub(crate) fn run(selection: &FilterArguments, arguments: &TopArguments) -> anyhow::Result<()> {
    let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !arguments.once && !has_terminal {
        let reason = "netglass top is drawn on a terminal, and this is none; --once writes one \
                      interval as a table, or with --format json as JSON";
        return Err(UsageError(reason.to_owned()).into());
    }
    let selection = selection.selection(&[])?;
    // First of all, so that from the start no signal ends the program with the terminal changed.
    let signals = RegisteredSignals::new()?;
    let families = selection.families.clone();
    let mut sampler = Sampler::start(selection, arguments.max_sums)?;
    let mut notes: Vec<_> =
        sampler.take_degradation().map(|it| it.to_string()).into_iter().collect();
    let needs = Needs { processes: true, all_namespaces: true, ..Needs::default() };
    notes.extend(drop_privileges(needs, sampler.sums().trial(), || true));
    let (sender, inputs) = mpsc::channel();
    let end = sender.clone();
    let _signals = signals.listen_and(move || {
        // Nobody waits any more: the end has come already.
        let _ = end.send(Input::End);
    })?;
    let ended = if arguments.once {
        tell(&notes);
        wait(&inputs, arguments.interval);
        let sample = sampler.sample()?;
        once::write(&sample, arguments, &UserNames::read())
    } else {
        let terminal = Terminal::enter(sender)?;
        let is_colored = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        let state = State::new(arguments.interval, arguments.sort, is_colored, notes.clone());
        let mut top =
            Top { terminal, state, watched: Watched::new(families), sampler: &mut sampler };
        let shown = top.run(&inputs, arguments.interval);
        drop(top);
        // What was told on the screen is gone with it.
        tell(&notes);
        shown
    };
    let ledger = sampler.finish();
    ended?;
    tell(&[format!("ledger: {}", ledger?)]);
    Ok(())
}

/// Waits so long, or until the end is asked for.
fn wait(inputs: &Receiver<Input>, interval: Duration) {
    let _ = inputs.recv_timeout(interval);
}

struct Top<'a> {
    terminal: Terminal,
    state: State,
    watched: Watched,
    sampler: &'a mut Sampler,
}

impl Top<'_> {
    fn run(&mut self, inputs: &Receiver<Input>, interval: Duration) -> anyhow::Result<()> {
        let mut next = Instant::now() + interval;
        self.draw()?;
        loop {
            let wait = next.saturating_duration_since(Instant::now()).min(LOOK);
            match inputs.recv_timeout(wait) {
                Ok(Input::Key(key)) => {
                    if self.state.key(key) == Reaction::End {
                        return Ok(());
                    }
                    self.look_at_another();
                    self.draw()?;
                }
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= next => {
                    let sample = self.sampler.sample()?;
                    self.state.update(&sample);
                    if !self.state.is_frozen() {
                        self.watched.look(self.state.selected());
                        self.state
                            .set_connections(self.watched.connections(), self.watched.hidden());
                    }
                    self.draw()?;
                    // What was missed is not made up for.
                    next = (next + interval).max(Instant::now());
                }
                // It has another size, maybe.
                Err(RecvTimeoutError::Timeout) => self.terminal.redraw(&self.state)?,
            }
        }
    }

    /// Shows the connections of another process as soon as it is selected.
    fn look_at_another(&mut self) {
        if self.watched.process() != self.state.selected() {
            self.watched.look(self.state.selected());
            self.state.set_connections(self.watched.connections(), self.watched.hidden());
        }
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        self.terminal.draw(&self.state).context("drawing on the terminal")
    }
}

/// How many sums there can be where nothing else is said.
const MOST_SUMS: u32 = CallSums::MOST;
