//! The DataFusion session of a query: its settings, functions and lists of rules, all chosen for plans that are made
//! once and executed again in every epoch.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};

use crate::clock::EpochClock;
use crate::event_time::timestamp;
use crate::nodes::time_window::TimeWindowPlanner;
use crate::{analyse, functions, optimize};

/// Functions of DataFusion that read a clock when the query is planned. They are rewritten before they are looked up;
/// what is left over must be unknown rather than frozen.
const CLOCKS: [&str; 5] = ["now", "current_timestamp", "current_date", "current_time", "today"];

pub(crate) fn session(clock: Arc<EpochClock>) -> SessionState {
    let mut builder = SessionStateBuilder::new()
        .with_config(config())
        .with_default_features()
        .with_analyzer_rules(analyse::rules())
        .with_optimizer_rules(optimize::logical_rules())
        .with_physical_optimizer_rules(optimize::physical_rules())
        .with_type_planner(Arc::new(SparkTypes))
        .with_relation_planners(vec![Arc::new(TimeWindowPlanner)]);
    let functions = builder.scalar_functions().get_or_insert_default();
    functions.retain(|it| !CLOCKS.contains(&it.name()));
    functions.extend(functions::all(clock));
    builder.build()
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    let options: &mut ConfigOptions = config.options_mut();
    // A plan with dynamic filters can't be reset and executed again.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    // Partial aggregates always aggregate: what counts as a dropped row must not depend on the amount of data.
    options.execution.skip_partial_aggregation_probe_ratio_threshold = 1.0;
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.collect_statistics = false;
    // Views of buffers keep whole buffers alive in state.
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    // Spark: a number with a point is a DECIMAL, one with an exponent a DOUBLE (framework/sql/src/rewrite).
    options.sql_parser.parse_float_as_decimal = true;
    // Names are resolved before DataFusion sees them.
    options.sql_parser.enable_ident_normalization = false;
    // A sort that means nothing is refused, not dropped.
    options.sql_parser.enable_subquery_sort_elimination = false;
    options.sql_parser.collect_spans = true;
    // Spark: nulls first when ascending.
    options.sql_parser.default_null_ordering = "nulls_min".to_owned();
    config
}

/// SQL's types as Spark has them where DataFusion differs.
#[derive(Debug)]
pub(crate) struct SparkTypes;

impl TypePlanner for SparkTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let found = match sql_type {
            SqlType::Timestamp(_, TimezoneInfo::WithoutTimeZone) | SqlType::TimestampNtz { .. } => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            SqlType::Timestamp(..) => timestamp(),
            SqlType::Binary(_) | SqlType::Varbinary(_) | SqlType::Blob(_) | SqlType::Bytes(_) => DataType::Binary,
            SqlType::Character(_) | SqlType::CharacterVarying(_) | SqlType::CharVarying(_) | SqlType::Nvarchar(_) => {
                DataType::Utf8
            }
            SqlType::Decimal(ExactNumberInfo::None)
            | SqlType::Numeric(ExactNumberInfo::None)
            | SqlType::Dec(ExactNumberInfo::None) => DataType::Decimal128(10, 0),
            SqlType::Custom(name, modifiers) if modifiers.is_empty() => {
                match name.to_string().to_lowercase().as_str() {
                    "byte" => DataType::Int8,
                    "short" => DataType::Int16,
                    "long" => DataType::Int64,
                    "timestamp_ltz" => timestamp(),
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        // Nameless: a cast to it keeps the field's metadata.
        Ok(Some(Arc::new(Field::new("", found, true))))
    }
}
