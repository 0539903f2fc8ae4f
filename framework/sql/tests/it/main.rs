//! The crate from outside: SQL in; plans, refusals and rows out.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod clock;
mod functions;
mod names;
mod plans;
mod refusals;
mod retraction;
mod streaming;
mod support;
mod used_fields;
