//! A terminal of a test: a pseudo terminal, and what is drawn on it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A program on a terminal of its own. Dropped, it is killed.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    before: Termios,
    page: Arc<(Mutex<Page>, Condvar)>,
}

impl Terminal {
    pub(crate) fn run(mut command: Command, columns: u16, rows: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        set_size(&slave, columns, rows);
        let before = tcgetattr(&slave).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let master = File::from(master);
        let page = Arc::new((Mutex::new(Page::new(columns, rows)), Condvar::new()));
        let (mut reader, drawn) = (master.try_clone().unwrap(), Arc::clone(&page));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                lock(&drawn.0).write(&buffer[..length]);
                drawn.1.notify_all();
            }
        });
        Self { child, master, slave, before, page }
    }

    /// Waits until what is shown is as it should be; it is returned.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut page = lock(&self.page.0);
        loop {
            let text = page.text();
            if what(&text) {
                return text;
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            assert!(!patience.is_zero(), "it shows\n{text}");
            page = self.page.1.wait_timeout(page, patience).unwrap().0;
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        *lock(&self.page.0) = Page::new(columns, rows);
        set_size(&self.slave, columns, rows);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it ends by itself. What is shown then, and whether the terminal is as it was.
    pub(crate) fn end(mut self) -> (ExitStatus, String, bool) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let text = self.wait_for(|text| text.contains("ledger: ") || !status.success());
        let after = tcgetattr(&self.slave).unwrap();
        let is_restored = format!("{after:?}") == format!("{:?}", self.before);
        let is_first_page = !lock(&self.page.0).is_second;
        (status, text, is_restored && is_first_page)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn lock(page: &Mutex<Page>) -> MutexGuard<'_, Page> {
    page.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_size(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal.as_fd(), size).unwrap();
}

/// What a terminal shows, as far as the sequences go that are used here.
struct Page {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// What is not complete yet.
    rest: Vec<u8>,
    /// Whether the page is that of a full screen.
    is_second: bool,
    /// Whether anything had a colour.
    is_colored: bool,
}

impl Page {
    fn new(columns: u16, rows: u16) -> Self {
        let rows = vec![vec![' '; columns.into()]; rows.into()];
        let (row, column) = (0, 0);
        Self { rows, row, column, rest: Vec::new(), is_second: false, is_colored: false }
    }

    fn text(&self) -> String {
        let line = |row: &Vec<char>| row.iter().collect::<String>().trim_end().to_owned() + "\n";
        let colors = if self.is_colored { "(colours)\n" } else { "" };
        self.rows.iter().map(line).collect::<String>() + colors
    }

    fn write(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.rest);
        let whole = match std::str::from_utf8(&bytes) {
            Ok(_) => bytes.len(),
            Err(error) => error.valid_up_to(),
        };
        let mut text = std::str::from_utf8(&bytes[..whole]).unwrap();
        while let Some(character) = text.chars().next() {
            if character == '\x1b' {
                let Some(end) = text.find(|it: char| it.is_ascii_alphabetic()) else { break };
                self.sequence(&text[1..end], &text[end..=end]);
                text = &text[end + 1..];
                continue;
            }
            text = &text[character.len_utf8()..];
            match character {
                '\n' => self.row += 1,
                '\r' => self.column = 0,
                _ => {
                    let place =
                        self.rows.get_mut(self.row).and_then(|row| row.get_mut(self.column));
                    if let Some(place) = place {
                        *place = character;
                    }
                    self.column += 1;
                }
            }
        }
        let kept = whole - text.len();
        self.rest = bytes[kept..].to_vec();
    }

    fn sequence(&mut self, parameters: &str, kind: &str) {
        let parameters = parameters.trim_start_matches('[');
        match (kind, parameters) {
            ("H", _) => {
                let mut numbers = parameters.split(';').map(|it| it.parse().unwrap_or(1_usize));
                self.row = numbers.next().unwrap_or(1) - 1;
                self.column = numbers.next().unwrap_or(1) - 1;
            }
            ("J", _) => {
                for row in &mut self.rows {
                    row.fill(' ');
                }
            }
            ("h", "?1049") => self.is_second = true,
            ("l", "?1049") => {
                self.is_second = false;
                (self.row, self.column) = (0, 0);
                for row in &mut self.rows {
                    row.fill(' ');
                }
            }
            // A colour: 30 to 38, but not 39, which is none.
            ("m", _) => self.is_colored |= parameters.starts_with('3') && parameters != "39",
            _ => {}
        }
    }
}
