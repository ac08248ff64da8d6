//! Puts the dashboard's built files into the binary. They are built and checked in by
//! whoever changes them, so that this needs nothing but Rust.

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = root.join("dashboard/dist");
    println!("cargo:rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    if dist.is_dir() {
        collect(&dist, &mut files)?;
    }
    files.sort();
    let mut text = String::from("const ASSETS: &[Asset] = &[\n");
    for file in files {
        let path = file.strip_prefix(&dist).unwrap_or(&file).display().to_string();
        let _ = writeln!(
            text,
            "    Asset {{ path: {path:?}, bytes: include_bytes!({:?}) }},",
            file.display().to_string()
        );
    }
    text.push_str("];\n");
    let out = PathBuf::from(std::env::var("OUT_DIR").unwrap_or_default());
    std::fs::write(out.join("dashboard.rs"), text)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
