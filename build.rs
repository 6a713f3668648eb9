//! Lets the programs find libtorch from any directory: its folder becomes their run path.
//! Without the feature `train` there is no libtorch, and nothing to do.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Set by torch-sys, for the packages that depend on it directly.
    println!("cargo::rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(lib) = env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
