//! The `spin` of the `PATH`.

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::progress;

/// The first version that serves WASI 0.3, for which the component is built.
const OLDEST: (u32, u32) = (4, 1);

/// Checks that the `PATH` has a Spin that serves the component.
pub async fn check() -> anyhow::Result<()> {
    let version = progress::output(Command::new("spin").arg("--version"))
        .await
        .context("there is no spin on the PATH")?;
    let number = version.split(' ').nth(1).unwrap_or_default();
    ensure!(
        parse(number) >= OLDEST,
        "the spin of the PATH is {number}; the component needs {}.{} or newer",
        OLDEST.0,
        OLDEST.1
    );
    Ok(())
}

fn parse(number: &str) -> (u32, u32) {
    let mut parts = number.split(['.', '-']).map_while(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, parse};

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse("4.1.0-pre0") >= OLDEST);
        assert!(parse("4.10.0") >= OLDEST);
        assert!(parse("4.0.9") < OLDEST);
        assert!(parse("no version") < OLDEST);
    }
}
