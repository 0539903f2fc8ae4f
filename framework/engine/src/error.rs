//! DataFusion's errors as ours, and a query's as its runner tells them.

use datafusion::error::DataFusionError;
use tidegate_api::{Error, ErrorKind};

/// What a query ended with, told of by its name: one that was fenced off has not failed, another one runs in its place.
pub fn failed(error: Error, query: &str) -> Error {
    let how = if error.kind() == ErrorKind::Fenced { "was fenced" } else { "failed" };
    error.within(format!("{query} {how}"))
}

/// The same error in our words: what a piece of ours raised inside comes back as it was.
pub(crate) fn from_datafusion(error: DataFusionError) -> Error {
    let kind = match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => return Error::new(ours.kind(), ours.to_string()),
            None => ErrorKind::Data,
        },
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => ErrorKind::Data,
        DataFusionError::Internal(_) => ErrorKind::Internal,
        DataFusionError::IoError(_) | DataFusionError::ResourcesExhausted(_) => ErrorKind::Transient,
        _ => ErrorKind::Config,
    };
    Error::new(kind, first_line(&error.strip_backtrace()))
}

/// DataFusion appends hints and backtraces on further lines.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}
