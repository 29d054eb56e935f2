//! Which file of a crate uses which other: `use` lines and inline paths, with re-exports followed to their source.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A module's path within its crate: `["stores", "lock"]`; empty for the crate's root.
pub type Module = Vec<String>;

/// The arrows from each module to those that it uses.
pub type Arrows = BTreeMap<Module, BTreeSet<Module>>;

/// What one file says.
#[derive(Default)]
struct File {
    /// Paths that it uses, from the crate's root.
    paths: Vec<Vec<String>>,
    /// Its public re-exports: a name, and the path from the crate's root.
    exports: Vec<(String, Vec<String>)>,
}

/// Reads all files of a crate, given as paths below `src` with their text. Code under `#[cfg(test)]` is left out.
pub fn arrows(files: &[(String, String)]) -> Arrows {
    let modules: BTreeSet<Module> = files.iter().map(|(path, _)| module(path)).collect();
    let read: BTreeMap<Module, File> = files
        .iter()
        .map(|(path, text)| {
            let tokens = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
            let module = module(path);
            let mut file = File::default();
            let reader = Reader {
                module: &module,
                modules: &modules,
            };
            reader.read(tokens, &mut file);
            (module, file)
        })
        .collect();
    read.iter()
        .map(|(module, file)| {
            let used = file.paths.iter().map(|path| resolve(path, &modules, &read, 0));
            (module.clone(), used.filter(|used| used != module).collect())
        })
        .collect()
}

/// `stores/lock.rs` and `stores/lock/mod.rs` are both `["stores", "lock"]`.
fn module(path: &str) -> Module {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" | "main" | "mod" => Vec::new(),
        path => path.split('/').map(ToOwned::to_owned).collect(),
    }
}

/// The module whose file defines what the path names.
fn resolve(path: &[String], modules: &BTreeSet<Module>, files: &BTreeMap<Module, File>, depth: usize) -> Module {
    let known = (0..=path.len()).rev().find(|length| modules.contains(&path[..*length]));
    let length = known.unwrap_or_default();
    let module = path[..length].to_vec();
    let name = path.get(length);
    let export = files
        .get(&module)
        .and_then(|file| file.exports.iter().find(|(exported, _)| Some(exported) == name));
    match export {
        // A chain of re-exports is short; a longer one refers to itself.
        Some((_, source)) if depth < 8 => resolve(source, modules, files, depth + 1),
        _ => module,
    }
}

struct Reader<'a> {
    module: &'a Module,
    modules: &'a BTreeSet<Module>,
}

impl Reader<'_> {
    fn read(&self, tokens: TokenStream, file: &mut File) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_test_attribute(&tokens[at..]) {
                at = after_item(&tokens, at + 2);
                continue;
            }
            match &tokens[at] {
                // `pub(in crate::a)` says who may use the item, not what it uses.
                TokenTree::Group(group) if at > 0 && is_restriction(&tokens[at - 1], group) => {}
                TokenTree::Group(group) => self.read(group.stream(), file),
                TokenTree::Ident(word) if word == "use" => {
                    let end = end_of_statement(&tokens, at);
                    let is_public = at > 0 && is_visibility(&tokens[at - 1]);
                    self.read_use(&tokens[at + 1..end], is_public, file);
                    at = end;
                }
                TokenTree::Ident(_) if !continues_path(&tokens, at) => {
                    let mut path = Vec::new();
                    at = read_path(&tokens, at, &mut path);
                    if path.len() > 1 {
                        file.paths.extend(self.absolute(&path));
                    }
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn read_use(&self, tree: &[TokenTree], is_public: bool, file: &mut File) {
        let mut leaves = Vec::new();
        use_leaves(tree, &mut Vec::new(), &mut leaves);
        for (path, name) in leaves {
            let Some(path) = self.absolute(&path) else { continue };
            match is_public {
                // A re-export is part of a facade: a use of the name is a use of the module behind it.
                true => file.exports.push((name, path)),
                false => file.paths.push(path),
            }
        }
    }

    /// The path from the crate's root; `None` for another crate's.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = self.module.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|word| word == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child => {
                base.push(child.to_owned());
                if !self.modules.contains(&base) {
                    return None;
                }
                rest = &rest[1..];
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }
}

/// Whether a group after `pub` restricts the visibility to a module.
fn is_restriction(before: &TokenTree, group: &Group) -> bool {
    let first = group.stream().into_iter().next();
    matches!(before, TokenTree::Ident(word) if word == "pub")
        && matches!(first, Some(TokenTree::Ident(word)) if word == "in")
}

