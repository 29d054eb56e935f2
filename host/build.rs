//! Generates the host's bindings from the WIT packages in the `spin-sdk` crate, which the component is built with. So
//! both sides have the same interfaces, and there is no copy that could drift.

use std::{env, error::Error, fs, path::Path, process::Command};

use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../Cargo.lock");

    let wit = spin_sdk_wit()?;
    println!("cargo::rerun-if-changed={wit}");

    let bindings = format!(
        r##"wasmtime::component::bindgen!({{
    path: {wit:?},
    inline: r#"
        package sugang:host;

        world stores {{
            import spin:postgres/postgres@4.2.0;
            import spin:redis/redis@3.0.0;
            import spin:variables/variables@3.0.0;
        }}
    "#,
    world: "sugang:host/stores",
    imports: {{
        "spin:postgres/postgres@4.2.0.[constructor]connection-builder": async | trappable,
        default: async,
    }},
    with: {{
        "spin:postgres/postgres@4.2.0.connection": crate::wit::postgres::Connection,
        "spin:postgres/postgres@4.2.0.connection-builder": crate::wit::postgres::ConnectionBuilder,
        "spin:redis/redis@3.0.0.connection": crate::wit::redis::Connection,
    }},
}});
"##
    );
    fs::write(Path::new(&env::var("OUT_DIR")?).join("bindings.rs"), bindings)?;
    Ok(())
}

/// Finds the `wit` folder of the workspace's `spin-sdk`. The query is limited to the platforms of the component and of
/// this machine: without a filter Cargo would fetch the packages of every platform.
fn spin_sdk_wit() -> Result<String, Box<dyn Error>> {
    let output = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--filter-platform=wasm32-wasip2"])
        .arg(format!("--filter-platform={}", env::var("HOST")?))
        .current_dir(env::var("CARGO_MANIFEST_DIR")?)
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "spin-sdk")
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or("the workspace does not depend on spin-sdk, whose WIT packages the host implements")?;
    let wit = Path::new(manifest).with_file_name("wit");
    Ok(wit.to_str().ok_or("the path of spin-sdk is not UTF-8")?.to_owned())
}
