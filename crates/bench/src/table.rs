//! Results as an aligned table.

use std::fmt::{self, Display, Formatter};

/// A header and rows; the first column is text, the others are numbers.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows yet.
    pub(crate) fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Self {
        Self { rows: vec![header.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row of as many cells as the header has.
    pub(crate) fn push<T: Into<String>>(&mut self, row: impl IntoIterator<Item = T>) {
        self.rows.push(row.into_iter().map(Into::into).collect());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut cells = row.iter().zip(&widths);
            if let Some((name, width)) = cells.next() {
                write!(f, "  {name:<width$}")?;
            }
            for (number, width) in cells {
                write!(f, "  {number:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_aligned_to_the_left_and_numbers_to_the_right() {
        let mut table = Table::new(["contestant", "wall"]);
        table.push(["fast", "5.0 ms"]);
        table.push(["a slow × one", "1000.0 ms"]);
        let expected = "\
            \x20 contestant         wall
            \x20 fast             5.0 ms
            \x20 a slow × one  1000.0 ms\n"
            .replace("            \u{20} ", "  ");
        assert_eq!(table.to_string(), expected);
    }
}
