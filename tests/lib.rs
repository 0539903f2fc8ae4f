//! Tests over real processes and servers, and of the tree itself: see `it/main.rs`.
