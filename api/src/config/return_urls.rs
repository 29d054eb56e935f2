//! The addresses of apps to which a browser may be sent from a payment window.

/// The longest address of an app: it is a part of another address.
const MAX_URL_BYTES: usize = 500;

/// The schemes of addresses that a browser executes or reads by itself. No app answers them.
const REFUSED_SCHEMES: [&str; 5] = ["javascript", "data", "vbscript", "blob", "file"];

/// What the addresses of apps begin with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AppReturnUrls(Vec<String>);

impl AppReturnUrls {
    /// Reads addresses with commas between them: scheme, authority and the beginning of the path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        let urls: Option<Vec<_>> = urls.map(prefix).collect();
        urls.map(Self)
    }

    /// Whether a browser may be sent to an address: one of those, or one below it.
    pub(crate) fn allows(&self, url: &str) -> bool {
        let path = url.split('?').next().unwrap_or_default().to_ascii_lowercase();
        let is_plain = url.len() <= MAX_URL_BYTES
            && url.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\\".contains(&byte))
            // Browsers remove such segments, and what is before them.
            && !path.contains("/.")
            && !path.contains("%2e");
        is_plain && self.0.iter().any(|prefix| is_below(prefix, url))
    }
}

fn prefix(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
        && !REFUSED_SCHEMES.contains(&scheme);
    let is_authority = !authority.is_empty()
        && authority
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte));
    let prefix = format!("{scheme}://{authority}/{path}");
    let allowed = AppReturnUrls(vec![prefix]);
    let is_path = !path.contains('?') && allowed.allows(&allowed.0[0]);
    (is_scheme && is_authority && is_path).then(|| allowed.0.into_iter().next())?
}

fn is_below(prefix: &str, url: &str) -> bool {
    let Some(rest) = url.strip_prefix(prefix) else {
        return false;
    };
    rest.is_empty() || prefix.ends_with('/') || rest.starts_with(['/', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_begins_with_a_configured_one() {
        let urls = AppReturnUrls::parse("https://app.example/pay, https://other.example, myapp://return/").unwrap();
        for url in [
            "https://app.example/pay",
            "https://app.example/pay/",
            "https://app.example/pay/done?tab=1",
            "https://app.example/pay?tab=1",
            "https://other.example/",
            "https://other.example/anything",
            "myapp://return/paid",
        ] {
            assert!(urls.allows(url), "{url}");
        }
        let long = format!("https://other.example/{}", "x".repeat(MAX_URL_BYTES));
        for url in [
            "",
            "https://app.example/",
            "https://app.example/payment",
            "https://app.example/pay/../admin",
            "https://app.example/pay/%2e%2E/admin",
            "https://app.example/pay/./x",
            "https://app.example/pay#done",
            "https://app.example/pay\\x",
            "https://app.example/pay/ x",
            "https://app.example/pay/결제",
            "https://app.example:444/pay",
            "https://app.example@evil.example/pay",
            "https://other.example",
            "https://other.example.evil.example/",
            "http://other.example/",
            "HTTPS://other.example/",
            "//other.example/",
            "javascript:alert(1)",
            &long,
        ] {
            assert!(!urls.allows(url), "{url}");
        }
    }

    #[test]
    fn a_configured_address_has_a_scheme_and_an_authority() {
        assert_eq!(AppReturnUrls::parse(" , "), Some(AppReturnUrls::default()));
        for text in [
            "app.example/pay",
            "https:///pay",
            "https://user@app.example/",
            "https://app.example/pay?x=1",
            "https://app.example/pay#x",
            "https://app.example/../pay",
            "https://App.example/pay",
            "https://app.example/pay,x",
            "javascript://x",
            "data://x",
            "vbscript://x",
            "blob://x",
            "file://x/",
        ] {
            assert_eq!(AppReturnUrls::parse(text), None, "{text}");
        }
    }
}
