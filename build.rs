//! Tells the binary which Python it was built for.
//!
//! Where several CPythons are installed, a binary can link the library of one and then find the standard library
//! of another. So it gets the run path of the right library, and the name of the interpreter that it belongs to.

fn main() {
    // Does nothing for the extension module of a wheel, which is loaded by the Python that runs already.
    pyo3_build_config::add_libpython_rpath_link_args();

    let python = pyo3_build_config::get();
    println!("cargo:rustc-env=WSHOST_BUILD_PYTHON={}", python.executable().unwrap_or_default());
    println!("cargo:rustc-env=WSHOST_BUILD_PYTHON_VERSION={}", python.version());

    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PYO3_PYTHON");
    // The binary carries the files of this folder inside.
    println!("cargo:rerun-if-changed=python");
}
