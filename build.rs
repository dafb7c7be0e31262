//! Takes the parts of the page at `/` into the binary, where `make web` has put them; a build without
//! them works, and its page says how to get them.

use std::path::Path;
use std::{env, fs, io};

const PARTS: [&str; 4] = ["graphiql.js", "graphiql.css", "react.js", "react-dom.js"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web/dist");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    for name in PARTS {
        let part = match fs::read(Path::new("web/dist").join(name)) {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        fs::write(Path::new(&out).join(name), part)?;
    }
    Ok(())
}
