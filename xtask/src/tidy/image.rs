//! What the image is built from.

use std::fs;

use super::{expect_none, root};

/// Cargo needs every member of the workspace, whatever it builds.
#[test]
fn the_image_is_built_from_every_member() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (manifest, ignored) = (read("Cargo.toml"), read(".dockerignore"));
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ["));
    let members = members
        .expect("the members are one line")
        .trim_end_matches(']')
        .split(',');
    let members: Vec<_> = members.map(|member| member.trim().trim_matches('"')).collect();
    assert!(members.contains(&"host"), "{members:?}");
    let missing = members
        .iter()
        .filter(|member| !ignored.lines().any(|line| line == format!("!{member}")));
    let complaints: Vec<_> = missing
        .map(|member| format!(".dockerignore: admits no {member}"))
        .collect();
    expect_none(&complaints);
}
