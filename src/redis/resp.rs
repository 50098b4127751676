//! The wire format: commands and replies of RESP version 2, the default of each connection. The transport is left to `link`.
use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Maximum length of a reply's line, in bytes.
const MAX_LINE_BYTES: u64 = 8 << 10;
/// Overhead of a part besides its text, in bytes.
const PART_OVERHEAD_BYTES: usize = 64;
/// Maximum nesting of lists.
const MAX_DEPTH: u32 = 2;

/// The limits of a reply. Answers to our commands never exceed them.
#[derive(Clone, Copy, Debug)]
pub struct ReplyBounds {
    /// Maximum length of a text, in bytes.
    pub text: usize,
    /// Maximum size of a reply in memory, in bytes.
    pub whole: usize,
    /// Maximum parts of a list.
    pub parts: usize,
    /// Texts are truncated to this length, in characters.
    pub shown: usize,
}

impl ReplyBounds {
    /// For keys, ids, identities, errors.
    pub const SHORT: Self = Self { text: 64 << 10, whole: 256 << 10, parts: 256, shown: 1024 };
}

/// A command being assembled: its parts are byte strings.
#[derive(Debug, Default)]
pub struct RedisCommand {
    parts: usize,
    body: Vec<u8>,
}

impl RedisCommand {
    /// Creates a command with these parts.
    pub fn of(parts: &[&str]) -> Self {
        let mut command = Self::default();
        parts.iter().for_each(|part| command.part(part.as_bytes()));
        command
    }

    /// Adds a part.
    pub fn part(&mut self, bytes: &[u8]) {
        self.parts += 1;
        self.length(bytes.len());
        self.body.extend_from_slice(bytes);
        self.body.extend_from_slice(b"\r\n");
    }

    /// Adds a number as a part.
    pub fn number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let text = decimal(number, &mut digits);
        self.part(text);
    }

    /// Appends the parts of another command.
    pub fn append(&mut self, other: &Self) {
        self.parts += other.parts;
        self.body.extend_from_slice(&other.body);
    }

    /// Returns the bytes of its parts.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// Returns it in the wire format.
    pub fn encoded(&self) -> Vec<u8> {
        let mut out = format!("*{}\r\n", self.parts).into_bytes();
        out.extend_from_slice(&self.body);
        out
    }

    fn length(&mut self, length: usize) {
        let mut digits = [0; 20];
        self.body.push(b'$');
        self.body.extend_from_slice(decimal(length as u64, &mut digits));
        self.body.extend_from_slice(b"\r\n");
    }
}

/// Formats a number; called several times per event.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// A reply of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisReply {
    /// A text, or a status.
    Text(String),
    Number(i64),
    Nothing,
    List(Vec<Self>),
    /// An error that begins with its code: `NOSCRIPT No matching script`.
    Error(String),
}

/// Reads one reply.
///
/// # Errors
/// That of the connection; [`io::ErrorKind::InvalidData`]: it is not a reply of Redis, or exceeds the limits.
pub async fn read(
    stream: &mut (impl AsyncBufRead + Unpin + Send),
    bounds: ReplyBounds,
) -> io::Result<RedisReply> {
    let mut left = bounds.whole;
    read_part(stream, MAX_DEPTH, bounds, &mut left).await
}

