//! Text tables: columns as wide as their widest cell, section lines across all of them.

/// A table under construction.
pub struct Table {
    rows: Vec<Row>,
}

enum Row {
    Cells(Vec<String>),
    Section(String),
}

impl Table {
    /// A table with these column heads.
    pub fn new(heads: &[&str]) -> Self {
        Self { rows: vec![Row::Cells(heads.iter().map(|&head| head.to_owned()).collect())] }
    }

    /// Adds a row; it may have fewer cells than there are heads, or more.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(Row::Cells(cells));
    }

    /// Adds a line that belongs to no column.
    pub fn section(&mut self, title: &str) {
        self.rows.push(Row::Section(title.to_owned()));
    }

    /// The table, each line with its end.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            match row {
                Row::Section(title) => text.push_str(title),
                Row::Cells(cells) => text.push_str(line(cells, &widths).trim_end()),
            }
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

/// The first two columns are names and stand left, figures stand right.
fn line(cells: &[String], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    });
    cells.collect::<Vec<_>>().join("  ")
}

/// A figure with about three digits that count.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 99.95 || size == 0.0 => format!("{value:.0}"),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if size >= 0.0995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", "", "rate"]);
        table.section("a long line that is wider than the table");
        table.row(vec!["a".to_owned(), "µs".to_owned(), "1".to_owned()]);
        table.row(vec!["b".to_owned()]);
        let expected = "name      rate\na long line that is wider than the table\na     µs     1\nb\n";
        assert_eq!(table.text(), expected);
    }

    #[test]
    fn figures_keep_the_digits_that_count() {
        let table = [
            (0.0, "0"),
            (0.0123, "0.012"),
            (0.0999, "0.10"),
            (1.234, "1.23"),
            (9.999, "10.0"),
            (12.34, "12.3"),
            (99.99, "100"),
            (12345.6, "12346"),
            (-1.5, "-1.50"),
        ];
        for (value, expected) in table {
            assert_eq!(figure(value), expected, "{value}");
        }
    }
}
