//! Passes over the syntax tree, in the order in which they run: `syntax` (functions and what is refused by its form),
//! `names` (each identifier gets the one spelling known in its scope), `windows` (a call of `window` becomes a column
//! of the FROM clause; run by `names` as it leaves a SELECT).

mod fields;
mod functions;
mod names;
mod scope;
mod syntax;
mod windows;

pub(crate) use functions::name_of;
pub(crate) use names::Resolver;
pub(crate) use scope::spelling;
pub(crate) use syntax::rewrite as rewrite_syntax;
