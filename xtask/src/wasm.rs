//! `cargo xtask build`: the components, with a Rust of this machine that can build it.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use tokio::{process::Command, time::timeout};

use crate::{
    apt,
    progress::{self, Step},
    project,
};

const TARGET: &str = "wasm32-wasip2";

/// Debian's Rust, the sources of its standard library, and the linker of components.
const DEBIAN_PACKAGES: [&str; 6] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "lld-19",
    "wasi-libc",
];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_WASM_LD: &str = "/usr/bin/wasm-ld-19";
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// Longer than a working connection needs for 20 MB.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// Builds the WebAssembly components, the API and the console; gets the wasm32-wasip2 target first where it is missing.
///
/// The target comes from the active toolchain, from rustup, or (where rustup's server cannot be reached) from the
/// packages of Debian 12.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub toolchain: ToolchainChoice,
}

/// The flag that forces one Rust, for every command that builds the component.
#[derive(clap::Args)]
pub struct ToolchainChoice {
    /// Build the component with this Rust instead of the first that can.
    #[arg(long, value_name = "RUST", env = "SUGANG_WASM_TOOLCHAIN")]
    wasm_toolchain: Option<Toolchain>,
}

/// A Rust that can build for [`TARGET`].
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Toolchain {
    /// The Rust that builds everything else, with rustup's wasm32-wasip2.
    Active,
    /// Debian's, which builds the standard library from source.
    Debian,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    for component in build(&arguments.toolchain).await? {
        println!("{}", component.display());
    }
    Ok(())
}

/// Builds the components and returns their paths.
pub async fn build(choice: &ToolchainChoice) -> anyhow::Result<[PathBuf; 2]> {
    let toolchain = find(choice).await?;
    let step = Step::loud("Build the components");
    progress::run(&mut cargo(toolchain, "build")?).await?;
    let components = [component()?, compiled("sugang_console")?];
    let sizes = components.iter().map(|component| {
        let file = fs::metadata(component).with_context(|| format!("{} was not built", component.display()))?;
        Ok(format!("{:.2} MB", file.len() as f64 / 1e6))
    });
    step.done(&sizes.collect::<anyhow::Result<Vec<_>>>()?.join(", "));
    Ok(components)
}

/// The path of the API's component, once it is built.
pub fn component() -> anyhow::Result<PathBuf> {
    compiled("sugang_api")
}

fn compiled(name: &str) -> anyhow::Result<PathBuf> {
    let folder = project::root()?.join("target").join(TARGET).join("component");
    Ok(folder.join(name).with_extension("wasm"))
}

/// Lints the code that only the components compile. With Debian's Rust, which lacks clippy, the build is the check.
pub async fn lint(choice: &ToolchainChoice) -> anyhow::Result<()> {
    if find(choice).await? == Toolchain::Debian {
        return build(choice).await.map(drop);
    }
    let step = Step::loud("Clippy, the components");
    progress::run(cargo(Toolchain::Active, "clippy")?.args(["--", "-D", "warnings"])).await?;
    step.done("");
    Ok(())
}

async fn find(choice: &ToolchainChoice) -> anyhow::Result<Toolchain> {
    match choice.wasm_toolchain {
        Some(Toolchain::Active) => {
            if !active_has_target().await {
                rustup_add().await?;
            }
            return Ok(Toolchain::Active);
        }
        Some(Toolchain::Debian) => {
            if !debian_is_complete().await {
                apt_install().await?;
            }
            return Ok(Toolchain::Debian);
        }
        None => {}
    }
    if active_has_target().await {
        return Ok(Toolchain::Active);
    }
    if debian_is_complete().await {
        return Ok(Toolchain::Debian);
    }
    let rustup = match rustup_add().await {
        Ok(()) => return Ok(Toolchain::Active),
        Err(error) => error,
    };
    match apt_install().await {
        Ok(()) => Ok(Toolchain::Debian),
        Err(debian) => bail!(
            "no Rust here can build for {TARGET}.\n  \
             rustup: {rustup:#}\n  Debian's packages: {debian:#}\n\
             Either of them is enough: make one work and run this again."
        ),
    }
}

async fn active_has_target() -> bool {
    let sysroot = progress::output(Command::new("rustc").args(["--print", "sysroot"])).await;
    sysroot.is_ok_and(|sysroot| {
        Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(TARGET)
            .join("lib")
            .is_dir()
    })
}

async fn rustup_add() -> anyhow::Result<()> {
    let step = Step::quiet(format!("Get the target {TARGET} from rustup"));
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).env("RUSTUP_MAX_RETRIES", "1");
    timeout(RUSTUP_LIMIT, progress::output(&mut rustup))
        .await
        .context("its server does not answer")??;
    if !active_has_target().await {
        bail!("the rustc on the PATH is not rustup's");
    }
    step.done("");
    Ok(())
}

/// Whether all of Debian's Rust is installed and new enough for the workspace.
async fn debian_is_complete() -> bool {
    let all = [DEBIAN_RUSTC, DEBIAN_CARGO, DEBIAN_WASM_LD, DEBIAN_LIBC, DEBIAN_STD];
    if !all.iter().all(|path| Path::new(path).exists()) {
        return false;
    }
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    let version = progress::output(Command::new(DEBIAN_RUSTC).arg("--version"))
        .await
        .unwrap_or_default();
    let numbers = |text: &str| {
        text.split('.')
            .map_while(|part| part.parse::<u32>().ok())
            .collect::<Vec<_>>()
    };
    version
        .split(' ')
        .nth(1)
        .is_some_and(|version| numbers(version) >= numbers(wanted))
}

async fn apt_install() -> anyhow::Result<()> {
    apt::install(&DEBIAN_PACKAGES).await?;
    if !debian_is_complete().await {
        bail!(
            "the packages do not bring a Rust of at least {}",
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
    Ok(())
}

/// A cargo command for the components. The folder is fixed: `spin.toml` names the artifact in it.
fn cargo(toolchain: Toolchain, subcommand: &str) -> anyhow::Result<Command> {
    let target = project::root()?.join("target");
    let mut command = match toolchain {
        Toolchain::Active => project::cargo(),
        Toolchain::Debian => Command::new(DEBIAN_CARGO),
    };
    command
        .arg(subcommand)
        .args(["--package", "sugang-api", "--package", "sugang-console"])
        .args(["--profile", "component", "--target", TARGET]);
    command.arg("--target-dir").arg(&target);
    if toolchain == Toolchain::Debian {
        project::without_cargo_run(&mut command);
        command.arg("-Zbuild-std=std,panic_abort");
        // `cargo run` puts rustup's libraries in front, which do not fit Debian's Rust.
        command
            .env_remove("LD_LIBRARY_PATH")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
        // RUSTFLAGS would replace those of `.cargo/config.toml`.
        command.env(
            "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
            format!("-L native={DEBIAN_LIBC}"),
        );
        command.env("PATH", path_with_wasm_ld(&target)?);
    }
    Ok(command)
}

/// The PATH with a folder in front that has Debian's `wasm-ld-19` under the name that the component linker calls.
fn path_with_wasm_ld(target: &Path) -> anyhow::Result<std::ffi::OsString> {
    let folder = target.join("debian-wasm-ld");
    let link = folder.join("wasm-ld");
    if fs::read_link(&link).ok().as_deref() != Some(Path::new(DEBIAN_WASM_LD)) {
        fs::create_dir_all(&folder)?;
        if link.is_symlink() {
            fs::remove_file(&link)?;
        }
        symlink(DEBIAN_WASM_LD, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    let rest = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(std::iter::once(folder).chain(env::split_paths(&rest)))?)
}
