//! ROLLUP, CUBE and GROUPING SETS over a stream as an aggregation by plain keys: each row comes once for each set, with
//! null for the keys that are not in it and with the number of the set (Spark: `Expand`). So a window stays event time,
//! and its rows are late and its groups final as without sets.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::functions_nested::make_array::make_array;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, GroupingSet, LogicalPlan, LogicalPlanBuilder, lit, when,
};
use datafusion::optimizer::AnalyzerRule;

use crate::check::reads_stream;

const SET: &str = Aggregate::INTERNAL_GROUPING_ID;

/// See the module.
#[derive(Debug)]
pub(crate) struct GroupingSets;

impl AnalyzerRule for GroupingSets {
    fn name(&self) -> &str {
        "grouping_sets_of_streams"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Aggregate(it) if reads_stream(&it.input) => match it.group_expr.as_slice() {
                [Expr::GroupingSet(set)] => expanded(&it, set).map(Transformed::yes),
                _ => Ok(Transformed::no(LogicalPlan::Aggregate(it))),
            },
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.data)
    }
}

fn expanded(aggregate: &Aggregate, set: &GroupingSet) -> Result<LogicalPlan> {
    let keys: Vec<Expr> = set.distinct_expr().into_iter().cloned().collect();
    let numbers = numbers(set, &keys);
    let id_type = aggregate.schema.field_with_unqualified_name(SET)?.data_type().clone();
    let number = |it: u64| ScalarValue::UInt64(Some(it)).cast_to(&id_type).map(lit);
    let all = numbers.iter().map(|it| number(*it)).collect::<Result<Vec<_>>>()?;

    let columns = || aggregate.input.schema().columns().into_iter().map(Expr::Column);
    let rows = LogicalPlanBuilder::from(Arc::clone(&aggregate.input))
        .project(columns().chain([make_array(all).alias(SET)]))?
        .unnest_column(Column::new_unqualified(SET))?;

    let id = || Expr::Column(Column::new_unqualified(SET));
    let mut kept = Vec::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        let within = numbers.iter().filter(|it| *it >> (keys.len() - 1 - at) & 1 == 0);
        let within = within.map(|it| number(*it)).collect::<Result<Vec<_>>>()?;
        let metadata = FieldMetadata::from(key.to_field(aggregate.input.schema())?.1.metadata().clone());
        let value = when(id().in_list(within, false), key.clone()).end()?;
        kept.push(value.alias_with_metadata(key_name(at), Some(metadata)));
    }
    let group: Vec<Expr> = (0..keys.len()).map(|at| Expr::Column(Column::new_unqualified(key_name(at)))).collect();
    let rows = rows.project(columns().chain([id()]).chain(kept))?.build()?;
    let plain =
        Aggregate::try_new(Arc::new(rows), group.into_iter().chain([id()]).collect(), aggregate.aggr_expr.clone())?;

    let renamed = plain.schema.columns().into_iter().zip(aggregate.schema.iter());
    let renamed: Vec<_> = renamed
        .map(|(from, (relation, field))| Expr::Column(from).alias_qualified(relation.cloned(), field.name()))
        .collect();
    LogicalPlanBuilder::from(LogicalPlan::Aggregate(plain)).project(renamed)?.build()
}

fn key_name(at: usize) -> String {
    format!("__key_{at}")
}

/// The number of each set, as `grouping_id()` reads it: a bit for each key, the first the highest, set if the key is not
/// in the set; above them how often the same set came before.
fn numbers(set: &GroupingSet, keys: &[Expr]) -> Vec<u64> {
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let sets: Vec<Vec<&Expr>> = match set {
        GroupingSet::Rollup(exprs) => (0..=exprs.len()).rev().map(|len| exprs.iter().take(len).collect()).collect(),
        GroupingSet::Cube(exprs) => {
            let member = |number: u64, at: usize| number >> at & 1 == 0;
            let chosen = |number| exprs.iter().enumerate().filter(move |(at, _)| member(number, *at)).map(|(_, it)| it);
            (0..1 << exprs.len()).map(|number| chosen(number).collect()).collect()
        }
        GroupingSet::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
    };
    let bits = sets.iter().map(|set| keys.iter().fold(0, |bits, key| bits << 1 | u64::from(!set.contains(&key))));
    let number = |bits: u64| {
        let before = seen.entry(bits).or_default();
        *before += 1;
        (*before - 1) << keys.len() | bits
    };
    bits.map(number).collect()
}
