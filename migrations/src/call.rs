//! How a function is called by a program other than the component.

/// Completes a call such as `get_test($1, $2)`: adds the schema and, as the first argument, the function's own name.
#[must_use]
pub fn function_call(call: &str) -> String {
    let (function, arguments) = call.split_once('(').unwrap_or((call, ")"));
    let separator = if arguments.starts_with(')') { "" } else { ", " };
    format!("sugang.{function}('{function}'{separator}{arguments}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_told_its_name() {
        for (call, complete) in [
            ("get_test($1, 5)", "sugang.get_test('get_test', $1, 5)"),
            ("ready()", "sugang.ready('ready')"),
            ("ready", "sugang.ready('ready')"),
        ] {
            assert_eq!(function_call(call), complete);
        }
    }
}