/// Deducts `bytes` from the remaining limit of a reply.
fn spend(left: &mut usize, bytes: usize) -> io::Result<()> {
    *left = left.checked_sub(bytes).ok_or_else(|| odd("a reply that is too long"))?;
    Ok(())
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

async fn read_part<S: AsyncBufRead + Unpin + Send>(
    stream: &mut S,
    depth: u32,
    bounds: ReplyBounds,
    left: &mut usize,
) -> io::Result<RedisReply> {
    let mut line = Vec::new();
    (&mut *stream).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    spend(left, line.len() + PART_OVERHEAD_BYTES)?;
    let Some(line) = line.strip_suffix(b"\r\n") else {
        let is_cut = (line.len() as u64) < MAX_LINE_BYTES && !line.ends_with(b"\n");
        return Err(if is_cut { io::ErrorKind::UnexpectedEof.into() } else { odd("a line without an end") });
    };
    let (kind, rest) = line.split_first().ok_or_else(|| odd("an empty line"))?;
    let text = || String::from_utf8_lossy(rest).into_owned();
    let number = || text().parse::<i64>().map_err(|_| odd("a number that is none"));
    Ok(match kind {
        b'+' => RedisReply::Text(text()),
        b'-' => RedisReply::Error(text()),
        b':' => RedisReply::Number(number()?),
        b'$' => match usize::try_from(number()?) {
            Err(_) => RedisReply::Nothing,
            Ok(length) if length > bounds.text => return Err(odd("a text that is too long")),
            Ok(length) => {
                spend(left, length)?;
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes).await?;
                bytes.truncate(length);
                RedisReply::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
        },
        b'*' => match usize::try_from(number()?) {
            Err(_) => RedisReply::Nothing,
            Ok(parts) if parts > bounds.parts || depth == 0 => return Err(odd("a list that is too long")),
            Ok(parts) => {
                let mut list = Vec::new();
                for _ in 0..parts {
                    list.push(Box::pin(read_part(stream, depth - 1, bounds, left)).await?);
                }
                RedisReply::List(list)
            }
        },
        _ => return Err(odd("a line that is none of its protocol")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn replies(mut bytes: &[u8]) -> io::Result<Vec<RedisReply>> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            all.push(read(&mut bytes, ReplyBounds::SHORT).await?);
        }
        Ok(all)
    }

    #[test]
    fn a_command_says_how_long_its_parts_are() {
        let mut command = RedisCommand::of(&["XADD", "a key"]);
        command.number(0);
        command.number(u64::MAX);
        command.part(b"\r\n\0");
        let sent =
            b"*5\r\n$4\r\nXADD\r\n$5\r\na key\r\n$1\r\n0\r\n$20\r\n18446744073709551615\r\n$3\r\n\r\n\0\r\n";
        assert_eq!(command.encoded(), sent);
        let mut both = RedisCommand::of(&["EVALSHA"]);
        both.append(&RedisCommand::of(&["x"]));
        assert_eq!(both.encoded(), b"*2\r\n$7\r\nEVALSHA\r\n$1\r\nx\r\n");
    }

    #[tokio::test]
    async fn replies_of_each_kind_are_read() {
        use RedisReply::*;
        let sent =
            b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\na\r\nbc\r\n$-1\r\n*-1\r\n*2\r\n$0\r\n\r\n*1\r\n:3\r\n*0\r\n";
        let text = |text: &str| Text(text.to_owned());
        let read = [
            text("OK"),
            Error("ERR no".into()),
            Number(-7),
            text("a\r\nbc"),
            Nothing,
            Nothing,
            List(vec![text(""), List(vec![Number(3)])]),
            List(Vec::new()),
        ];
        assert_eq!(replies(sent).await.unwrap(), read);
    }

    #[tokio::test]
    async fn what_is_cut_off_too_long_or_no_reply_is_an_error() {
        let long = format!("+{}\r\n", "x".repeat(20_000));
        let deep = "*1\r\n".repeat(100);
        let large = format!(
            "*2\r\n{}",
            format!("*256\r\n{}", format!("+{}\r\n", "x".repeat(2000)).repeat(256)).repeat(2)
        );
        let texts = format!("*5\r\n{}", format!("$60000\r\n{}\r\n", "x".repeat(60_000)).repeat(5));
        let cases: [(&[u8], io::ErrorKind); 14] = [
            (large.as_bytes(), io::ErrorKind::InvalidData),
            (texts.as_bytes(), io::ErrorKind::InvalidData),
            (b"*1\r\n*1\r\n*0\r\n", io::ErrorKind::InvalidData),
            (b"+O", io::ErrorKind::UnexpectedEof),
            (b"$5\r\nab", io::ErrorKind::UnexpectedEof),
            (b"*2\r\n:1\r\n", io::ErrorKind::UnexpectedEof),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", io::ErrorKind::InvalidData),
            (b"\x15\x03\x01\x00\x02\x02\n", io::ErrorKind::InvalidData),
            (b"$99999999999\r\n", io::ErrorKind::InvalidData),
            (b"*99999999\r\n", io::ErrorKind::InvalidData),
            (b"$x\r\n", io::ErrorKind::InvalidData),
            (b"\r\n", io::ErrorKind::InvalidData),
            (long.as_bytes(), io::ErrorKind::InvalidData),
            (deep.as_bytes(), io::ErrorKind::InvalidData),
        ];
        for (sent, kind) in cases {
            let shown = String::from_utf8_lossy(&sent[..sent.len().min(30)]).into_owned();
            assert_eq!(replies(sent).await.expect_err(&shown).kind(), kind, "{shown}");
        }
    }
}
