//! From what is known to what the screen shows: nothing else decides it.

use std::time::Duration;

use netglass_kernel::socket::SocketState;
use netglass_model::printable;
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row as TableRow, Table},
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{
    arguments::Column,
    connections::{Connection, Connections},
    help,
    state::{Mode, Row, State},
};
use crate::{
    output::tree::show_bytes,
    streaming::errno_name,
    time::{show_duration, show_latency},
};

/// The least terminal.
pub(super) const WIDTH: u16 = 80;
/// The same.
pub(super) const HEIGHT: u16 = 18;

/// From which width on there is room for how long calls take.
const WIDE: u16 = 100;
/// From which width on there is room for the throughput of each connection.
const VERY_WIDE: u16 = 110;

/// How many kinds of calls and of errors are named.
const NAMED: usize = 6;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    if area.width < WIDTH || area.height < HEIGHT {
        let text = format!(
            "This terminal is too small: {}x{}, and it takes {WIDTH}x{HEIGHT}. Make it larger, or \
             press q to quit.",
            area.width, area.height
        );
        let words = Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true });
        return frame.render_widget(words, area);
    }
    let warning = warning(state);
    let [title, totals, warned, processes, details, connections, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(u16::from(warning.is_some())),
        Constraint::Fill(1),
        Constraint::Length(3),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(title_line(state)), title);
    frame.render_widget(Paragraph::new(totals_line(state)), totals);
    if let Some(text) = warning {
        frame.render_widget(Paragraph::new(text).style(alarming(state)), warned);
    }
    if state.mode == Mode::Help {
        let rest = processes.union(connections);
        frame.render_widget(Paragraph::new(help::TEXT), rest);
    } else {
        draw_processes(frame, state, processes);
        draw_details(frame, state, details);
        draw_connections(frame, state, connections);
    }
    frame.render_widget(Paragraph::new(footer_line(state)), footer);
}

fn title_line(state: &State) -> Line<'_> {
    let order = if state.is_reversed { ", reversed" } else { "" };
    let mut spans = vec![
        Span::styled("netglass top", strong()),
        Span::raw(format!(
            "  every {}, by {}{order}",
            show_duration(state.interval),
            state.sort.name()
        )),
    ];
    if state.mode == Mode::Filtering || !state.filter.is_empty() {
        let cursor = if state.mode == Mode::Filtering { "_" } else { "" };
        let filter = printable(&state.filter).into_owned();
        spans.push(Span::raw("  filter: "));
        spans.push(Span::styled(format!("{filter}{cursor}"), strong()));
    }
    if state.is_frozen() {
        spans.push(Span::raw("  "));
        spans.push(Span::styled(" FROZEN ", Style::new().add_modifier(Modifier::REVERSED)));
    }
    Line::from(spans)
}

fn totals_line(state: &State) -> Line<'static> {
    let rows = state.rows();
    let sum =
        |value: fn(&Row) -> u64| rows.iter().map(|row| value(row)).fold(0, u64::saturating_add);
    let errors = sum(|row| row.errors);
    let processes = if rows.len() == 1 { "process" } else { "processes" };
    Line::from(vec![
        Span::raw(format!(
            "{} {processes}   sent {}/s   received {}/s   {} calls/s   ",
            rows.len(),
            show_bytes(sum(|row| row.sent)),
            show_bytes(sum(|row| row.received)),
            sum(|row| row.calls),
        )),
        Span::styled(
            format!("{errors} errors/s"),
            if errors > 0 { alarming(state) } else { Style::new() },
        ),
    ])
}

/// What must not be overlooked.
fn warning(state: &State) -> Option<String> {
    let lost = state.ledger.filter(|ledger| ledger.lost() > 0);
    if let Some(ledger) = lost {
        return Some(format!(
            "{} calls are not shown: there are more sums than there is room for (--max-sums)",
            ledger.lost()
        ));
    }
    state.notes.last().map(|note| printable(note).into_owned())
}

