//! A screen that is drawn again and again: the terminal's second page where there is a terminal,
//! else one page after the other.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, IsTerminal as _, Write as _},
};

use anstream::{AutoStream, ColorChoice, adapter::strip_bytes};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::probing::tell;
use netglass_model::printable;

/// Second page on, cursor hidden, long lines cut at the edge rather than wrapped.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the upper left corner.
const HOME: &str = "\x1b[H";
const CLEAR_REST_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// How many of the latest notes a screen has room for.
const SHOWN_NOTES: usize = 3;

/// How many of the latest notes are kept for the end.
const KEPT_NOTES: usize = 100;

/// Where a picture is drawn again and again. Dropped, it gives the terminal back as it was.
pub(crate) struct Screen {
    title: String,
    terminal: Option<Terminal>,
    /// What the user should know, shown below the picture and again at the end.
    notes: VecDeque<String>,
}

struct Terminal {
    /// The settings to go back to, where the keyboard is a terminal too.
    settings: Option<Termios>,
}

impl Screen {
    /// A screen on standard output.
    pub(crate) fn open(title: String) -> Self {
        let terminal = io::stdout().is_terminal().then(Terminal::enter);
        Self { title, terminal, notes: VecDeque::new() }
    }

    /// Tells the user: below the next picture and at the end, or at once where there is no terminal
    /// that is drawn on.
    pub(crate) fn note(&mut self, notes: Vec<String>) {
        if self.terminal.is_none() {
            return tell(&notes);
        }
        self.notes.extend(notes);
        let surplus = self.notes.len().saturating_sub(KEPT_NOTES);
        self.notes.drain(..surplus);
    }

    /// Gives the terminal back, and leaves what the user was told where it stays.
    pub(crate) fn close(mut self) {
        self.terminal = None;
        tell(self.notes.make_contiguous());
    }

    /// Draws `picture`, lines with styles, and below it what the user should know.
    pub(crate) fn draw(&mut self, picture: &[u8]) -> io::Result<()> {
        let stdout = io::stdout().lock();
        let plain;
        let picture = match AutoStream::choice(&stdout) {
            ColorChoice::Never => {
                plain = strip_bytes(picture).into_vec();
                &plain
            }
            _ => picture,
        };
        let mut out = BufWriter::new(stdout);
        if self.terminal.is_none() {
            out.write_all(picture)?;
            writeln!(out)?;
            return out.flush();
        }
        // A terminal that does not know its size says 0.
        let rows = match termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_row > 0 => size.ws_row,
            _ => 24,
        };
        let mut page = Vec::with_capacity(picture.len());
        self.lay_out(picture, rows.into(), &mut page)?;
        write!(out, "{HOME}")?;
        for line in page.split_inclusive(|&byte| byte == b'\n') {
            let (line, end) = line.split_at(line.len() - usize::from(line.ends_with(b"\n")));
            out.write_all(line)?;
            write!(out, "{CLEAR_REST_OF_LINE}")?;
            out.write_all(end)?;
        }
        write!(out, "{CLEAR_BELOW}")?;
        out.flush()
    }

    /// Fits title, picture and notes into `rows` lines. The last line ends without a line break,
    /// which would scroll.
    fn lay_out(&self, picture: &[u8], rows: usize, page: &mut Vec<u8>) -> io::Result<()> {
        let notes = self.notes.iter().skip(self.notes.len().saturating_sub(SHOWN_NOTES));
        let lines: Vec<&[u8]> = picture.split_inclusive(|&byte| byte == b'\n').collect();
        let room = rows.saturating_sub(1 + notes.len()).max(1);
        let (shown, hidden) = match lines.len() {
            count if count <= room => (count, 0),
            count => (room - 1, count - (room - 1)),
        };
        write!(page, "{}", self.title)?;
        for line in &lines[..shown] {
            writeln!(page)?;
            page.write_all(line.strip_suffix(b"\n").unwrap_or(line))?;
        }
        if hidden > 0 {
            write!(page, "\n… {hidden} more lines: `netglass look` shows all")?;
        }
        for note in notes {
            write!(page, "\n{}", printable(note))?;
        }
        Ok(())
    }
}

impl Terminal {
    fn enter() -> Self {
        let keyboard = io::stdin();
        let settings = termios::tcgetattr(&keyboard).ok();
        if let Some(settings) = &settings {
            // What is typed would show up in the middle of the picture.
            let mut silent = settings.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            let _ = termios::tcsetattr(&keyboard, OptionalActions::Now, &silent);
        }
        let mut out = io::stdout().lock();
        let _ = write!(out, "{ENTER}").and_then(|()| out.flush());
        Self { settings }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        let _ = write!(out, "{LEAVE}").and_then(|()| out.flush());
        if let Some(settings) = &self.settings {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, settings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(picture: &str, notes: &[&str], rows: usize) -> String {
        let notes = notes.iter().map(ToString::to_string).collect();
        let screen = Screen { title: "title".to_owned(), terminal: None, notes };
        let mut page = Vec::new();
        screen.lay_out(picture.as_bytes(), rows, &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn what_fits_is_shown() {
        assert_eq!(page("a\nb\n", &["note"], 4), "title\na\nb\nnote");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        assert_eq!(
            page("a\nb\nc\nd\n", &[], 4),
            "title\na\nb\n… 2 more lines: `netglass look` shows all"
        );
        assert_eq!(page("a\nb\n", &["1", "2", "3", "4"], 24), "title\na\nb\n2\n3\n4");
    }

    #[test]
    fn a_terminal_without_room_is_no_error() {
        assert_eq!(page("a\nb\n", &[], 0), "title\n… 2 more lines: `netglass look` shows all");
    }
}
