//! The loop of the full screen: takes inputs, carries out effects, draws. It sleeps until a key, a message of the
//! daemon, a signal, or a time at which the display changes.
use super::draw::draw;
use super::link::TopLink;
use super::model::TopModel;
use super::moment::TopMoment;
use super::options::{TopFailure, TopOptions};
use super::terminal::{TerminalGuard, edit, page};
use super::update::{TopEffect, TopInput, next_look, update};
use crate::client::Address;
use ratatui::crossterm::event::{self, Event as TerminalEvent};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Minimum interval between two frames.
const FRAME_INTERVAL: Duration = Duration::from_millis(50);

struct FullScreen {
    terminal: TerminalGuard,
    link: TopLink,
    model: TopModel,
    start: Instant,
    wake: OwnedFd,
    ended: Arc<AtomicBool>,
    redraw: bool,
}

/// Shows the fleet until the user quits.
pub(super) fn full_screen(address: &Address, options: &TopOptions) -> Result<(), TopFailure> {
    let (wake, waker) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(io::Error::from)?;
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    for signal in [SIGTERM, SIGHUP, SIGINT, SIGWINCH] {
        signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
    }
    let link = TopLink::start(address, Some(waker))?;
    let terminal = TerminalGuard::take()?;
    let start = Instant::now();
    let mut model =
        TopModel::new(moment(start), options.zone.clone(), options.host.clone(), terminal.size()?);
    model.read_only = options.read_only;
    let mut screen = FullScreen { terminal, link, model, start, wake, ended, redraw: true };
    screen.run(options)
}

fn moment(start: Instant) -> TopMoment {
    TopMoment { wall: crate::clock::wall(), since_start: start.elapsed() }
}

impl FullScreen {
    fn run(&mut self, options: &TopOptions) -> Result<(), TopFailure> {
        let mut drawn: Option<(Instant, u64)> = None;
        let mut looked = Instant::now();
        self.feed(TopInput::Tick)?;
        while !self.ended.load(Ordering::Relaxed) {
            while let Ok(input) = self.link.inputs.try_recv() {
                if self.feed(input)? {
                    return Ok(());
                }
            }
            while event::poll(Duration::ZERO)? {
                let input = match event::read()? {
                    TerminalEvent::Key(key) => TopInput::Key(key),
                    TerminalEvent::Resize(width, height) => TopInput::Resized(width, height),
                    _ => continue,
                };
                if self.feed(input)? {
                    return Ok(());
                }
            }
            if looked.elapsed() >= next_look(&self.model) {
                looked = Instant::now();
                self.feed(TopInput::Tick)?;
            }
            let is_stale = self.redraw || drawn.is_none_or(|(_, version)| version != self.model.version);
            let rested = drawn.map_or(FRAME_INTERVAL, |(at, _)| at.elapsed());
            if is_stale && rested >= FRAME_INTERVAL {
                let (width, height) = self.terminal.size()?;
                if (width, height) != self.model.size {
                    // a change of size without a signal
                    self.feed(TopInput::Resized(width, height))?;
                }
                self.draw(options)?;
                drawn = Some((Instant::now(), self.model.version));
            }
            let is_stale = is_stale && rested < FRAME_INTERVAL;
            let wait = next_look(&self.model).saturating_sub(looked.elapsed());
            self.sleep(if is_stale { wait.min(FRAME_INTERVAL - rested) } else { wait })?;
        }
        Ok(())
    }

    fn draw(&mut self, options: &TopOptions) -> io::Result<()> {
        let mut lines = 0;
        let model = &self.model;
        self.terminal.draw(|buffer| lines = draw(model, options.theme, buffer))?;
        self.model.settle_scroll(lines);
        self.redraw = false;
        Ok(())
    }

    /// Applies an input and carries out the effects. Returns true if the program is to end.
    fn feed(&mut self, input: TopInput) -> io::Result<bool> {
        for effect in update(&mut self.model, moment(self.start), input) {
            match effect {
                TopEffect::Ask(ask) => self.link.ask(ask),
                TopEffect::Act(act) => self.link.act(act),
                TopEffect::Copy(text) => self.terminal.copy(&text)?,
                TopEffect::Pager(text) => {
                    if let Err(error) = self.terminal.aside(|| page(&text))? {
                        self.model.say(format!("the pager can't be started: {error}"));
                    }
                    self.redraw = true;
                }
                TopEffect::Edit(path, line) => {
                    if let Err(error) = self.terminal.aside(|| edit(&path, line))? {
                        self.model.say(format!("the editor can't be started: {error}"));
                    }
                    self.redraw = true;
                }
                TopEffect::Suspend => {
                    let me = rustix::process::getpid();
                    // returns when the shell continues this program
                    self.terminal
                        .aside(|| rustix::process::kill_process(me, rustix::process::Signal::TSTP))??;
                    self.redraw = true;
                }
                TopEffect::Redraw => {
                    self.terminal.clear()?;
                    self.redraw = true;
                }
                TopEffect::Quit => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Waits for a key, a message of the daemon or a signal, at most for this long.
    fn sleep(&self, at_most: Duration) -> io::Result<()> {
        let stdin = io::stdin();
        let mut both = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        match poll(&mut both, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if both[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            // the terminal was closed
            self.ended.store(true, Ordering::Relaxed);
        }
        let mut bytes = [0; 256];
        while matches!(rustix::io::read(&self.wake, &mut bytes), Ok(read) if read == bytes.len()) {}
        Ok(())
    }
}
