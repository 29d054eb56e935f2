//! The progress of one kind.

use std::{io::IsTerminal, time::Duration};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};

/// A bar on a terminal, lines elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    label: String,
    terminal: bool,
}

impl Progress {
    pub fn new(lines: &MultiProgress, label: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = lines.add(ProgressBar::new(0).with_prefix(label.to_owned()));
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:10} [{bar:30}] {human_pos}/{human_len} rows ({per_sec:.0}) {msg} [{elapsed}]",
        ) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            label: label.to_owned(),
            terminal,
        }
    }

    pub fn rows(&self, rows: i64) {
        self.bar.set_length(rows.unsigned_abs());
        self.bar.reset();
        self.phase("rows");
    }

    pub fn wrote(&self, rows: i64) {
        self.bar.inc(rows.unsigned_abs());
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
        let tenth = (all / 10).max(1);
        if done == all || done / tenth > (done - rows.unsigned_abs()) / tenth {
            let rate = done as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
            self.line(&format!("{}/{} rows ({rate:.0}/s)", HumanCount(done), HumanCount(all)));
        }
    }

    pub fn phase(&self, name: &str) {
        self.bar.set_message(name.to_owned());
        self.line(name);
    }

    pub fn done(&self, outcome: &str) {
        self.bar.finish_with_message(outcome.to_owned());
        self.line(&format!("done: {outcome}"));
    }

    fn line(&self, text: &str) {
        if !self.terminal {
            eprintln!("{}: {text} [{:.1} s]", self.label, self.bar.elapsed().as_secs_f64());
        }
    }
}
