//! The progress of a command, on standard error: a spinner on a terminal, plain lines elsewhere.

use std::{
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use console::style;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::process::Command;

/// A piece of work that can take long. Dropped without [`Step::done`], it reports no success.
pub struct Step {
    label: String,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    /// Begins a step that prints nothing itself.
    pub fn quiet(label: impl Into<String>) -> Self {
        let label = label.into();
        let spinner = console::user_attended_stderr().then(|| {
            let spinner = ProgressBar::new_spinner().with_message(label.clone());
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg} ({elapsed})") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        if spinner.is_none() {
            eprintln!("==> {label}");
        }
        Self {
            label,
            started: Instant::now(),
            spinner,
        }
    }

    /// Begins a step whose programs write their own progress to the terminal.
    pub fn loud(label: impl Into<String>) -> Self {
        let label = label.into();
        eprintln!(
            "{} {}",
            style("==>").cyan().bold().for_stderr(),
            style(&label).bold().for_stderr()
        );
        Self {
            label,
            started: Instant::now(),
            spinner: None,
        }
    }

    /// Ends the step and prints how long it took and, unless it is empty, the outcome.
    pub fn done(self, outcome: &str) {
        let colon = if outcome.is_empty() { "" } else { ": " };
        let seconds = self.started.elapsed().as_secs_f32();
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        eprintln!(
            "{} {}{colon}{outcome} ({seconds:.1} s)",
            style(" ok").green().bold().for_stderr(),
            self.label
        );
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// Runs a program to its end; its output appears as it comes. A failure is an error that names the command.
pub async fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .await
        .with_context(|| format!("cannot start {}", shown(command)))?;
    check(command, status, "")
}

/// Runs a program to its end and returns its standard output. A failure is an error with the end of all its output.
pub async fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let complaint = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    check(command, output.status, &complaint)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn check(command: &Command, status: ExitStatus, complaint: &str) -> anyhow::Result<()> {
    if !status.success() {
        let tail = complaint.lines().collect::<Vec<_>>();
        let tail = tail[tail.len().saturating_sub(20)..].join("\n");
        bail!("{} failed ({status})\n{tail}", shown(command));
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
