//! Compresses the files of the documentation pages into the build folder, from which `handlers::docs` embeds them.
//!
//! Swagger UI and ReDoc come from crates that contain them: this repository needs no copy, and pages load nothing from a
//! CDN.

use std::{
    env,
    error::Error,
    fs,
    io::{Cursor, Read, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let pack = |name: &str, content: &[u8]| -> Result<(), Box<dyn Error>> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(content)?;
        Ok(fs::write(Path::new(&out).join(format!("{name}.gz")), packed.finish()?)?)
    };

    println!("cargo::rerun-if-changed=build.rs");
    for file in [
        "../docs/openapi.json",
        "assets/swagger.html",
        "assets/swagger.js",
        "assets/redoc.html",
        "assets/redoc.js",
    ] {
        println!("cargo::rerun-if-changed={file}");
        let name = Path::new(file)
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("no file name")?;
        pack(name, &fs::read(file).map_err(|error| format!("{file}: {error}"))?)?;
    }
    for name in ["swagger-ui-bundle.js", "swagger-ui.css"] {
        pack(name, &swagger_ui(name)?)?;
    }
    pack("redoc.standalone.js", redoc()?.as_bytes())
}

/// Reads a file of Swagger UI's distribution.
fn swagger_ui(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED))?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        if file.name()?.ends_with(&format!("/dist/{name}")) {
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    Err(format!("Swagger UI has no {name}").into())
}

/// Cuts ReDoc's script out of the page in which `aide` has it.
fn redoc() -> Result<String, Box<dyn Error>> {
    const LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
    let page = aide::redoc::Redoc::new("").html();
    let script = page
        .split_once("<script>")
        .and_then(|(_, rest)| rest.rsplit_once("Redoc.init("))
        .map(|(script, _)| script.trim())
        .ok_or("ReDoc's script is not where it was")?;
    // The one address that the script would load from a CDN.
    let script = script.replace(LOGO, "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=");
    match script.contains("//cdn.") {
        true => Err("ReDoc fetches something else from a CDN".into()),
        false => Ok(script),
    }
}