fn draw_processes(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let rows = state.rows();
    let place = state.place();
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let first = place.map_or(0, |place| (place + 1).saturating_sub(room));
    let is_wide = area.width >= WIDE;
    let mut titles = vec![
        (Some(Column::Pid), "PID", Constraint::Length(7)),
        (None, "USER", Constraint::Length(10)),
        (Some(Column::Name), "NAME", Constraint::Fill(1)),
        (Some(Column::Sent), "SENT/s", Constraint::Length(11)),
        (Some(Column::Received), "RECEIVED/s", Constraint::Length(11)),
        (Some(Column::Calls), "CALLS/s", Constraint::Length(9)),
        (Some(Column::Errors), "ERRORS/s", Constraint::Length(8)),
    ];
    if is_wide {
        titles.push((None, "P50", Constraint::Length(8)));
        titles.push((None, "P99", Constraint::Length(8)));
    }
    let heading = titles.iter().enumerate().map(|(index, (column, title, _))| {
        let is_sorted_by = *column == Some(state.sort)
            || (state.sort == Column::Throughput
                && matches!(column, Some(Column::Sent | Column::Received)));
        let style =
            if is_sorted_by { strong().add_modifier(Modifier::UNDERLINED) } else { dimmed() };
        cell((*title).to_owned(), index == 0 || index > 2).style(style)
    });
    let heading = TableRow::new(heading);
    let shown = rows.iter().enumerate().skip(first).take(room).map(|(index, row)| {
        let mut cells = vec![
            cell(row.key.pid.to_string(), true),
            cell(row.user.clone(), false),
            cell(row.name.clone(), false),
            cell(show_bytes(row.sent), true),
            cell(show_bytes(row.received), true),
            cell(row.calls.to_string(), true),
            cell(row.errors.to_string(), true).style(if row.errors > 0 {
                alarming(state)
            } else {
                Style::new()
            }),
        ];
        if is_wide {
            cells.push(cell(latency(row.median), true));
            cells.push(cell(latency(row.slow), true));
        }
        let mut style = if row.idle > 0 { dimmed() } else { Style::new() };
        if place == Some(index) {
            style = style.add_modifier(Modifier::REVERSED);
        }
        TableRow::new(cells).style(style)
    });
    let widths: Vec<_> = titles.iter().map(|(_, _, width)| *width).collect();
    frame.render_widget(Table::new(shown, widths).header(heading), area);
    if rows.is_empty() {
        let text = if state.filter.is_empty() {
            "No process has used a socket yet."
        } else {
            "No process fits the filter."
        };
        let below = Rect { y: area.y + 1, height: 1, ..area };
        frame.render_widget(Paragraph::new(text).style(dimmed()), below);
    }
}

