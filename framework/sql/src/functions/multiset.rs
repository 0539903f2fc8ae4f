//! `min`, `max` and `count(DISTINCT …)` over rows that come and go: each value of a group is kept with how often it is there,
//! so that what is left when the smallest one goes is known.
//!
//! The state of a group is two lists, its values in order and their numbers. A partial state may have negative numbers: rows
//! that another one has are taken back by it.

use std::sync::Arc;

use arrow_array::builder::UInt32Builder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, ListArray, UInt32Array, new_empty_array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, FieldRef};
use arrow_select::concat::concat;
use arrow_select::take::take;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, internal_err, not_impl_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

/// What is asked of the values of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    Least,
    Greatest,
    /// How many different ones there are.
    Different,
}

/// A function of `(value, change)`: a change of +1 adds the value, one of -1 takes it back. Nulls count for nothing.
pub(crate) fn of_changes(asked: Asked) -> Arc<AggregateUDF> {
    let signature = Signature::any(2, Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(OfChanges { asked, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfChanges {
    asked: Asked,
    signature: Signature,
}

impl AggregateUDFImpl for OfChanges {
    fn name(&self) -> &str {
        match self.asked {
            Asked::Least => "min_of_changes",
            Asked::Greatest => "max_of_changes",
            Asked::Different => "count_distinct_of_changes",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match (self.asked, arguments) {
            (Asked::Different, _) => Ok(DataType::Int64),
            (_, [value, _]) => Ok(value.clone()),
            _ => internal_err!("{} takes a value and a change", self.name()),
        }
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is for groups", self.name())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let Some(value) = args.input_fields.first() else { return internal_err!("{} takes a value", self.name()) };
        let field = |name, kind| Arc::new(Field::new(format_state_name(args.name, name), list_of(kind), true));
        Ok(vec![field("values", value.data_type().clone()), field("times", DataType::Int64)])
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let Some(value) = args.expr_fields.first() else { return internal_err!("{} takes a value", self.name()) };
        Ok(Box::new(Multisets::new(self.asked, value.data_type().clone())))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn list_of(kind: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(kind, true)))
}

/// The values of all groups, as they came.
struct Multisets {
    asked: Asked,
    kind: DataType,
    values: Vec<ArrayRef>,
    /// Of each value: the group, and how often it came more than it went.
    counted: Vec<(usize, i64)>,
    groups: usize,
}

/// The values of some groups: by group, then in order, each once.
struct Settled {
    values: ArrayRef,
    counted: Vec<(usize, i64)>,
    groups: usize,
}

impl Multisets {
    fn new(asked: Asked, kind: DataType) -> Self {
        Self { asked, kind, values: Vec::new(), counted: Vec::new(), groups: 0 }
    }

    /// Takes the groups out.
    fn settle(&mut self, emit_to: EmitTo) -> Result<Settled> {
        let groups = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(groups) => groups.min(self.groups),
        };
        let counted = std::mem::take(&mut self.counted);
        let values = match std::mem::take(&mut self.values) {
            none if none.is_empty() => new_empty_array(&self.kind),
            all => concat(&all.iter().map(AsRef::as_ref).collect::<Vec<_>>())?,
        };
        let converter = RowConverter::new(vec![SortField::new(self.kind.clone())])?;
        let rows = converter.convert_columns(std::slice::from_ref(&values))?;
        let mut order: Vec<(usize, u32, i64)> =
            (0u32..).zip(&counted).map(|(row, (group, times))| (*group, row, *times)).collect();
        let value = |row: u32| rows.row(row as usize);
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| value(a.1).cmp(&value(b.1))));
        let (mut settled, mut later) = (Vec::new(), Vec::new());
        let (mut at, mut at_later) = (UInt32Builder::new(), UInt32Builder::new());
        for same in order.chunk_by(|a, b| a.0 == b.0 && value(a.1) == value(b.1)) {
            let times: i64 = same.iter().map(|it| it.2).sum();
            match same.first() {
                Some((group, row, _)) if times != 0 && *group < groups => {
                    settled.push((*group, times));
                    at.append_value(*row);
                }
                Some((group, row, _)) if times != 0 => {
                    later.push((*group - groups, times));
                    at_later.append_value(*row);
                }
                _ => {}
            }
        }
        if !later.is_empty() {
            self.values.push(take(&values, &at_later.finish(), None)?);
        }
        self.counted = later;
        self.groups -= groups;
        Ok(Settled { values: take(&values, &at.finish(), None)?, counted: settled, groups })
    }
}

impl GroupsAccumulator for Multisets {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let [values, changes] = values else { return internal_err!("a value and a change are expected") };
        let changes = changes.as_primitive::<Int64Type>();
        let counts = |row: usize| values.is_valid(row) && filter.is_none_or(|it| it.is_valid(row) && it.value(row));
        let rows: Vec<u32> = (0u32..).zip(groups).map(|it| it.0).filter(|row| counts(*row as usize)).collect();
        self.groups = self.groups.max(total);
        let all = (0u32..).zip(groups.iter().zip(changes.values()));
        self.counted.extend(all.filter(|it| counts(it.0 as usize)).map(|(_, (group, change))| (*group, *change)));
        self.values.push(take(values, &UInt32Array::from(rows), None)?);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let [values, times] = states else { return internal_err!("values and their numbers are expected") };
        let (values, times) = (values.as_list::<i32>(), times.as_list::<i32>());
        self.groups = self.groups.max(total);
        let lengths = values.offsets().lengths();
        let of_values = groups.iter().zip(lengths).flat_map(|(group, length)| std::iter::repeat_n(*group, length));
        let times = flat(times);
        self.counted.extend(of_values.zip(times.as_primitive::<Int64Type>().values().iter().copied()));
        self.values.push(flat(values));
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let asked = self.asked;
        let settled = self.settle(emit_to)?;
        let lengths = settled.lengths();
        if asked == Asked::Different {
            return Ok(Arc::new(lengths.map(|it| Some(i64::from(it))).collect::<Int64Array>()));
        }
        let mut end = 0;
        let picked = lengths.map(|length| {
            let start = end;
            end += length;
            let at = if asked == Asked::Least { start } else { end.saturating_sub(1) };
            (length > 0).then_some(at)
        });
        Ok(take(&settled.values, &picked.collect::<UInt32Array>(), None)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let settled = self.settle(emit_to)?;
        let offsets = OffsetBuffer::from_lengths(settled.lengths().map(|it| it as usize));
        let lists = |values: ArrayRef| -> Result<ArrayRef> {
            let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            Ok(Arc::new(ListArray::try_new(field, offsets.clone(), values, None)?))
        };
        let times = settled.counted.iter().map(|it| it.1).collect::<Int64Array>();
        Ok(vec![lists(settled.values)?, lists(Arc::new(times))?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |it| it.len());
        let mut each = Self::new(self.asked, self.kind.clone());
        each.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        let values: usize = self.values.iter().map(|it| it.get_array_memory_size()).sum();
        size_of::<Self>() + values + self.counted.capacity() * size_of::<(usize, i64)>()
    }
}

impl Settled {
    /// How many different values each group has.
    fn lengths(&self) -> impl Iterator<Item = u32> {
        let mut of_groups = self.counted.chunk_by(|a, b| a.0 == b.0).peekable();
        (0..self.groups).map(move |group| {
            let there = of_groups.next_if(|it| it.first().is_some_and(|it| it.0 == group));
            there.map_or(0, |it| u32::try_from(it.len()).unwrap_or(u32::MAX))
        })
    }
}

/// The values of all lists, one after the other.
fn flat(lists: &ListArray) -> ArrayRef {
    let (first, last) = (lists.offsets().first().copied(), lists.offsets().last().copied());
    let at = |it: Option<i32>| it.and_then(|it| usize::try_from(it).ok()).unwrap_or_default();
    lists.values().slice(at(first), at(last) - at(first))
}

#[cfg(test)]
mod tests;
