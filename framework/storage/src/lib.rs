#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod fault;
mod io;
mod location;

pub use fault::kind_of;
pub use io::run_requests_on;
pub use location::{Location, StoreOptions};
pub use object_store;
