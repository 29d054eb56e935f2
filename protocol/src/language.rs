//! The two languages of the texts: Korean, unless the client prefers English.

/// A language of the texts in responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The default.
    Korean,
    /// Chosen by `Accept-Language: en`.
    English,
}

impl Language {
    /// Returns the language that an `Accept-Language` header prefers; Korean if it names neither.
    pub fn preferred(accept_language: &str) -> Self {
        let mut best = (0.0, Self::Korean);
        for range in accept_language.split(',') {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let primary = tag.trim().split('-').next().unwrap_or_default();
            let language = match primary.to_ascii_lowercase().as_str() {
                "en" => Self::English,
                "ko" | "*" => Self::Korean,
                _ => continue,
            };
            let quality = match parameters.trim().strip_prefix("q=") {
                Some(quality) => quality.trim().parse::<f32>().unwrap_or(0.0),
                None => 1.0,
            };
            // The first of equal weights wins, and NaN compares as no weight at all.
            if quality > best.0 {
                best = (quality, language);
            }
        }
        best.1
    }
}

/// A text in both languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// The text that clients of the Django service already show.
    pub korean: &'static str,
    /// The translation.
    pub english: &'static str,
}

impl Text {
    /// Pairs a Korean text with its translation.
    pub const fn new(korean: &'static str, english: &'static str) -> Self {
        Self { korean, english }
    }

    /// Returns the text in `language`.
    pub const fn in_language(self, language: Language) -> &'static str {
        match language {
            Language::Korean => self.korean,
            Language::English => self.english,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean_unless_english_is_preferred() {
        for (header, expected) in [
            ("", Language::Korean),
            ("en", Language::English),
            ("EN-us", Language::English),
            ("fr, en;q=0.1", Language::English),
            ("ko, en", Language::Korean),
            ("en, ko", Language::English),
            ("en;q=0.5, ko;q=0.9", Language::Korean),
            ("ko;q=0.5, en;q=0.9", Language::English),
            ("en;q=0", Language::Korean),
            ("en;q=NaN", Language::Korean),
            ("en;q=x", Language::Korean),
            ("en;q=", Language::Korean),
            ("*, en;q=0.5", Language::Korean),
            ("fr", Language::Korean),
            (",;,;;q=1,", Language::Korean),
        ] {
            assert_eq!(Language::preferred(header), expected, "{header}");
        }
    }
}
