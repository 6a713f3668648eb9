//! Finds out which libjpeg-turbo is linked: its version names it in manifests.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DEP_TURBOJPEG_INCLUDE");
    let version = from_header().or_else(from_pkg_config).unwrap_or_else(|| "3".to_owned());
    println!("cargo::rustc-env=LIBJPEG_TURBO_VERSION={version}");
}

/// `#define LIBJPEG_TURBO_VERSION 3.1.0` in the headers of the library that was built or found.
fn from_header() -> Option<String> {
    let folders = env::var("DEP_TURBOJPEG_INCLUDE").ok()?;
    folders.split(',').find_map(|folder| {
        let header = fs::read_to_string(Path::new(folder).join("jconfig.h")).ok()?;
        let line = header.lines().find_map(|line| line.strip_prefix("#define LIBJPEG_TURBO_VERSION "))?;
        Some(line.trim().to_owned())
    })
}

fn from_pkg_config() -> Option<String> {
    let output = Command::new("pkg-config").args(["--modversion", "libturbojpeg"]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !version.trim().is_empty()).then(|| version.trim().to_owned())
}
