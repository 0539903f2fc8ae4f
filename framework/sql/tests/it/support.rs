//! Planners with tables, and a way to run a plan over rows.

use std::sync::Arc;

use arrow_array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::{ExecutionPlan, collect};
use tidegate_api::OutputMode;
use tidegate_formats::{ddl, json};
use tidegate_sql::{EpochClock, Planner, SourceTable, TableKind, WatermarkNode, check};

/// A planner with its clock.
pub(crate) struct Fixture {
    pub(crate) planner: Planner,
    pub(crate) clock: Arc<EpochClock>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(EpochClock::default());
        Self { planner: Planner::new(clock.clone()), clock }
    }

    pub(crate) fn stream(mut self, name: &str, ddl: &str) -> Self {
        self.source(name, ddl, TableKind::Stream, None);
        self
    }

    pub(crate) fn timed(mut self, name: &str, ddl: &str, column: &str, delay: &str) -> Self {
        self.source(name, ddl, TableKind::Stream, Some((column, delay)));
        self
    }

    pub(crate) fn fixed(mut self, name: &str, ddl: &str) -> Self {
        self.source(name, ddl, TableKind::Static, None);
        self
    }

    pub(crate) fn view(mut self, name: &str, sql: &str) -> Self {
        self.planner.add_view(name, sql, None).unwrap();
        self
    }

    pub(crate) fn timed_view(mut self, name: &str, sql: &str, column: &str, delay: &str) -> Self {
        self.planner.add_view(name, sql, Some((column, delay))).unwrap();
        self
    }

    fn source(&mut self, name: &str, ddl: &str, kind: TableKind, watermark: Option<(&str, &str)>) {
        let schema = Arc::new(ddl::parse_schema(ddl).unwrap());
        self.planner.add_source(name, schema, kind, watermark).unwrap();
    }

    /// The optimised plan as text.
    pub(crate) fn plan_text(&self, sql: &str) -> String {
        let plan = self.planner.plan(sql).unwrap();
        self.planner.optimize(plan).unwrap().display_indent().to_string()
    }

    /// What planning says is wrong.
    pub(crate) fn error(&self, sql: &str) -> String {
        match self.planner.plan(sql) {
            Ok(plan) => panic!("planned:\n{}", plan.display_indent()),
            Err(error) => error.to_string(),
        }
    }

    /// What the checker says is wrong, a line each.
    pub(crate) fn refusals(&self, sql: &str, mode: OutputMode) -> String {
        let plan = self.planner.plan(sql).unwrap();
        let refusals = check(&plan, mode).err().unwrap_or_default();
        refusals.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Runs a query once over JSON rows of its tables and shows the result.
    pub(crate) fn run(&self, sql: &str, rows: &[(&str, &[&str])]) -> String {
        let batches = self.batches(sql, rows).unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    pub(crate) fn batches(&self, sql: &str, rows: &[(&str, &[&str])]) -> Result<Vec<RecordBatch>, String> {
        let physical = self.physical(sql, rows)?;
        let task = self.planner.session_state().task_ctx();
        runtime().block_on(collect(physical, task)).map_err(|error| error.to_string())
    }

    pub(crate) fn physical(&self, sql: &str, rows: &[(&str, &[&str])]) -> Result<Arc<dyn ExecutionPlan>, String> {
        let plan = self.planner.plan(sql).map_err(|error| error.to_string())?;
        let plan = with_rows(plan, rows);
        let plan = self.planner.optimize(plan).map_err(|error| error.to_string())?;
        let state: &SessionState = self.planner.session_state();
        let planner: &Arc<dyn QueryPlanner + Send + Sync> = state.query_planner();
        runtime().block_on(planner.create_physical_plan(&plan, state)).map_err(|error| error.to_string())
    }
}

/// Puts tables in memory in the place of sources, and leaves watermarks out.
fn with_rows(plan: LogicalPlan, rows: &[(&str, &[&str])]) -> LogicalPlan {
    let replaced = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<SourceTable>().unwrap();
            let documents: Vec<&str> = rows
                .iter()
                .filter(|(name, _)| **name == *source.name)
                .flat_map(|(_, rows)| rows.iter().copied())
                .collect();
            let mut decoder = json::Decoder::new(source.schema.clone(), json::JsonOptions::default()).unwrap();
            let batch = decoder.decode(&arrow_array::StringArray::from(documents)).unwrap();
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
            let scan = LogicalPlanBuilder::scan(scan.table_name.clone(), provider_as_source(Arc::new(table)), None)?;
            Ok(Transformed::yes(scan.build()?))
        }
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any().downcast_ref::<WatermarkNode>().unwrap();
            Ok(Transformed::yes(node.input.clone()))
        }
        other => Ok(Transformed::yes(other.recompute_schema()?)),
    });
    replaced.unwrap().data
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Compares texts of several lines, leaving out the indentation that the source code adds.
#[track_caller]
pub(crate) fn assert_lines(found: &str, expected: &str) {
    let strip = |text: &str| {
        let lines: Vec<&str> = text.trim_matches('\n').trim_end().lines().collect();
        let indent = lines.iter().filter(|it| !it.trim().is_empty()).map(|it| it.len() - it.trim_start().len()).min();
        let cut = |line: &&str| line.get(indent.unwrap_or(0)..).unwrap_or_default().to_owned();
        lines.iter().map(cut).collect::<Vec<_>>().join("\n")
    };
    let (found, expected) = (strip(found), strip(expected));
    assert!(found == expected, "found:\n{found}\n\nexpected:\n{expected}\n");
}
