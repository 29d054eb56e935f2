//! A new migration is a file that Cargo knows nothing of: it is read when the crate is compiled.

fn main() {
    println!("cargo::rerun-if-changed=.");
}
