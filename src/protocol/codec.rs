//! Line framing with a length limit.
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Maximum length of a line in bytes, excluding its terminator (section 10).
pub const MAX_LINE: usize = 1 << 20;

/// An error from reading a line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line is longer than [`MAX_LINE`]; the rest of it has not been read.
    #[error("a line of more than {MAX_LINE} bytes")]
    TooLong,
    /// Reading from the connection failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Splits a byte stream into lines. Its buffer grows with the bytes received, never with an
/// announced length. An unterminated line at the end of the stream is discarded.
#[derive(Debug)]
pub struct LineReader<R> {
    input: R,
    partial: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> LineReader<R> {
    /// Creates a reader of `input`.
    pub fn new(input: R) -> Self {
        Self { input, partial: Vec::new() }
    }

    /// Returns the next line without its terminator (LF or CRLF), or `None` at the end of the stream.
    ///
    /// Cancel safe: a partial line is kept for the next call.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        loop {
            let buffer = self.input.fill_buf().await?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let take = end.unwrap_or(buffer.len());
            if self.partial.len() + take > MAX_LINE {
                return Err(LineError::TooLong);
            }
            self.partial.extend_from_slice(&buffer[..take]);
            self.input.consume(end.map_or(take, |end| end + 1));
            if end.is_some() {
                let mut line = std::mem::take(&mut self.partial);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8]) -> Vec<Result<String, &'static str>> {
        let mut reader = LineReader::new(tokio::io::BufReader::with_capacity(3, input));
        let mut found = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(line)) => found.push(Ok(String::from_utf8(line).unwrap())),
                Ok(None) => return found,
                Err(LineError::TooLong) => {
                    found.push(Err("too long"));
                    return found;
                }
                Err(LineError::Io(_)) => unreachable!("a slice does not fail"),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_cut_and_half_lines_dropped() {
        let got = lines(b"one\ntwo\r\n\nthree").await;
        assert_eq!(got, [Ok("one".to_owned()), Ok("two".to_owned()), Ok(String::new())]);
    }

    #[tokio::test]
    async fn the_bound_is_exact() {
        let mut fits = vec![b'x'; MAX_LINE];
        fits.push(b'\n');
        assert_eq!(lines(&fits).await.len(), 1);
        fits.insert(0, b'x');
        assert_eq!(lines(&fits).await, [Err("too long")]);
    }
}
