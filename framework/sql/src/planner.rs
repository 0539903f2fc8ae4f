//! `Planner`: from SQL over named sources and views to logical plans.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, DFSchemaRef, DataFusionError, TableReference, plan_err};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::Analyzer;
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast::{Ident, Query, Statement};
use tidegate_api::{Error, Result};
use tidegate_formats::interval::parse_delay_ms;

use crate::check::reads_stream;
use crate::clock::EpochClock;
use crate::error::plan_error;
use crate::event_time::timestamp;
use crate::nodes::{Deduplicate, UserState, UserStep, WatermarkNode, extension};
use crate::rewrite::{Resolver, replace_state_calls, rewrite_syntax};
use crate::session::{SparkTypes, session};
use crate::table::{PlanTable, SourceTable, TableKind};
use crate::used_fields::decode_used_fields;
use crate::wide::keeping_columns;
use crate::{analyse, dialect, optimize};

/// Plans the SQL of one query: its sources, its views, and what its sinks get.
///
/// ```
/// use std::sync::Arc;
/// use tidegate_api::OutputMode;
/// use tidegate_sql::{EpochClock, Planner, TableKind, check};
///
/// let schema = tidegate_formats::ddl::parse_schema("ts TIMESTAMP, page STRING").unwrap();
/// let mut planner = Planner::new(Arc::new(EpochClock::default()));
/// planner.add_source("clicks", Arc::new(schema), TableKind::Stream, Some(("ts", "10 minutes"))).unwrap();
///
/// let plan = planner.plan("SELECT page, count(*) AS n FROM clicks GROUP BY window(ts, '5 minutes'), page").unwrap();
/// check(&plan, OutputMode::Append).unwrap();
/// println!("{}", planner.optimize(plan).unwrap().display_indent());
/// ```
pub struct Planner {
    state: SessionState,
    tables: Vec<(String, Arc<dyn TableSource>)>,
}

impl Planner {
    /// A planner without tables, whose plans read `clock`.
    pub fn new(clock: Arc<EpochClock>) -> Self {
        Self { state: session(clock), tables: Vec::new() }
    }

    /// Adds a source, with its watermark as (column, delay).
    ///
    /// # Errors
    /// `Config` if the name is taken, or the watermark is not one on a TIMESTAMP column with a delay of 0 or more.
    pub fn add_source(
        &mut self,
        name: &str,
        schema: SchemaRef,
        kind: TableKind,
        watermark: Option<(&str, &str)>,
    ) -> Result<()> {
        self.must_be_new(name)?;
        let table = Arc::new(SourceTable { name: name.into(), schema, kind });
        let Some(watermark) = watermark else {
            self.tables.push((name.to_owned(), table));
            return Ok(());
        };
        let scan = LogicalPlanBuilder::scan(TableReference::bare(name), table, None).and_then(|it| it.build());
        let plan = with_watermark(scan.map_err(plan_error)?, name, watermark)?;
        self.tables.push((name.to_owned(), Arc::new(PlanTable::new(plan))));
        Ok(())
    }

    /// Adds a named query over the sources and views that are there, with its watermark as (column, delay).
    ///
    /// # Errors
    /// `Config` as `plan` and `add_source`.
    pub fn add_view(&mut self, name: &str, sql: &str, watermark: Option<(&str, &str)>) -> Result<()> {
        self.must_be_new(name)?;
        let mut plan = self.plan(sql).map_err(|error| error.within(format!("view {name}")))?;
        if let Some(watermark) = watermark {
            plan = with_watermark(plan, name, watermark)?;
        }
        self.tables.push((name.to_owned(), Arc::new(PlanTable::new(plan))));
        Ok(())
    }

