//! Filters that a source or table may take over. DataFusion's expressions never cross this line.

use std::sync::Arc;

use arrow_array::Array;

use crate::source::FieldPath;

/// How a column is compared with a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
}

/// A condition on one row. Literals are Arrow arrays, of one row unless said otherwise.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::Int64Array;
/// use tidegate_api::prelude::*;
///
/// let adult = Predicate::Compare(FieldPath::column("age"), Comparison::GtEq, Arc::new(Int64Array::from(vec![18])));
/// let known = Predicate::IsNotNull(FieldPath::column("name"));
/// assert_ne!(Predicate::And(vec![adult.clone(), known]), adult);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Predicate {
    /// `column op literal`
    Compare(FieldPath, Comparison, Arc<dyn Array>),
    /// `column in (…)`: one literal a row.
    In(FieldPath, Arc<dyn Array>),
    /// `column is null`
    IsNull(FieldPath),
    /// `column is not null`
    IsNotNull(FieldPath),
    /// All of them hold.
    And(Vec<Predicate>),
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Compare(a, op, x), Self::Compare(b, other_op, y)) => a == b && op == other_op && **x == **y,
            (Self::In(a, x), Self::In(b, y)) => a == b && **x == **y,
            (Self::IsNull(a), Self::IsNull(b)) | (Self::IsNotNull(a), Self::IsNotNull(b)) => a == b,
            (Self::And(a), Self::And(b)) => a == b,
            _ => false,
        }
    }
}
