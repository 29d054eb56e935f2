//! PostgreSQL's other form of an address: `host=db port=5432 user=sugang password='…'`.

use super::UrlError;

/// Reads the pairs as libpq does: a value with blanks stands in single quotes; `\` keeps the next character.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, UrlError> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(stray)?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(stray());
        }
        let (value, after) = value(after.trim_start())?;
        pairs.push((name.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// A value, and what follows it.
fn value(text: &str) -> Result<(String, &str), UrlError> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, character)| character)),
            '\'' if quoted => return Ok((value, &text[index + 1..])),
            character if !quoted && character.is_whitespace() => return Ok((value, &text[index..])),
            character => value.push(character),
        }
    }
    match quoted {
        true => Err(UrlError::new(
            "has a quote that does not end: write `'` in a value as \\'",
        )),
        false => Ok((value, "")),
    }
}

fn stray() -> UrlError {
    UrlError::new("has a word that is no `name=value`: put a value with blanks into single quotes")
}
