"""Building guests: finding a Rust toolchain, compiling, looking into the result, starting a new crate."""
