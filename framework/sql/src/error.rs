//! DataFusion's errors in our words: whose fault, where in the SQL, lower case, no backtrace.

use datafusion::common::{DataFusionError, Diagnostic};
use datafusion::sql::sqlparser::ast::Spanned;
use datafusion::sql::sqlparser::tokenizer::Span;
use tidegate_api::Error;

/// An error of planning is the query's fault.
pub(crate) fn plan_error(error: DataFusionError) -> Error {
    let place = error.diagnostic().and_then(place_of);
    match text_of(error) {
        Ok(text) => Error::config(format!("sql: {text}{}", place.unwrap_or_default())),
        Err(ours) => *ours,
    }
}

/// Carries an error of ours through DataFusion's planner.
pub(crate) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// ` at line 1, column 8`, or nothing for a piece of syntax that has no place.
pub(crate) fn place(of: &impl Spanned) -> String {
    place_at(of.span())
}

/// The same for a place as such.
pub(crate) fn place_at(span: Span) -> String {
    let start = span.start;
    if start.line == 0 { String::new() } else { format!(" at line {}, column {}", start.line, start.column) }
}

fn place_of(diagnostic: &Diagnostic) -> Option<String> {
    let start = diagnostic.span?.start;
    Some(format!(" at line {}, column {}", start.line, start.column))
}

fn text_of(error: DataFusionError) -> Result<String, Box<Error>> {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => text_of(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => text_of(errors.swap_remove(0)),
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => Err(ours),
            Err(other) => Ok(lower(&other.to_string())),
        },
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) => Ok(lower(&text)),
        DataFusionError::SQL(error, _) => Ok(lower(error.to_string().trim_start_matches("sql parser error: "))),
        other => {
            let text = other.strip_backtrace();
            Ok(lower(text.split_once(" error: ").map_or(text.as_str(), |(_, rest)| rest)))
        }
    }
}

/// Lower case at the start, unless the first word is all capitals; no full stop; one line.
fn lower(text: &str) -> String {
    let text = text.split("\n\nbacktrace").next().unwrap_or(text).trim().trim_end_matches('.');
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            format!("{}{}", first.to_lowercase(), text.get(first.len_utf8()..).unwrap_or_default())
        }
        _ => text,
    }
}
