//! Values from the environment, or from a file that the environment names: Docker and Kubernetes mount secrets as files,
//! so that neither the list of processes nor `docker inspect` shows them.

use std::{env, fs, io, path::PathBuf};

/// Why a value of the environment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The file cannot be read.
    #[error("{name}_FILE: cannot read {}: {error}", path.display())]
    File {
        /// The environment variable without its ending.
        name: String,
        /// The file.
        path: PathBuf,
        /// The error of the operating system; `InvalidData` if the file is no UTF-8.
        error: io::Error,
    },
    /// Both are set, and only one of them can be meant.
    #[error("{name} and {name}_FILE are both set: set one of them")]
    Both {
        /// The environment variable without its ending.
        name: String,
    },
}

/// Reads the environment variable `name`, or the file that `name` with the ending `_FILE` names. One line break at the end
/// of a file does not count, and neither does an empty variable beside a file.
///
/// # Errors
/// See [`EnvironmentError`].
pub fn environment(name: &str) -> Result<Option<String>, EnvironmentError> {
    choose(
        name,
        env::var(name).ok(),
        env::var_os(format!("{name}_FILE")).map(PathBuf::from),
    )
}

fn choose(name: &str, value: Option<String>, file: Option<PathBuf>) -> Result<Option<String>, EnvironmentError> {
    let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(value);
    };
    let name = name.to_owned();
    if value.is_some_and(|value| !value.is_empty()) {
        return Err(EnvironmentError::Both { name });
    }
    match fs::read_to_string(&path) {
        Ok(text) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned()))
        }
        Err(error) => Err(EnvironmentError::File { name, path, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_from_the_variable_or_from_the_file() {
        let file = env::temp_dir().join(format!("sugang-secret-{}", std::process::id()));
        let given = |text: &str| Some(text.to_owned());
        assert_eq!(choose("X", None, None).unwrap(), None);
        assert_eq!(choose("X", given("a"), None).unwrap(), given("a"));
        assert_eq!(choose("X", given("a"), Some(PathBuf::new())).unwrap(), given("a"));
        for (text, value) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("", "")] {
            fs::write(&file, text).unwrap();
            assert_eq!(
                choose("X", given(""), Some(file.clone())).unwrap(),
                given(value),
                "{text:?}"
            );
        }
        let both = choose("X", given("a"), Some(file.clone())).unwrap_err();
        assert_eq!(both.to_string(), "X and X_FILE are both set: set one of them");
        fs::remove_file(&file).unwrap();
        let missing = choose("X", None, Some(file)).unwrap_err().to_string();
        assert!(
            missing.starts_with("X_FILE: cannot read /") && missing.contains("No such file"),
            "{missing}"
        );
    }
}
