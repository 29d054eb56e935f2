//! Makes Cargo compile the crate again when an SQL file is added or changes.

fn main() {
    for path in ["amendments", "audit", "functions", "preflight", "schema"] {
        println!("cargo::rerun-if-changed={path}");
    }
}
