//! Tables for people: columns as wide as their widest cell, two spaces between, no lines, no colours.

use std::fmt;

/// A table. A control character in a cell is shown escaped: names come from files and tenants.
pub(super) struct Table {
    headers: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headers: &'static [&'static str]) -> Self {
        Self { headers, rows: Vec::new() }
    }

    /// Adds a row; an empty cell is shown as `-`.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { plain(&cell) }).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A text in one line.
pub(super) fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<String> = self.headers.iter().map(|header| (*header).to_owned()).collect();
        let lines = || std::iter::once(&headers).filter(|line| !line.is_empty()).chain(&self.rows);
        let columns = lines().map(Vec::len).max().unwrap_or(0);
        let cell_width = |line: &Vec<String>, column: usize| line.get(column).map_or(0, |cell| cell.chars().count());
        let widths: Vec<usize> =
            (0..columns).map(|column| lines().map(|line| cell_width(line, column)).max().unwrap_or(0)).collect();
        for line in lines() {
            let last = line.len().saturating_sub(1);
            for (column, cell) in line.iter().enumerate() {
                // Spaces after the last cell would only wrap.
                let width = if column == last { 0 } else { widths[column] };
                let gap = if column == 0 { "" } else { "  " };
                write!(f, "{gap}{cell:width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