/// The paths of a `use` tree, each with the name that it brings into scope.
fn use_leaves(tree: &[TokenTree], prefix: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
    for branch in tree.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')) {
        let length = prefix.len();
        let at = read_path(branch, 0, prefix);
        match branch.get(at) {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                use_leaves(&inner, prefix, leaves);
            }
            rest if prefix.len() > length => {
                let mut path = prefix.clone();
                if path.last().is_some_and(|word| word == "self") {
                    path.pop();
                }
                let renamed = match (rest, branch.get(at + 1)) {
                    (Some(TokenTree::Ident(word)), Some(name)) if word == "as" => Some(name.to_string()),
                    _ => None,
                };
                let name = renamed.or_else(|| path.last().cloned()).unwrap_or_default();
                leaves.push((path, name));
            }
            _ => {}
        }
        prefix.truncate(length);
    }
}

/// Reads `a::b::c` from this position and returns the position behind it, and behind a `::` that ends it.
fn read_path(tokens: &[TokenTree], mut at: usize, path: &mut Vec<String>) -> usize {
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        if word == "as" && !path.is_empty() {
            break;
        }
        path.push(word.to_string());
        at += 1;
        if !is_colons(tokens, at) {
            break;
        }
        at += 2;
    }
    at
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(at) && is_colon(at + 1)
}

/// Whether the word at this position follows a `::`, as in `<T>::new`.
fn continues_path(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_colons(tokens, at - 2)
}

fn is_visibility(token: &TokenTree) -> bool {
    match token {
        TokenTree::Ident(word) => word == "pub",
        // pub(crate), pub(super)
        TokenTree::Group(group) => group.delimiter() == Delimiter::Parenthesis,
        _ => false,
    }
}

/// `#[cfg(test)]`
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else {
        return false;
    };
    hash.as_char() == '#' && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// The position behind an item: behind its block or its semicolon.
fn after_item(tokens: &[TokenTree], from: usize) -> usize {
    let end = tokens[from..].iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    });
    end.map_or(tokens.len(), |end| from + end + 1)
}

fn end_of_statement(tokens: &[TokenTree], from: usize) -> usize {
    let end = tokens[from..]
        .iter()
        .position(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';'));
    end.map_or(tokens.len(), |end| from + end)
}

#[cfg(test)]
mod tests {
    use super::arrows;

    /// The arrows of a crate of these files, as `from -> to`.
    fn shown(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (path.to_string(), text.to_string()))
            .collect();
        let arrows = arrows(&files);
        let pairs = arrows.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
        pairs
            .map(|(from, to)| format!("{} -> {}", from.join("::"), to.join("::")))
            .collect()
    }

    #[test]
    fn use_lines_and_inline_paths_are_arrows() {
        let files = [
            (
                "a.rs",
                "use crate::{b::{self, X}, c::Y as Z};\nfn f() { crate::d::g(); format!(\"{}\", crate::e::h()) }",
            ),
            ("b.rs", ""),
            ("c.rs", "// crate::a is only mentioned\nconst A: &str = \"crate::a\";"),
            ("d.rs", "use std::b;"),
            ("e.rs", ""),
        ];
        assert_eq!(shown(&files), ["a -> b", "a -> c", "a -> d", "a -> e"]);
    }

    #[test]
    fn relative_paths_are_resolved() {
        let files = [
            ("a.rs", "mod one; mod two; fn f() { one::g() }"),
            ("a/one.rs", "use super::two::T;"),
            ("a/two.rs", "use super::F;"),
        ];
        assert_eq!(shown(&files), ["a -> a::one", "a::one -> a::two", "a::two -> a"]);
    }

    #[test]
    fn re_exports_lead_to_their_source() {
        let files = [
            ("a.rs", "mod one; pub(crate) use one::T;"),
            ("a/one.rs", ""),
            ("b.rs", "use crate::a::T;"),
        ];
        assert_eq!(shown(&files), ["b -> a::one"]);
    }

    #[test]
    fn tests_are_left_out() {
        let files = [
            ("a.rs", "#[cfg(test)] mod tests { use crate::b::X; } use crate::c::Y;"),
            ("b.rs", ""),
            ("c.rs", ""),
        ];
        assert_eq!(shown(&files), ["a -> c"]);
    }
}
