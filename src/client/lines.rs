//! Lines from a blocking socket, each with a deadline.
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Maximum length of an answer. [`crate::protocol::MAX_LINE`] limits what a daemon accepts; the list of a large fleet
/// is longer, and the daemon is trusted not to flood its clients. This limit only keeps garbage from filling the
/// memory.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Why there is no line.
#[derive(Debug)]
pub(super) enum Broken {
    /// The deadline has passed. A partial line is kept for the next call.
    Late,
    /// The other side closed, or the socket failed; a partial line is dropped.
    Closed,
    /// A line is longer than [`MAX_ANSWER_BYTES`].
    TooLong,
}

/// Splits the data of a socket into lines.
#[derive(Debug)]
pub(super) struct Lines {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Everything before this index was handed out.
    taken: usize,
    /// There is no line end in the rest before this index.
    searched: usize,
}

impl Lines {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new(), taken: 0, searched: 0 }
    }

    pub(super) fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// Returns whether a line can be read without waiting.
    pub(super) fn has_line(&self) -> bool {
        self.buffer[self.searched..].contains(&b'\n')
    }

    /// Returns the next line, without its end; waits until `deadline`, or forever.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Result<Vec<u8>, Broken> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + at;
                let line = self.buffer[self.taken..end].to_vec();
                self.taken = end + 1;
                self.searched = self.taken;
                return Ok(line);
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_ANSWER_BYTES {
                return Err(Broken::TooLong);
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Option<Instant>) -> Result<(), Broken> {
        let timeout = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
            // a timeout of zero would mean no timeout
            Some(Duration::ZERO) => return Err(Broken::Late),
            timeout => timeout,
        };
        self.stream.set_read_timeout(timeout).map_err(|_| Broken::Closed)?;
        let mut piece = [0; 64 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Broken::Closed),
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(Broken::Late),
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(Broken::Closed),
            },
        }
    }
}
