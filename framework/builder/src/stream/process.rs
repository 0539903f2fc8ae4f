//! Code of the program that keeps state by key: `transform_with_state` and its thin forms on groups.

use tidegate_api::{Error, OutputMode, RecordBatch, Result};
use tidegate_engine::ProcessSpec;
use tidegate_engine::user::{GroupKey, GroupState, GroupStateTimeout, StateType, StatefulProcessor, TimeMode};
use tidegate_formats::ddl;

use super::{Grouped, Stream};
use crate::lineage::{Sql, Step, quoted};

impl Grouped {
    /// What a processor makes of the rows of each key (Spark: `transformWithState`). `output` are its columns, as DDL:
    /// `page STRING, n BIGINT`. Each epoch runs a copy of the processor.
    ///
    /// # Errors
    /// `Config` if the columns can't be read.
    pub fn transform_with_state<P>(&self, processor: P, output: &str, time_mode: TimeMode) -> Result<Stream>
    where
        P: StatefulProcessor + Clone + Sync,
    {
        let columns = columns("transform_with_state", output)?;
        Ok(self.processed("transform", |keys| ProcessSpec::processor(keys, processor, &columns, time_mode)))
    }

    /// One row of each key that has rows in an epoch, or whose time-out has come (Spark: `mapGroupsWithState`). The sink must be
    /// in update mode.
    ///
    /// # Errors
    /// `Config` if the columns can't be read.
    pub fn map_groups_with_state<S, F>(&self, output: &str, timeout: GroupStateTimeout, function: F) -> Result<Stream>
    where
        S: StateType + Clone,
        F: Fn(&GroupKey<'_>, &RecordBatch, &mut GroupState<S>) -> Result<RecordBatch> + Send + Sync + 'static,
    {
        let columns = columns("map_groups_with_state", output)?;
        let one_row = move |key: &GroupKey<'_>, rows: &RecordBatch, state: &mut GroupState<S>| {
            let made = function(key, rows, state)?;
            match made.num_rows() {
                1 => Ok(vec![made]),
                n => Err(Error::config(format!("map_groups_with_state: the function returned {n} rows, expected one"))),
            }
        };
        let mode = OutputMode::Update;
        Ok(self.processed("groups", |keys| ProcessSpec::group_function::<S, _>(keys, one_row, &columns, timeout, mode)))
    }

    /// What a function makes of the rows of each key, and of time-outs (Spark: `flatMapGroupsWithState`). The sink must be
    /// in the output mode that is given here: append or update.
    ///
    /// # Errors
    /// `Config` if the columns can't be read.
    pub fn flat_map_groups_with_state<S, F>(
        &self,
        output: &str,
        mode: OutputMode,
        timeout: GroupStateTimeout,
        function: F,
    ) -> Result<Stream>
    where
        S: StateType + Clone,
        F: Fn(&GroupKey<'_>, &RecordBatch, &mut GroupState<S>) -> Result<Vec<RecordBatch>> + Send + Sync + 'static,
    {
        let columns = columns("flat_map_groups_with_state", output)?;
        Ok(self
            .processed("groups", |keys| ProcessSpec::group_function::<S, _>(keys, function, &columns, timeout, mode)))
    }

    /// The rows with the keys behind them, and what is made of these.
    fn processed(&self, does: &'static str, process: impl FnOnce(Vec<String>) -> ProcessSpec) -> Stream {
        // By name: `*` would have a window of the keys among the rows. If the columns can't be told, the same reason stops the
        // query.
        let rows = self.stream.schema().map(|it| it.fields().iter().map(|it| quoted(it.name())).collect());
        let mut columns: Vec<String> = rows.unwrap_or_else(|_| vec!["*".to_owned()]);
        let mut names = Vec::new();
        for (at, key) in self.keys.iter().enumerate() {
            let (expression, name) = named(key);
            columns.push(format!("{expression} AS {}", quoted(&format!("#key{at}"))));
            names.push(name.to_owned());
        }
        let sql = Sql::text(format!("SELECT {} ", columns.join(", "))).and(self.stream.from());
        self.stream.made(Step { process: Some(process(names)), ..Step::new(does, sql) }, false)
    }
}

fn columns(operation: &str, output: &str) -> Result<arrow_schema::SchemaRef> {
    let schema = ddl::parse_schema(output).map_err(|e| e.within(format!("{operation}: the columns of its rows")))?;
    Ok(std::sync::Arc::new(schema))
}

/// An expression and what it is called: by its alias, else the column's name, else its text.
fn named(key: &str) -> (&str, &str) {
    let key = key.trim();
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    let unquoted = key.strip_suffix('"').and_then(|it| it.rfind('"'));
    let start = unquoted.unwrap_or_else(|| key.trim_end_matches(is_word).len());
    let (before, name) = key.split_at(start);
    let name = name.trim_matches('"');
    let (expression, word) = before.trim_end().split_at(before.trim_end().trim_end_matches(is_word).len());
    match () {
        () if word.eq_ignore_ascii_case("as") && !name.is_empty() && expression.ends_with(char::is_whitespace) => {
            (expression.trim_end(), name)
        }
        () if before.is_empty() || before.ends_with('.') => (key, name),
        () if key.starts_with("window(") => (key, "window"),
        () if key.starts_with("session_window(") => (key, "session_window"),
        () => (key, key),
    }
}
