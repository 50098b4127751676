//! Tables: aligned columns, separated by two spaces, without borders. On a terminal, shrinkable columns are cut until
//! the table fits; if it can't, each row becomes a block with one line per column. Elsewhere nothing is cut.
use super::screen::{Screen, Tone};
use super::words::{cut_to, plain, wrap};
use comfy_table::{
    Attribute, Cell as Inner, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row,
    Table as Layout, Width, presets,
};
use std::cmp::Reverse;
use unicode_width::UnicodeWidthStr;

/// Text in a tone, escaped by [`plain`].
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Creates a cell in a tone.
    pub(crate) fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: plain(&text.into()), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(Tone::Plain, text)
    }
}

/// The layout of a table on a screen.
enum Form {
    /// At full width.
    Whole,
    /// Columns of these widths.
    Columns(Vec<usize>),
    /// The columns don't fit side by side in this width.
    Blocks(usize),
}

/// Minimum columns for a value beside its key; with less room it is below it.
const MIN_VALUE_COLUMNS: usize = 12;

/// The order in which columns are cut: the least important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    First,
    Middle,
    Last,
}

/// The kind of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fixed,
    /// Can be cut to this width, when it is its turn.
    Shrinks(usize, Turn),
    Number,
}

/// A table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Kind)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Creates a table without columns.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a column that is never cut.
    pub(crate) fn column(mut self, title: &'static str) -> Self {
        self.columns.push((title, Kind::Fixed));
        self
    }

    /// Adds a column that may be cut to `least` on a narrow terminal.
    pub(crate) fn shrinking(mut self, title: &'static str, least: usize) -> Self {
        self.columns.push((title, Kind::Shrinks(least, Turn::Middle)));
        self
    }

    /// Adds a less important column, which is cut before the others.
    pub(crate) fn shrinking_first(mut self, title: &'static str, least: usize) -> Self {
        self.columns.push((title, Kind::Shrinks(least, Turn::First)));
        self
    }

    /// Adds a more important column, which is cut only when the others can't be cut further.
    pub(crate) fn shrinking_last(mut self, title: &'static str, least: usize) -> Self {
        self.columns.push((title, Kind::Shrinks(least, Turn::Last)));
        self
    }

    /// Adds a column of numbers.
    pub(crate) fn number(mut self, title: &'static str) -> Self {
        self.columns.push((title, Kind::Number));
        self
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Formats the table, each line with a newline.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let widths = match self.form(screen) {
            Form::Whole => None,
            Form::Columns(widths) => Some(widths),
            Form::Blocks(width) => return self.blocks(width, screen),
        };
        let mut layout = Layout::new();
        layout.load_style(presets::NOTHING);
        layout.force_no_tty();
        // cells are cut at any column, not between words: this delimiter occurs in no cell
        layout.set_delimiter('\u{1}');
        if screen.color {
            // the decision about colour was made from the flag and the variables
            crossterm::style::force_color_output(true);
            layout.enforce_styling();
            layout.style_text_only();
        }
        let header =
            self.columns.iter().map(|(title, _)| Cell::toned(Tone::Strong, *title)).collect::<Vec<_>>();
        let cut = |(at, cell): (usize, &Cell)| match &widths {
            Some(widths) => inner(&Cell { text: cut_to(&cell.text, widths[at]), ..*cell }),
            None => inner(cell),
        };
        layout.set_header(header.iter().enumerate().map(cut).collect::<Vec<_>>());
        for cells in &self.rows {
            let mut row = Row::from(cells.iter().enumerate().map(cut).collect::<Vec<_>>());
            row.max_height(1);
            layout.add_row(row);
        }
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

    /// Chooses the layout. On a terminal, each column starts at the width of its content; then shrinkable columns are
    /// cut in their turn, within a turn first the one that can give most.
    fn form(&self, screen: &Screen) -> Form {
        let Some(width) = screen.width else { return Form::Whole };
        let room = width.saturating_sub(2 * self.columns.len().saturating_sub(1));
        let widest =
            |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width()).max();
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|at| self.columns[at].0.width().max(widest(at).unwrap_or(0)))
            .collect();
        while widths.iter().sum::<usize>() > room {
            let shrinks = (0..widths.len()).filter_map(|at| match self.columns[at].1 {
                Kind::Shrinks(least, turn) if widths[at] > least => {
                    Some((Reverse(turn), widths[at] - least, at))
                }
                _ => None,
            });
            let Some((_, _, widest)) = shrinks.max() else { return Form::Blocks(width) };
            widths[widest] -= 1;
        }
        Form::Columns(widths)
    }

    /// Formats each row as a block with at least one line per non-empty cell.
    fn blocks(&self, width: usize, screen: &Screen) -> String {
        let keys = self.columns.iter().map(|(title, _)| title.width()).max().unwrap_or(0) + 2;
        let beside = width.saturating_sub(keys) >= MIN_VALUE_COLUMNS;
        let indent = if beside { keys } else { 2 };
        let mut text = String::new();
        for (at, cells) in self.rows.iter().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            for ((title, _), cell) in self.columns.iter().zip(cells).filter(|(_, cell)| !cell.text.is_empty())
            {
                let key = screen.paint(Tone::Dim, title);
                if beside {
                    text += &format!("{key}{}", " ".repeat(keys - title.width()));
                } else {
                    text += &format!("{key}\n  ");
                }
                let lines = wrap(&cell.text, width.saturating_sub(indent));
                let lines: Vec<String> = lines.iter().map(|line| screen.paint(cell.tone, line)).collect();
                text += &(lines.join(&format!("\n{}", " ".repeat(indent))) + "\n");
            }
        }
        if self.rows.is_empty() {
            let titles: Vec<&str> = self.columns.iter().map(|(title, _)| *title).collect();
            text = wrap(&titles.join("  "), width).join("\n") + "\n";
        }
        text
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
