//! Compiles the C++ side against the libtorch that torch-sys found.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=src/ext.cpp");
    println!("cargo::rerun-if-changed=src/ext.h");
    for name in ["DEP_TCH_LIBTORCH_LIB", "LIBTORCH", "LIBTORCH_INCLUDE", "LIBTORCH_CXX11_ABI"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let lib = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is");
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    let include = include(Path::new(&lib));
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .define("GLOG_USE_GLOG_EXPORT", None)
        .file("src/ext.cpp")
        .compile("torch_ext");
    // For this crate's own tests.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
}

/// The headers that torch-sys compiles against: beside the libraries, unless a variable says otherwise.
fn include(lib: &Path) -> PathBuf {
    let named = |name: &str| env::var_os(name).map(|folder| Path::new(&folder).join("include"));
    let beside = lib.with_file_name("include");
    [named("LIBTORCH_INCLUDE"), Some(beside.clone()), named("LIBTORCH")]
        .into_iter()
        .flatten()
        .find(|folder| folder.join("ATen/ATen.h").is_file())
        .unwrap_or(beside)
}
