use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// A command of `sugang-host` in the folder of `spin.toml`: the program that `cargo xtask test` has built and names, else
/// one that is built now.
///
/// # Panics
/// The host cannot be built.
pub fn host_program() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = PROGRAM.get_or_init(|| match std::env::var_os("SUGANG_TEST_HOST") {
        Some(program) => program.into(),
        None => build(&root),
    });
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}

fn build(root: &Path) -> PathBuf {
    // target/<profile>/deps/e2e-…
    let test = std::env::current_exe().expect("a test is a program");
    let profile = test.ancestors().nth(2).expect("it is in a folder of the profile");
    let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    build
        .args(["build", "--quiet", "--package", "sugang-host", "--bin", "sugang-host"])
        .arg("--target-dir")
        .arg(profile.parent().expect("the profile is in a target folder"))
        .current_dir(root);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "the host is built");
    profile.join("sugang-host")
}
