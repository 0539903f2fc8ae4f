//! Conformance suites: what every source and every sink must do, whatever it talks to.
//!
//! ```text
//! tidegate_testkit::source_suite!(rate, || async { my_source().await });
//! tidegate_testkit::sink_suite!(table, || async { my_bench().await });
//! ```

use std::future::Future;

use tidegate_api::{Error, Result};

mod rows;
mod sink;
mod source;

pub use rows::{concat, same_rows, sorted_lines};
pub use sink::{SinkBench, sink_suite, suite_schema};
pub use source::{SourceSuite, source_suite};

/// Makes a test of [`source_suite`]: a name, and a function that gives a source, or a [`SourceSuite`] and a function.
///
/// ```
/// # use std::sync::Arc;
/// # use tidegate_api::*;
/// # use arrow_schema::{DataType, Field};
/// # use arrow_array::Int64Array;
/// use tidegate_testkit::{MemoryInput, source_suite};
///
/// async fn ten_rows() -> Result<Box<dyn DynSource>> {
///     let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
///     let input = MemoryInput::new(schema.clone());
///     for n in 0..10 {
///         let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![n]))]);
///         input.add(vec![rows.map_err(|e| Error::internal("rows").because(e))?])?;
///     }
///     Ok(Box::new(input.source()))
/// }
///
/// source_suite!(memory, ten_rows);
/// ```
#[macro_export]
macro_rules! source_suite {
    ($name:ident, $source:expr) => {
        $crate::source_suite!($name, $crate::suite::SourceSuite::default(), $source);
    };
    ($name:ident, $suite:expr, $source:expr) => {
        #[test]
        fn $name() {
            $crate::suite::pass($crate::suite::source_suite($suite, $source));
        }
    };
}

/// Makes a test of [`sink_suite`]: a name, and a function that gives a new [`SinkBench`].
#[macro_export]
macro_rules! sink_suite {
    ($name:ident, $bench:expr) => {
        #[test]
        fn $name() {
            $crate::suite::pass($crate::suite::sink_suite($bench));
        }
    };
}

/// Runs a suite to its end on a runtime of its own.
///
/// # Panics
/// If the suite finds something, with what it found.
pub fn pass(suite: impl Future<Output = Result<()>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.map_err(|e| Error::internal("no runtime").because(e)).and_then(|it| it.block_on(suite));
    assert!(outcome.is_ok(), "{}", outcome.err().map(|e| e.to_string()).unwrap_or_default());
}

/// An error that says what a suite found.
fn found(text: impl Into<String>) -> Error {
    Error::internal(text)
}

macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::suite::found(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;