    /// Lets only the first row of each key of a view through. Within the watermark a key counts as new again when the
    /// watermark has passed its first time plus the delay.
    ///
    /// # Errors
    /// `Config` if there is no such view, a column is not one of its, or there is no stream to be deduplicated within a
    /// watermark.
    pub fn deduplicate_view(&mut self, name: &str, columns: &[String], within_watermark: bool) -> Result<()> {
        let wrong = |text: String| Error::config(format!("{name}: deduplicate: {text}"));
        let plan = self.table(name)?;
        let schema = plan.schema();
        let mut keys = Vec::with_capacity(columns.len());
        for column in columns {
            let names = schema.fields().iter().map(|it| it.name().as_str());
            let Some(found) = crate::rewrite::spelling(&Ident::new(column), names)? else {
                let known = schema.fields().iter().map(|it| it.name().as_str()).collect::<Vec<_>>().join(", ");
                return Err(wrong(format!("there is no column {column}; there are {known}")));
            };
            keys.push(Expr::Column(Column::from(
                schema.qualified_field_with_unqualified_name(found).map_err(plan_error)?,
            )));
        }
        if keys.is_empty() {
            return Err(wrong("found no column, expected one at least".to_owned()));
        }
        let plan = match (reads_stream(&plan), within_watermark) {
            (true, _) => extension(Deduplicate { input: plan, keys, within_watermark }),
            (false, true) => return Err(wrong("within the watermark needs a streaming source, found none".to_owned())),
            (false, false) => {
                let all = schema.columns().into_iter().map(Expr::Column).collect();
                let distinct = LogicalPlanBuilder::from(plan).distinct_on(keys, all, None);
                distinct.and_then(|it| it.build()).map_err(plan_error)?
            }
        };
        let plan = self.analyse(plan)?;
        self.replace(name, plan);
        Ok(())
    }

    /// Makes of a view what user code makes of its rows; the view's last columns are the keys.
    ///
    /// # Errors
    /// `Config` if there is no such view, it reads no stream, or there is no key.
    pub fn process_view(&mut self, name: &str, step: UserStep) -> Result<()> {
        let wrong = |why: &str| Error::config(format!("{name}: {}: {why}", step.operation));
        let plan = self.table(name)?;
        if !reads_stream(&plan) {
            return Err(wrong("needs a streaming source, found none"));
        }
        if step.keys.is_empty() {
            return Err(wrong("found no key, expected one at least"));
        }
        let node = UserState::try_new(plan, step).map_err(|e| plan_error(e).within(name))?;
        self.replace(name, extension(node));
        Ok(())
    }

    fn replace(&mut self, name: &str, plan: LogicalPlan) {
        let table: Arc<dyn TableSource> = Arc::new(PlanTable::new(plan));
        for known in self.tables.iter_mut().filter(|it| it.0 == name) {
            known.1 = table.clone();
        }
    }

