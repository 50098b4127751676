//! Tables: aligned columns, two blanks between them, no lines around. On a terminal, columns that
//! may shrink do so until the table fits; elsewhere nothing is cut.
use super::{Screen, Tone};
use comfy_table::{
    Attribute, Cell as Inner, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row,
    Table as Layout, Width, presets,
};

/// Text in a tone. Made from what [`super::plain`] gave, where it comes from outside.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// In a tone.
    pub(in crate::cli) fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

/// How a column behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fixed,
    /// At least this wide, unless its content is shorter.
    Shrinks(usize),
    Number,
}

/// A table.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Table {
    columns: Vec<(&'static str, Kind)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Without columns yet.
    pub(in crate::cli) fn new() -> Self {
        Self::default()
    }

    /// A column that keeps its width.
    pub(in crate::cli) fn column(mut self, title: &'static str) -> Self {
        self.columns.push((title, Kind::Fixed));
        self
    }

    /// A column that may be cut to `least` where the terminal is narrow.
    pub(in crate::cli) fn shrinking(mut self, title: &'static str, least: usize) -> Self {
        self.columns.push((title, Kind::Shrinks(least)));
        self
    }

    /// A column of numbers.
    pub(in crate::cli) fn number(mut self, title: &'static str) -> Self {
        self.columns.push((title, Kind::Number));
        self
    }

    /// Adds a row.
    pub(in crate::cli) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The text, each line with its end.
    pub(in crate::cli) fn render(&self, screen: &Screen) -> String {
        let mut layout = Layout::new();
        layout.load_style(presets::NOTHING);
        layout.force_no_tty();
        // cells are cut at a column, not at a word; this character is in none of them
        layout.set_delimiter('\u{1}');
        if screen.color {
            // whether there is colour was decided with the flag and the variables in view
            crossterm::style::force_color_output(true);
            layout.enforce_styling();
            layout.style_text_only();
        }
        let header = self.columns.iter().map(|(title, _)| inner(&Cell::toned(Tone::Strong, *title)));
        layout.set_header(header.collect::<Vec<_>>());
        for cells in &self.rows {
            let mut row = Row::from(cells.iter().map(inner).collect::<Vec<_>>());
            row.max_height(1);
            layout.add_row(row);
        }
        let widths = self.widths(&layout, screen);
        for (at, column) in layout.column_iter_mut().enumerate() {
            let last = at + 1 == self.columns.len();
            column.set_padding((0, if last { 0 } else { 2 }));
            if let Some(widths) = &widths {
                let padded = widths[at] + if last { 0 } else { 2 };
                let width = u16::try_from(padded).unwrap_or(u16::MAX);
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
            }
            if self.columns[at].1 == Kind::Number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if let Some(widths) = &widths {
            let total = widths.iter().sum::<usize>() + 2 * widths.len();
            layout.set_content_arrangement(ContentArrangement::Dynamic);
            layout.set_width(u16::try_from(total).unwrap_or(u16::MAX));
        } else {
            layout.set_content_arrangement(ContentArrangement::Disabled);
        }
        layout.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }

    /// The width of each column on a terminal: as its content asks for, then those that shrink give
    /// way, first the one that has most to give.
    fn widths(&self, layout: &Layout, screen: &Screen) -> Option<Vec<usize>> {
        let room = screen.width?.saturating_sub(2 * self.columns.len().saturating_sub(1));
        let mut widths: Vec<usize> =
            layout.column_max_content_widths().iter().map(|w| usize::from(*w)).collect();
        while widths.iter().sum::<usize>() > room {
            let widest = (0..widths.len())
                .filter(|at| matches!(self.columns[*at].1, Kind::Shrinks(least) if widths[*at] > least))
                .max_by_key(|at| match self.columns[*at].1 {
                    Kind::Shrinks(least) => widths[*at] - least,
                    Kind::Fixed | Kind::Number => 0,
                })?;
            widths[widest] -= 1;
        }
        Some(widths)
    }
}

fn inner(cell: &Cell) -> Inner {
    let inner = Inner::new(if cell.text.is_empty() { "-" } else { &cell.text });
    match cell.tone {
        Tone::Plain => inner,
        Tone::Good => inner.fg(Color::DarkGreen),
        Tone::Bad => inner.fg(Color::DarkRed).add_attribute(Attribute::Bold),
        Tone::Warn => inner.fg(Color::DarkYellow),
        Tone::Busy => inner.fg(Color::DarkCyan),
        Tone::Dim => inner.add_attribute(Attribute::Dim),
        Tone::Strong => inner.add_attribute(Attribute::Bold),
    }
}
