//! A pipeline file: from text to the `QuerySpec` that the engine plans.
//!
//! ```text
//! document   file → tree of values, in the file's order
//! flat       tree → flat dotted keys; when two keys are the same one
//! sections   flat keys → one set of keys for the query, each source, view and sink
//! pipeline   sections → QuerySpec; everything that is wrong, at once
//! references ${env:…}, ${file:…}, ${dir:…}, resolved when a query starts, never shown
//! ```

mod document;
mod errors;
mod flat;
mod options;
mod parts;
mod pipeline;
mod references;
mod sections;

pub use document::Node;
pub use flat::{flatten, overlay, parse_assignment};
pub use pipeline::{Defaults, Loaded, Pipeline, load};
pub use references::{References, Secrets};

use std::fmt;
use std::path::Path;

use tidegate_api::Settings;

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The key as the user wrote it; empty if it is about the whole file.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.file, self.message),
            key => write!(f, "{}: {key}: {}", self.file, self.message),
        }
    }
}

/// Reads a pipeline file into flat settings.
///
/// # Errors
/// Everything that keeps the file from being read as flat keys.
pub fn read_settings(path: &Path) -> Result<Settings, Vec<Problem>> {
    let file = path.display().to_string();
    let node = Node::read(path).map_err(|message| vec![Problem { file: file.clone(), key: String::new(), message }])?;
    flatten(&node).map_err(|issues| {
        issues.into_iter().map(|it| Problem { file: file.clone(), key: it.key, message: it.message }).collect()
    })
}

#[cfg(test)]
mod tests;
