//! What is shown, and what keys do to it.

use std::{cmp::Ordering, collections::HashMap, time::Duration};

use netglass_model::{CommandName, printable, text_from_bytes};
use ratatui::termion::event::Key;

use super::{
    arguments::Column,
    connections::{Connections, rate},
    sample::{Activity, Sample, SumLedger},
};
use crate::users::UserNames;

/// For how many samples a process is shown that does nothing any more: so there are as many as there
/// can be sums in so many samples, at most.
const LINGER: u32 = 10;

/// How many characters a filter can have.
const LONGEST_FILTER: usize = 64;

/// How many lines a page has that is leafed through.
const PAGE: usize = 10;

/// What tells a process from others on the screen: ids are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ProcessKey {
    pub(super) pid: u32,
    pub(super) comm: CommandName,
}

/// A process, with what it did in the last interval, per second.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) key: ProcessKey,
    pub(super) name: String,
    pub(super) user: String,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) median: Option<Duration>,
    pub(super) slow: Option<Duration>,
    /// Calls by their names, the most frequent first.
    pub(super) by_call: Vec<(&'static str, u64)>,
    /// Errors by their numbers, the most frequent first.
    pub(super) by_error: Vec<(u32, u64)>,
    /// For how many samples it has done nothing.
    pub(super) idle: u32,
}

impl Row {
    pub(super) fn throughput(&self) -> u64 {
        self.sent.saturating_add(self.received)
    }
}

/// What the keyboard is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Going through the processes.
    Browsing,
    /// Going through the connections.
    Connections,
    /// Typing a filter.
    Filtering,
    /// Reading what the keys do.
    Help,
}

/// What is to be done after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// To go on.
    GoOn,
    /// To end.
    End,
}

/// Everything that decides what the screen shows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) interval: Duration,
    pub(super) is_colored: bool,
    pub(super) sort: Column,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) connections: Connections,
    /// How many sockets of the process are not among them.
    pub(super) hidden: usize,
    /// The connection at which the list begins.
    pub(super) first_connection: usize,
    pub(super) ledger: Option<SumLedger>,
    pub(super) notes: Vec<String>,
    pub(super) users: UserNames,
    is_frozen: bool,
    rows: Vec<Row>,
    selected: Option<ProcessKey>,
}

impl State {
    pub(super) fn new(
        interval: Duration,
        sort: Column,
        is_colored: bool,
        notes: Vec<String>,
    ) -> Self {
        Self {
            interval,
            is_colored,
            sort,
            is_reversed: false,
            filter: String::new(),
            mode: Mode::Browsing,
            connections: Connections::Known(Vec::new()),
            hidden: 0,
            first_connection: 0,
            ledger: None,
            notes,
            users: UserNames::read(),
            is_frozen: false,
            rows: Vec::new(),
            selected: None,
        }
    }

    /// Takes over what was done in the last interval.
    pub(super) fn update(&mut self, sample: &Sample) {
        // A loss is shown at once, whatever stands still.
        self.ledger = Some(SumLedger(sample.counts));
        if self.is_frozen {
            return;
        }
        for row in &mut self.rows {
            row.rest();
        }
        let places: HashMap<ProcessKey, usize> =
            self.rows.iter().enumerate().map(|(place, row)| (row.key, place)).collect();
        for activity in &sample.activities {
            let key = ProcessKey { pid: activity.process.pid, comm: activity.process.comm };
            let row = row_of(key, activity, sample.elapsed, &self.users);
            if let Some(known) = places.get(&key).and_then(|&place| self.rows.get_mut(place)) {
                *known = row;
            } else {
                self.rows.push(row);
            }
        }
        self.rows.retain(|row| row.idle <= LINGER);
        self.select_something();
    }

