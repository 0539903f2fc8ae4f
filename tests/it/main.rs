//! Tests over real processes and servers, and of the tree itself.

mod clicks;
mod files;
mod kafka;
mod process;
mod socket;
mod stand;
mod tidy;
