//! Passes over the syntax tree, in the order in which they run: `state_calls` (tables of state get their names), `syntax`
//! (functions and what is refused by its form), `names` (each identifier gets the one spelling known in its scope),
//! `windows` (a call of `window` becomes a column of the FROM clause; run by `names` as it leaves a SELECT).

mod fields;
mod functions;
mod names;
mod scope;
mod state_calls;
mod syntax;
mod windows;

pub(crate) use functions::name_of;
pub(crate) use names::Resolver;
pub(crate) use scope::spelling;
pub(crate) use state_calls::replace as replace_state_calls;
pub use state_calls::{StateCall, state_calls};
pub(crate) use syntax::rewrite as rewrite_syntax;