    /// Takes over what is known of the connections of the process that is selected, and how many
    /// sockets it has beyond them.
    pub(super) fn set_connections(&mut self, connections: Connections, hidden: usize) {
        (self.connections, self.hidden) = (connections, hidden);
        self.first_connection = self.first_connection.min(self.last_connection());
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    /// The process whose connections are shown.
    pub(super) fn selected(&self) -> Option<ProcessKey> {
        self.selected
    }

    /// The processes that are shown, in their order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let wanted = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let mut rows: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| {
                wanted.is_empty()
                    || has(&row.name)
                    || has(&row.user)
                    || has(&row.key.pid.to_string())
            })
            .collect();
        rows.sort_by(|one, other| {
            let order = self.compare(one, other);
            if self.is_reversed { order.reverse() } else { order }
        });
        rows
    }

    /// The place of the process that is selected among those that are shown.
    pub(super) fn place(&self) -> Option<usize> {
        self.rows().iter().position(|row| Some(row.key) == self.selected)
    }

    fn compare(&self, one: &Row, other: &Row) -> Ordering {
        let most_first = |value: fn(&Row) -> u64| value(other).cmp(&value(one));
        match self.sort {
            Column::Throughput => most_first(Row::throughput),
            Column::Sent => most_first(|row| row.sent),
            Column::Received => most_first(|row| row.received),
            Column::Calls => most_first(|row| row.calls),
            Column::Errors => most_first(|row| row.errors),
            Column::Name => one.name.cmp(&other.name),
            Column::Pid => one.key.pid.cmp(&other.key.pid),
        }
        // Those that are equal keep their places from one sample to the next.
        .then_with(|| most_first(|row| row.calls))
        .then_with(|| one.key.pid.cmp(&other.key.pid))
    }

    /// Does what a key asks for.
    pub(super) fn key(&mut self, key: Key) -> Reaction {
        if key == Key::Ctrl('c') {
            return Reaction::End;
        }
        match self.mode {
            Mode::Filtering => self.key_of_filter(key),
            Mode::Help => self.mode = Mode::Browsing,
            Mode::Browsing | Mode::Connections => return self.key_of_lists(key),
        }
        Reaction::GoOn
    }

    fn key_of_filter(&mut self, key: Key) {
        match key {
            Key::Char('\n' | '\r') => self.mode = Mode::Browsing,
            Key::Esc => {
                self.filter.clear();
                self.mode = Mode::Browsing;
            }
            Key::Backspace => drop(self.filter.pop()),
            Key::Char(character)
                if !character.is_control() && self.filter.chars().count() < LONGEST_FILTER =>
            {
                self.filter.push(character);
            }
            _ => {}
        }
        self.select_something();
    }

    fn key_of_lists(&mut self, key: Key) -> Reaction {
        match key {
            Key::Char('q') => return Reaction::End,
            // Back, step by step; what there is nothing to go back from stays.
            Key::Esc if self.mode == Mode::Connections => self.mode = Mode::Browsing,
            Key::Esc => {
                self.filter.clear();
                self.select_something();
            }
            Key::Char('?' | 'h') | Key::F(1) => self.mode = Mode::Help,
            Key::Char('/') => self.mode = Mode::Filtering,
            Key::Char('f' | ' ') => self.is_frozen = !self.is_frozen,
            Key::Char('s' | '>') | Key::Right => self.sort = self.sort.next(),
            Key::Char('S' | '<') | Key::Left => self.sort = self.sort.previous(),
            Key::Char('r') => self.is_reversed = !self.is_reversed,
            Key::Char('\t' | '\n' | '\r') => {
                self.mode = match self.mode {
                    Mode::Connections => Mode::Browsing,
                    _ => Mode::Connections,
                };
            }
            Key::Up | Key::Char('k') => self.go(|place| place.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.go(|place| place + 1),
            Key::PageUp => self.go(|place| place.saturating_sub(PAGE)),
            Key::PageDown => self.go(|place| place + PAGE),
            Key::Home => self.go(|_| 0),
            Key::End => self.go(|_| usize::MAX),
            _ => {}
        }
        Reaction::GoOn
    }

    fn go(&mut self, to: impl Fn(usize) -> usize) {
        if self.mode == Mode::Connections {
            self.first_connection = to(self.first_connection).min(self.last_connection());
            return;
        }
        let place = to(self.place().unwrap_or_default());
        let rows = self.rows();
        let row = rows.get(place.min(rows.len().saturating_sub(1)));
        let selected = row.map(|row| row.key);
        self.select(selected);
    }

    fn select(&mut self, selected: Option<ProcessKey>) {
        if selected != self.selected {
            self.selected = selected;
            self.first_connection = 0;
            self.set_connections(Connections::Known(Vec::new()), 0);
        }
    }

    /// What is selected is one of those that are shown.
    fn select_something(&mut self) {
        if self.place().is_none() {
            let first = self.rows().first().map(|row| row.key);
            self.select(first);
        }
    }

    fn last_connection(&self) -> usize {
        match &self.connections {
            Connections::Known(connections) => connections.len().saturating_sub(1),
            Connections::Unknown(_) => 0,
        }
    }
}

impl Row {
    /// It has done nothing in an interval.
    fn rest(&mut self) {
        self.idle += 1;
        (self.sent, self.received, self.calls, self.errors) = (0, 0, 0, 0);
        (self.median, self.slow) = (None, None);
        self.by_call.clear();
        self.by_error.clear();
    }
}

fn row_of(key: ProcessKey, activity: &Activity, elapsed: Duration, users: &UserNames) -> Row {
    let uid = activity.process.uid;
    let user = users.user(uid).map_or_else(|| uid.to_string(), str::to_owned);
    let per_second = |count| rate(count, elapsed);
    let mut by_call: Vec<_> =
        activity.by_call.iter().map(|(call, &count)| (call.name(), per_second(count))).collect();
    by_call.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let mut by_error: Vec<_> =
        activity.by_error.iter().map(|(&error, &count)| (error, per_second(count))).collect();
    by_error.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    Row {
        key,
        name: printable(&text_from_bytes(key.comm.as_bytes())).into_owned(),
        user: printable(&user).into_owned(),
        sent: per_second(activity.sent),
        received: per_second(activity.received),
        calls: per_second(activity.calls),
        errors: per_second(activity.errors),
        median: activity.latencies.quantile(500),
        slow: activity.latencies.quantile(990),
        by_call,
        by_error,
        idle: 0,
    }
}
