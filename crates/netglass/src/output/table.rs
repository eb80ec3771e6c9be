//! Aligned columns under a heading, as people read them.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

const GAP: usize = 2;
const DIMMED: Style = Style::new().dimmed();

/// To which side of its column a text is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Names.
    Left,
    /// Numbers.
    Right,
}

/// What stands in a column of a line; nothing where the text is empty.
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn new(text: String, style: Style) -> Self {
        Self { text, style }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, DIMMED)
    }
}

/// Lines of cells, one for each column.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    lines: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without lines, of columns with these titles.
    pub(crate) fn new(columns: impl IntoIterator<Item = (&'static str, Align)>) -> Self {
        Self { columns: columns.into_iter().collect(), lines: Vec::new() }
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, cells: Vec<Cell>) {
        self.lines.push(cells);
    }

    /// Writes heading and lines, with the styles of a terminal.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let widths = self.widths();
        let heading = self.columns.iter().map(|(title, _)| (*title, DIMMED));
        self.write_line(heading, &widths, out)?;
        for line in &self.lines {
            let cells = line.iter().map(|cell| (cell.text.as_str(), cell.style));
            self.write_line(cells, &widths, out)?;
        }
        Ok(())
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(title, _)| title.width()).collect();
        for line in &self.lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.text.width());
            }
        }
        widths
    }

    fn write_line<'a>(
        &self,
        cells: impl Iterator<Item = (&'a str, Style)>,
        widths: &[usize],
        out: &mut impl Write,
    ) -> io::Result<()> {
        // Spaces are written only once something follows them, so that no line ends in them.
        let mut spaces = 0;
        for (((text, style), &width), (_, align)) in cells.zip(widths).zip(&self.columns) {
            let padding = width.saturating_sub(text.width());
            let (before, after) = match align {
                Align::Left => (0, padding),
                Align::Right => (padding, 0),
            };
            if text.is_empty() {
                spaces += width + GAP;
            } else {
                write!(out, "{:1$}{style}{text}{style:#}", "", spaces + before)?;
                spaces = after + GAP;
            }
        }
        writeln!(out)
    }
}