/// What the selected process does, in words.
fn draw_details(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let rows = state.rows();
    let row = state.place().and_then(|place| rows.get(place));
    let title = match row {
        Some(row) if state.hidden > 0 => {
            let hidden = state.hidden;
            format!("── {} {}: {hidden} sockets more than are shown ", row.key.pid, row.name)
        }
        Some(row) => format!("── {} {} ", row.key.pid, row.name),
        None => "── no process ".to_owned(),
    };
    let filled = format!("{title}{}", "─".repeat(area.width.into()));
    let mut lines = vec![Line::styled(
        filled,
        if state.mode == Mode::Connections { strong() } else { dimmed() },
    )];
    if let Some(row) = row {
        let calls: Vec<_> = row
            .by_call
            .iter()
            .take(NAMED)
            .map(|(name, count)| format!("{name} {count}/s"))
            .collect();
        let errors: Vec<_> = row
            .by_error
            .iter()
            .take(NAMED)
            .map(|(number, count)| format!("{} {count}/s", errno_name(*number)))
            .collect();
        lines.push(Line::raw(format!("calls:  {}", or_none(&calls))));
        let style = if errors.is_empty() { Style::new() } else { alarming(state) };
        lines.push(Line::styled(format!("errors: {}", or_none(&errors)), style));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn or_none(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn draw_connections(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let connections = match &state.connections {
        Connections::Known(connections) => connections,
        Connections::Unknown(reason) => {
            let text = format!("connections are not known: {}", printable(reason));
            return frame.render_widget(Paragraph::new(text).style(dimmed()), area);
        }
    };
    let mut titles = vec![("FD", Constraint::Length(4), true)];
    if area.width >= WIDE {
        titles.push(("PROTO", Constraint::Length(6), false));
    }
    titles.extend([
        ("STATE", Constraint::Length(11), false),
        ("LOCAL", Constraint::Fill(1), false),
        ("REMOTE", Constraint::Fill(1), false),
        ("RTT", Constraint::Length(6), true),
        ("RETR", Constraint::Length(4), true),
        ("RECV-Q", Constraint::Length(6), true),
        ("SEND-Q", Constraint::Length(6), true),
    ]);
    if area.width >= VERY_WIDE {
        titles.push(("SENT/s", Constraint::Length(10), true));
        titles.push(("RECEIVED/s", Constraint::Length(10), true));
    }
    let heading =
        TableRow::new(titles.iter().map(|(title, _, right)| cell((*title).to_owned(), *right)))
            .style(dimmed());
    let taken = titles.iter().map(|(_, width, _)| match width {
        // And the gap after it.
        Constraint::Length(length) => usize::from(*length) + 1,
        _ => 1,
    });
    let end_width = usize::from(area.width).saturating_sub(taken.sum::<usize>()) / 2;
    let room = usize::from(area.height.saturating_sub(1));
    let rows = connections.iter().skip(state.first_connection).take(room).map(|connection| {
        TableRow::new(connection_cells(connection, area.width, end_width, state))
    });
    let widths: Vec<_> = titles.iter().map(|(_, width, _)| *width).collect();
    frame.render_widget(Table::new(rows, widths).header(heading), area);
    if connections.is_empty() {
        let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1).min(1), ..area };
        let text = "It has no sockets of these families open now.";
        frame.render_widget(Paragraph::new(text).style(dimmed()), below);
    }
}

/// Of a list that is so wide, with so much room for each end.
fn connection_cells(
    connection: &Connection,
    width: u16,
    end_width: usize,
    state: &State,
) -> Vec<Cell<'static>> {
    let number = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let bytes = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), show_bytes);
    let is_lossy = connection.retransmits.is_some_and(|count| count > 0);
    let state_style = match connection.state {
        Some(SocketState::Listen) if state.is_colored => Style::new().fg(Color::Green),
        _ => Style::new(),
    };
    let end = |text: &str| cell(shortened(text, end_width), false);
    let mut cells = vec![cell(connection.fd.to_string(), true)];
    if width >= WIDE {
        cells.push(cell(connection.protocol.clone(), false));
    }
    cells.extend([
        cell(connection.state.map_or("-", SocketState::name).to_owned(), false).style(state_style),
        end(&connection.local),
        end(&connection.remote),
        cell(latency(connection.rtt), true),
        cell(number(connection.retransmits), true).style(if is_lossy {
            alarming(state)
        } else {
            Style::new()
        }),
        cell(number(connection.receive_queue), true),
        cell(number(connection.send_queue), true),
    ]);
    if width >= VERY_WIDE {
        cells.push(cell(bytes(connection.sent), true));
        cells.push(cell(bytes(connection.received), true));
    }
    cells
}

fn footer_line(state: &State) -> Line<'static> {
    let keys: &[(&str, &str)] = match state.mode {
        Mode::Filtering => &[("Enter", "keep the filter"), ("Esc", "without filter")],
        Mode::Help => &[("any key", "back")],
        Mode::Connections => &[
            ("Up/Down", "go through connections"),
            ("Tab", "processes"),
            ("f", "freeze"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Mode::Browsing => &[
            ("Up/Down", "select"),
            ("Tab", "connections"),
            ("s", "sort"),
            ("/", "filter"),
            ("f", "freeze"),
            ("?", "help"),
            ("q", "quit"),
        ],
    };
    let mut spans = Vec::new();
    for (key, what) in keys {
        spans.push(Span::styled((*key).to_owned(), strong()));
        spans.push(Span::styled(format!(" {what}  "), dimmed()));
    }
    Line::from(spans)
}

fn cell(text: String, is_right: bool) -> Cell<'static> {
    let alignment = if is_right { Alignment::Right } else { Alignment::Left };
    Cell::new(Line::raw(text).alignment(alignment))
}

/// The end of what is too long, which tells more than its beginning: a port, a file.
fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let kept = text.char_indices().rev().take_while(|(_, character)| {
        let taken = character.width().unwrap_or_default();
        let fits = taken <= room;
        room = room.saturating_sub(taken);
        fits
    });
    let begin = kept.last().map_or(text.len(), |(begin, _)| begin);
    format!("…{}", text.get(begin..).unwrap_or_default())
}

/// A dash where there is none.
pub(super) fn latency(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), show_latency)
}

fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dimmed() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn alarming(state: &State) -> Style {
    if state.is_colored { Style::new().fg(Color::Red) } else { strong() }
}
