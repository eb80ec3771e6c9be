//! The terminal: what it is drawn on, and what is typed.

use std::{
    io::{self, BufWriter, Stdout, Write as _},
    panic,
    sync::mpsc::Sender,
    thread,
};

use anyhow::Context as _;
use ratatui::{
    backend::TermionBackend,
    termion::{event::Key, input::TermRead as _},
};
use rustix::termios::{self, OptionalActions, Termios};

use super::{screen, state::State};

/// Second page on, cursor hidden.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// What happens outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// A key was pressed.
    Key(Key),
    /// The end is asked for.
    End,
}

/// The terminal. Dropped, or in a panic, it is given back as it was.
pub(super) struct Terminal {
    terminal: ratatui::Terminal<TermionBackend<BufWriter<Stdout>>>,
    settings: Termios,
}

impl Terminal {
    /// Takes the terminal; what is typed is sent to `inputs`.
    pub(super) fn enter(inputs: Sender<Input>) -> anyhow::Result<Self> {
        let settings =
            termios::tcgetattr(io::stdin()).context("asking for the terminal's settings")?;
        let terminal = ratatui::Terminal::new(TermionBackend::new(BufWriter::new(io::stdout())))
            .context("asking for the terminal's size")?;
        let mut raw = settings.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)
            .context("changing the terminal's settings")?;
        let entered = Self { terminal, settings: settings.clone() };
        // What a panic says is to be read on the page that stays.
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            leave(&settings);
            report(panic);
        }));
        write(ENTER).context("drawing on the terminal")?;
        thread::Builder::new()
            .name("keyboard".to_owned())
            .spawn(move || {
                for key in io::stdin().keys() {
                    let Ok(key) = key else { break };
                    if inputs.send(Input::Key(key)).is_err() {
                        return;
                    }
                }
                // The terminal is gone.
                let _ = inputs.send(Input::End);
            })
            .context("starting the thread that reads the keyboard")?;
        Ok(entered)
    }

    /// Draws all.
    pub(super) fn draw(&mut self, state: &State) -> io::Result<()> {
        self.terminal.draw(|frame| screen::draw(frame, state)).map(drop)
    }

    /// Draws anew if the terminal has another size by now.
    pub(super) fn redraw(&mut self, state: &State) -> io::Result<()> {
        let drawn = self.terminal.get_frame().area().as_size();
        if self.terminal.size()? == drawn { Ok(()) } else { self.draw(state) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave(&self.settings);
        // The panics of later are none of the terminal's.
        if !thread::panicking() {
            drop(panic::take_hook());
        }
    }
}

fn leave(settings: &Termios) {
    // Nobody is left to be told when even this cannot be done.
    let _ = write(LEAVE);
    let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, settings);
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
