//! The preflight as text, to be read at night.

use std::fmt::{Display, Formatter, Result};

use super::{Level, Preflight, PreflightFinding};
use crate::kind::label;

/// The most rows that are shown of one finding.
const MAX_SHOWN: usize = 20;

impl PreflightFinding {
    /// The name of the check with its kind.
    pub fn label(&self) -> String {
        label(&self.check, self.kind.as_deref())
    }
}

impl Display for Preflight {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let seconds = self.elapsed.as_secs_f32();
        writeln!(f, "{} checks of the whole database in {seconds:.1} s.", self.checks)?;
        let repairs = match self.repaired {
            true => "REPAIRED",
            false => "TO BE REPAIRED by the migration",
        };
        let sections = [
            (Level::Obstacle, "IN THE WAY of the migration; nothing has been changed"),
            (Level::Repair, repairs),
            (Level::Note, "WORTH KNOWING; stays as it is"),
        ];
        for (level, title) in sections {
            let findings: Vec<_> = self.of(level).collect();
            if !findings.is_empty() {
                writeln!(f, "\n{title}")?;
            }
            for finding in findings {
                write_finding(f, finding)?;
            }
        }
        if !self.unchecked.is_empty() {
            writeln!(
                f,
                "\nNOT CHECKED, since PostgreSQL refused to look; run this again after the above"
            )?;
        }
        for unchecked in &self.unchecked {
            writeln!(f, "\n  {}: {}", unchecked.check, unchecked.reason)?;
        }
        if self.findings.is_empty() && self.unchecked.is_empty() {
            writeln!(f, "Nothing was found.")?;
        }
        Ok(())
    }
}

fn write_finding(f: &mut Formatter<'_>, finding: &PreflightFinding) -> Result {
    writeln!(f, "\n  {}: {}", finding.label(), finding.count)?;
    writeln!(f, "    {}", finding.finds)?;
    for row in finding.rows.iter().take(MAX_SHOWN) {
        // A text from the database stays on its line.
        writeln!(f, "      - {}", one_line(row))?;
    }
    let more = finding.count.saturating_sub(MAX_SHOWN as u64);
    if more > 0 {
        writeln!(f, "      and {more} more")?;
    }
    if finding.level == Level::Repair {
        return writeln!(f, "    {}", finding.advice);
    }
    if !finding.advice.is_empty() {
        writeln!(f, "    Remedy: {}", finding.advice)?;
    }
    for line in finding.remedy.lines() {
        writeln!(f, "        {line}")?;
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            letter if letter.is_control() => line.extend(letter.escape_default()),
            letter => line.push(letter),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_finding_has_its_rows_and_its_remedy() {
        let finding = |level, count| PreflightFinding {
            check: "price_invalid".to_owned(),
            kind: Some("test".to_owned()),
            level,
            finds: "Items have a negative price.".to_owned(),
            count,
            rows: (1..=count.min(1000)).map(|id| format!("test {id}\n")).collect(),
            advice: "This drops the sign.".to_owned(),
            remedy: "update tests\nset price = -price;".to_owned(),
        };
        let preflight = Preflight {
            findings: vec![finding(Level::Obstacle, 1), finding(Level::Repair, 2000)],
            unchecked: Vec::new(),
            checks: 2,
            elapsed: Duration::from_millis(1234),
            repaired: false,
        };
        let text = preflight.to_string();
        let expected = "2 checks of the whole database in 1.2 s.

IN THE WAY of the migration; nothing has been changed

  price_invalid (test): 1
    Items have a negative price.
      - test 1\\n
    Remedy: This drops the sign.
        update tests
        set price = -price;

TO BE REPAIRED by the migration

  price_invalid (test): 2000
";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.ends_with("      - test 20\\n\n      and 1980 more\n    This drops the sign.\n"),
            "{text}"
        );
    }
}
