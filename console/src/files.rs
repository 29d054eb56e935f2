//! The files of the page, as they are in `web/`.

use sha2::{Digest as _, Sha256};

/// A file in the component.
#[derive(Debug)]
pub(crate) struct File {
    /// The path below `/console`, without a slash at its end.
    path: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal = $name:literal $media_type:ident;)*) => {
        /// Every file.
        static FILES: &[File] = &[$(File {
            path: $path,
            media_type: $media_type,
            content: include_bytes!(concat!("../web", $name)),
        },)*];
    };
}

files! {
    "" = "/index.html" HTML;
    "/icon.svg" = "/icon.svg" SVG;
    "/common/style.css" = "/common/style.css" CSS;
    "/common/api.js" = "/common/api.js" SCRIPT;
    "/common/dialog.js" = "/common/dialog.js" SCRIPT;
    "/common/dom.js" = "/common/dom.js" SCRIPT;
    "/common/form.js" = "/common/form.js" SCRIPT;
    "/common/format.js" = "/common/format.js" SCRIPT;
    "/common/i18n.js" = "/common/i18n.js" SCRIPT;
    "/common/plot.js" = "/common/plot.js" SCRIPT;
    "/common/table.js" = "/common/table.js" SCRIPT;
    "/app/audit.js" = "/app/audit.js" SCRIPT;
    "/app/console.css" = "/app/console.css" CSS;
    "/app/create.js" = "/app/create.js" SCRIPT;
    "/app/figures.js" = "/app/figures.js" SCRIPT;
    "/app/item.js" = "/app/item.js" SCRIPT;
    "/app/items.js" = "/app/items.js" SCRIPT;
    "/app/login.js" = "/app/login.js" SCRIPT;
    "/app/main.js" = "/app/main.js" SCRIPT;
    "/app/orders.js" = "/app/orders.js" SCRIPT;
    "/app/payments.js" = "/app/payments.js" SCRIPT;
    "/app/registrations.js" = "/app/registrations.js" SCRIPT;
    "/app/texts.js" = "/app/texts.js" SCRIPT;
    "/app/users.js" = "/app/users.js" SCRIPT;
}

/// Finds the file of a canonical path.
pub(crate) fn find(path: &str) -> Option<&'static File> {
    let path = path.strip_prefix("/console")?;
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// Builds the `ETag` from the content.
    pub(crate) fn tag(&self) -> String {
        let digest = Sha256::digest(self.content);
        let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("\"{digits}\"")
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn text(file: &File) -> &'static str {
        std::str::from_utf8(file.content).unwrap()
    }

    fn of(media_type: &'static str) -> impl Iterator<Item = &'static File> {
        FILES.iter().filter(move |file| file.media_type == media_type)
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut folders = vec![web.clone()];
        let mut found = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => _ = found.insert(format!("/{}", path.strip_prefix(&web).unwrap().display())),
                }
            }
        }
        let named = |file: &File| match file.path {
            "" => "/index.html".to_owned(),
            path => path.to_owned(),
        };
        assert_eq!(FILES.iter().map(named).collect::<BTreeSet<_>>(), found);
    }

    #[test]
    fn whatever_a_file_loads_is_served() {
        for file in of(HTML) {
            let values = text(file).split('"').filter(|value| value.starts_with('/'));
            let values: Vec<_> = values.collect();
            assert!(values.len() >= 3, "{values:?}");
            for value in values {
                assert!(find(value.trim_end_matches('/')).is_some(), "{value}");
            }
        }
        for file in of(SCRIPT) {
            let folder = file.path.rsplit_once('/').unwrap().0;
            for import in text(file)
                .lines()
                .filter(|line| line.starts_with("import ") || line.starts_with("} from "))
            {
                let Some(name) = import.split('"').nth(1) else { continue };
                let path = match name.strip_prefix("../") {
                    Some(beside) => format!("/{beside}"),
                    None => format!("{folder}/{}", name.strip_prefix("./").unwrap()),
                };
                assert!(FILES.iter().any(|file| file.path == path), "{}: {name}", file.path);
                assert!(
                    folder != "/common" || path.starts_with("/common/"),
                    "{}: what pages share knows nothing of the console",
                    file.path
                );
            }
        }
    }

    /// The policy admits none of it, and a browser would say so on its console alone.
    #[test]
    fn nothing_is_inline_and_no_text_becomes_markup() {
        for file in of(HTML) {
            for inline in ["<script>", "<style", " style=", " onclick", "javascript:", "//"] {
                assert!(!text(file).contains(inline), "{}: {inline}", file.path);
            }
        }
        for file in of(SCRIPT) {
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "setAttribute(\"style",
            ] {
                assert!(!text(file).contains(way), "{}: {way}", file.path);
            }
        }
    }

    #[test]
    fn the_files_are_small() {
        let bytes: usize = FILES.iter().map(|file| file.content.len()).sum();
        assert!(bytes < 160 << 10, "{bytes} bytes");
    }
}