    /// Plans a query: parsed, rewritten, views inlined, types coerced.
    ///
    /// # Errors
    /// `Config`, with the place in the SQL where it is known.
    pub fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        let mut query = dialect::parse_query(sql)?;
        for call in replace_state_calls(&mut query)? {
            let unread = |_| Error::config(format!("sql: {}: no checkpoint is read here", call.function()));
            self.known(&call.table()).map_err(unread)?;
        }
        rewrite_syntax(&mut query)?;
        Resolver::new(self).resolve(&mut query)?;
        let plan = self.plan_resolved(query)?;
        self.analyse(plan)
    }

    /// The plan of a source or view as it is.
    ///
    /// # Errors
    /// `Config` if there is none of that name.
    pub fn table(&self, name: &str) -> Result<LogicalPlan> {
        let source = self.source(&self.known(name)?)?;
        let plan = LogicalPlanBuilder::scan(TableReference::bare(self.known(name)?), source, None);
        self.analyse(plan.and_then(|it| it.build()).map_err(plan_error)?)
    }

    /// Applies the logical rules; then of a document only the fields that are used are decoded.
    ///
    /// # Errors
    /// `Config` if a constant expression fails, `Internal` if a rule does.
    pub fn optimize(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        decode_used_fields(self.with_rules(plan)?).map_err(plan_error)
    }

    /// As `optimize`, but below each stateful operator that reads no other one stands a [`crate::KeepColumns`], and below that
    /// nothing is left out because nobody needs it.
    ///
    /// # Errors
    /// As `optimize`.
    pub fn optimize_keeping_columns(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.with_rules(keeping_columns(plan).map_err(plan_error)?)
    }

    fn with_rules(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let optimizer = Optimizer::with_rules(optimize::logical_rules());
        optimizer.optimize(plan, &self.state, |_, _| {}).map_err(plan_error)
    }

    /// The session: its settings, functions and physical rules. No table is registered in it.
    pub fn session_state(&self) -> &SessionState {
        &self.state
    }

    pub(crate) fn plan_resolved(&self, query: Query) -> Result<LogicalPlan> {
        SqlToRel::new(&Catalog(self)).sql_statement_to_plan(Statement::Query(Box::new(query))).map_err(plan_error)
    }

    pub(crate) fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn schema_of(&self, name: &str) -> Result<DFSchemaRef> {
        let plan = LogicalPlanBuilder::scan(TableReference::bare(name), self.source(name)?, None);
        Ok(Arc::clone(plan.map_err(plan_error)?.schema()))
    }

    fn analyse(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let analyzer = Analyzer::with_rules(analyse::rules());
        analyzer.execute_and_check(plan, self.state.config_options(), |_, _| {}).map_err(plan_error)
    }

    fn source(&self, name: &str) -> Result<Arc<dyn TableSource>> {
        let found = self.tables.iter().find(|(known, _)| known == name);
        found.map(|(_, source)| source.clone()).ok_or_else(|| Error::config(format!("sql: table {name} is not known")))
    }

    /// The spelling of a table's name.
    fn known(&self, name: &str) -> Result<String> {
        let found = crate::rewrite::spelling(&Ident::new(name), self.table_names())?;
        found.map(str::to_owned).ok_or_else(|| {
            let known = self.table_names().collect::<Vec<_>>().join(", ");
            Error::config(format!("table {name} is not known; known are: {known}"))
        })
    }

    fn must_be_new(&self, name: &str) -> Result<()> {
        match self.table_names().find(|it| it.to_lowercase() == name.to_lowercase()) {
            None => Ok(()),
            Some(taken) => Err(Error::config(format!(
                "{name}: the name is taken by {taken}; names of sources and views differ in more than case"
            ))),
        }
    }
}

/// In a static plan a watermark means nothing, but its column must be there all the same.
fn with_watermark(plan: LogicalPlan, name: &str, (column, delay): (&str, &str)) -> Result<LogicalPlan> {
    let wrong = |text: String| Error::config(format!("{name}: watermark on {column}: {text}"));
    let delay_ms = parse_delay_ms(delay).map_err(|error| error.within(format!("{name}: watermark on {column}")))?;
    let schema = plan.schema();
    let names = schema.fields().iter().map(|it| it.name().as_str());
    let Some(found) = crate::rewrite::spelling(&Ident::new(column), names)? else {
        let known = schema.fields().iter().map(|it| it.name().as_str()).collect::<Vec<_>>().join(", ");
        return Err(wrong(format!("there is no such column; there are {known}")));
    };
    let (qualifier, field) = schema.qualified_field_with_unqualified_name(found).map_err(plan_error)?;
    if *field.data_type() != timestamp() {
        let found = tidegate_formats::ddl::type_name(field.data_type());
        return Err(wrong(format!("expected a TIMESTAMP, found {found}")));
    }
    if !reads_stream(&plan) {
        return Ok(plan);
    }
    let column = Column::new(qualifier.cloned(), field.name());
    let node = WatermarkNode::try_new(plan, column, delay_ms, name.into()).map_err(plan_error)?;
    Ok(extension(node))
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planner").field("tables", &self.table_names().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// What DataFusion's SQL planner asks for.
struct Catalog<'p>(&'p Planner);

impl ContextProvider for Catalog<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>, DataFusionError> {
        match self.0.source(name.table()) {
            Ok(source) => Ok(source),
            Err(_) => plan_err!("table {name} is not known"),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.0.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.0.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(SparkTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.0.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.0.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.0.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.0.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.0.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.0.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.0.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.0.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.0.state.window_functions().keys().cloned().collect()
    }
}
