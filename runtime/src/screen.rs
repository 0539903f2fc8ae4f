//! The terminal: results to stdout, everything else to stderr, around a progress line, and never a resolved secret.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::config::Secrets;

/// Where the runtime writes. Clones share the terminal.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
    secrets: Secrets,
    live: bool,
}

impl Screen {
    /// A screen with a live line if `live` and stderr is a terminal.
    pub(crate) fn new(live: bool) -> Self {
        let live = live && io::stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), secrets: Secrets::default(), live }
    }

    /// What must never be shown.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// True if there is a terminal to draw a live line on.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// A line of the live part.
    pub(crate) fn bar(&self) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar
    }

    /// Writes a line to stderr.
    pub(crate) fn note(&self, line: &str) {
        self.write_err(format!("{line}\n").as_bytes());
    }

    /// Writes a line to stdout.
    pub(crate) fn result(&self, line: &str) {
        let line = format!("{}\n", self.secrets.hide(line));
        // A reader that has gone is no failure of the query.
        self.bars.suspend(|| _ = io::stdout().lock().write_all(line.as_bytes()));
    }

    /// Stdout for programs' results, written around the live part.
    pub(crate) fn output(&self) -> Stdout {
        Stdout { screen: self.clone(), bytes: Vec::new() }
    }

    /// Takes the live part away.
    pub(crate) fn clear(&self) {
        // Drawing is for the eyes only.
        _ = self.bars.clear();
    }

    fn write_err(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = self.secrets.hide(&text);
        self.bars.suspend(|| _ = io::stderr().lock().write_all(text.as_bytes()));
    }
}

/// Stdout for results: what is written stays together until it is flushed.
pub(crate) struct Stdout {
    screen: Screen,
    bytes: Vec<u8>,
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        self.screen.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&bytes).and_then(|()| stdout.flush())
        })
    }
}

/// Collects what is written until it is dropped or flushed, so that a secret can't hide across two writes.
pub(crate) struct LogLine {
    screen: Screen,
    bytes: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.screen.write_err(&std::mem::take(&mut self.bytes));
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.screen.write_err(&self.bytes);
        }
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogLine;
    fn make_writer(&'a self) -> LogLine {
        LogLine { screen: self.clone(), bytes: Vec::new() }
    }
}
