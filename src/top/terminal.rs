//! The terminal: taken over, and restored however the program ends.
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use std::io::{self, BufWriter, Stdout, Write};
use std::process::{Command, Stdio};
use std::sync::Once;

/// A terminal that was taken over; restored on drop.
pub(super) struct TerminalGuard {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl TerminalGuard {
    /// Takes over the terminal.
    pub(super) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                // the panic message must appear on the normal screen
                restore();
                before(info);
            }));
        });
        enable_raw_mode()?;
        let mut stdout = io::stdout();
        if let Err(error) = execute!(stdout, EnterAlternateScreen, Hide) {
            restore();
            return Err(error);
        }
        // a large frame is written in one piece
        let backend = CrosstermBackend::new(BufWriter::with_capacity(64 << 10, stdout));
        let terminal = Terminal::new(backend).inspect_err(|_| restore())?;
        Ok(Self { terminal })
    }

    /// Returns the size in columns and lines.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        self.terminal.size().map(|size| (size.width, size.height))
    }

    /// Draws a frame: the changes since the last one are written as one update.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::buffer::Buffer)) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| draw(frame.buffer_mut()))?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }

    /// Clears the screen, so that everything is redrawn.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Copies a text to the clipboard of the terminal (OSC 52, xterm's control sequences).
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        let out = self.terminal.backend_mut();
        write!(out, "\x1b]52;c;{text}\x07")?;
        out.flush()
    }

    /// Restores the terminal while the function runs.
    pub(super) fn aside<T>(&mut self, meanwhile: impl FnOnce() -> T) -> io::Result<T> {
        restore();
        let result = meanwhile();
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        self.terminal.clear()?;
        Ok(result)
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let _ = execute!(io::stdout(), EndSynchronizedUpdate, Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// Shows a text in `$PAGER`, else in less(1).
pub(super) fn page(text: &str) -> io::Result<()> {
    let mut child = program(&["PAGER"], "less").stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // the pager may exit before it has read everything
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait().map(drop)
}

/// Opens a file at this line in `$VISUAL` or `$EDITOR`, else in vi(1).
pub(super) fn edit(path: &str, line: u64) -> io::Result<()> {
    program(&["VISUAL", "EDITOR"], "vi").arg(format!("+{line}")).arg(path).status().map(drop)
}

/// Returns the command of the first variable that is set, run by the shell, since it may have arguments.
fn program(variables: &[&str], else_this: &str) -> Command {
    let mut named = variables.iter().filter_map(|name| std::env::var(name).ok());
    let named = named.find(|value| !value.trim().is_empty()).unwrap_or_else(|| else_this.to_owned());
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("exec {named} \"$@\"")).arg("sh");
    command
}
