//! The binary `tidegate`: the library with its own connectors.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::run(tidegate::built_in())
}
