//! Splits chunks into lines of bounded length.

/// Maximum length of a line that is kept, in bytes: lines may contain images as text.
pub(super) const LONGEST: usize = 8 << 20;

/// Assembles lines from chunks.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    held: String,
    /// The current line is too long: the rest of it is dropped.
    dropping: bool,
    /// Number of lines that were too long.
    pub(super) dropped: u64,
}

impl LineSplitter {
    /// Adds a chunk, and passes on each line that is complete.
    pub(super) fn push(&mut self, piece: &str, mut line: impl FnMut(&str)) {
        let mut rest = piece;
        while let Some(end) = rest.find('\n') {
            let (first, later) = (&rest[..end], &rest[end + 1..]);
            rest = later;
            if self.dropping {
                self.dropping = false;
                continue;
            }
            if self.held.is_empty() && first.len() <= LONGEST {
                line(first);
                continue;
            }
            self.add(first);
            if !std::mem::take(&mut self.dropping) {
                line(&std::mem::take(&mut self.held));
            }
        }
        if !self.dropping {
            self.add(rest);
        }
    }

    /// Passes on the last line, which is unterminated.
    pub(super) fn finish(&mut self, line: impl FnOnce(&str)) {
        if !self.held.is_empty() {
            line(&std::mem::take(&mut self.held));
        }
    }

    fn add(&mut self, part: &str) {
        if self.held.len() + part.len() > LONGEST {
            self.held = String::new();
            self.dropping = true;
            self.dropped += 1;
            return;
        }
        self.held.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    //! Tests of lines in pieces.
    use super::*;

    fn lines(pieces: &[&str]) -> (Vec<String>, u64) {
        let mut all = Vec::new();
        let mut lines = LineSplitter::default();
        for piece in pieces {
            lines.push(piece, |line| all.push(line.to_owned()));
        }
        lines.finish(|line| all.push(line.to_owned()));
        (all, lines.dropped)
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let whole = ["one", "", "three", "half"].map(str::to_owned).to_vec();
        assert_eq!(lines(&["one\n\nthree\nhalf"]), (whole.clone(), 0));
        assert_eq!(lines(&["o", "ne", "\n", "\nthr", "ee\nha", "lf"]), (whole, 0));
        assert_eq!(lines(&[]), (Vec::new(), 0));
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory_without_end() {
        let long = "x".repeat(LONGEST / 2 + 1);
        let (all, dropped) = lines(&["a\n", &long, &long, &long, "tail\nb\n"]);
        assert_eq!((all, dropped), (vec!["a".to_owned(), "b".to_owned()], 1));
        let longer = format!("{long}{long}\nc\n");
        assert_eq!(lines(&[&longer]), (vec!["c".to_owned()], 1));
    }
}
