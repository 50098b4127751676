//! A program in a pseudo-terminal, and what a person would see there.
use super::support::wait_for;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

/// A program that thinks that it talks to a terminal.
pub struct Pty {
    pub child: Child,
    keyboard: File,
    screen: Arc<Mutex<Screen>>,
}

impl Pty {
    /// Starts it in a terminal of this size.
    pub fn start(command: &mut Command, columns: u16, lines: u16) -> Self {
        let terminal: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&terminal).expect("it is ours");
        unlockpt(&terminal).expect("it is ours");
        resize(&terminal, columns, lines);
        let name = ptsname(&terminal, Vec::new()).expect("its name");
        let name = name.into_string().expect("its name is text");
        let end = || OpenOptions::new().read(true).write(true).open(&name).expect("its other end");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it starts");
        let keyboard = File::from(terminal);
        let mut output = keyboard.try_clone().expect("a descriptor");
        let screen = Arc::new(Mutex::new(Screen::new(columns.into(), lines.into())));
        let drawn = screen.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // it fails when the program has ended
            while let Ok(read @ 1..) = output.read(&mut piece) {
                drawn.lock().expect("a screen").take(&piece[..read]);
            }
        });
        Self { child, keyboard, screen }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a keyboard");
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, columns: u16, lines: u16) {
        *self.screen.lock().expect("a screen") = Screen::new(columns.into(), lines.into());
        resize(&self.keyboard, columns, lines);
    }

    /// What is on the screen.
    pub fn shown(&self) -> String {
        self.screen.lock().expect("a screen").text()
    }

    /// All that was written, with its escapes.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("a screen").written).into_owned()
    }

    /// Waits until all of this is on the screen at once.
    #[track_caller]
    pub fn until(&mut self, texts: &[&str]) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("a text on the screen", || {
                last = self.shown();
                texts.iter().all(|text| last.contains(text)).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("{texts:?} did not come; this did:\n{last}"))
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("its end", || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &impl std::os::fd::AsFd, columns: u16, lines: u16) {
    let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("it has a size");
}

/// As much of a terminal as a program needs that draws cells: moving, clearing, texts.
struct Screen {
    columns: usize,
    cells: Vec<char>,
    at: usize,
    written: Vec<u8>,
    /// Bytes of a sequence or of a character whose end is to come.
    open: Vec<u8>,
}

impl Screen {
    fn new(columns: usize, lines: usize) -> Self {
        Self { columns, cells: vec![' '; columns * lines], at: 0, written: Vec::new(), open: Vec::new() }
    }

    fn text(&self) -> String {
        let line =
            |cells: &[char]| cells.iter().filter(|c| **c != '\0').collect::<String>().trim_end().to_owned();
        self.cells.chunks(self.columns).map(line).collect::<Vec<_>>().join("\n")
    }

    fn take(&mut self, bytes: &[u8]) {
        self.written.extend_from_slice(bytes);
        for byte in bytes {
            self.open.push(*byte);
            let open = std::mem::take(&mut self.open);
            self.open = self.sequence(open);
        }
    }

    /// What has an end is done; the rest comes back.
    fn sequence(&mut self, open: Vec<u8>) -> Vec<u8> {
        match &open[..] {
            [0x1b] | [0x1b, b'['] | [0x1b, b']'] => return open,
            [0x1b, b'[', params @ .., end] if end.is_ascii_alphabetic() => {
                self.control(&String::from_utf8_lossy(params), *end);
            }
            [0x1b, b']', .., 7] => {}
            [0x1b, b'[' | b']', ..] => return open,
            [0x1b, _] => {}
            [b'\r'] => self.at -= self.at % self.columns,
            [b'\n'] => self.at += self.columns,
            text => match std::str::from_utf8(text) {
                Ok(text) => text.chars().for_each(|c| self.put(c)),
                Err(_) if text.len() < 4 => return open,
                Err(_) => {}
            },
        }
        Vec::new()
    }

    fn control(&mut self, params: &str, end: u8) {
        let mut numbers = params.split(';').map(|number| number.parse::<usize>().unwrap_or(1));
        match end {
            b'H' => {
                let (line, column) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
                self.at = line.saturating_sub(1) * self.columns + column.saturating_sub(1);
            }
            b'J' => self.cells.fill(' '),
            _ => {}
        }
    }

    fn put(&mut self, c: char) {
        let width = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        for (n, c) in std::iter::once(c).chain(std::iter::repeat('\0')).take(width).enumerate() {
            if let Some(cell) = self.cells.get_mut(self.at + n) {
                *cell = c;
            }
        }
        self.at += width;
    }
}
