//! What a table is like, whether we can write to it, and how rows of the query become its files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType as ArrowType, Field, Schema, SchemaRef};
use deltalake::kernel::{DataType, StructField, StructType};
use tidegate_api::{Error, Result};

use crate::schema::{Wanted, arrow_type, same_type};
use crate::stats::StatsRule;

/// Writer features of a table that appending rows does not have to do anything for, or that [`Shape::check`] looks into.
const HARMLESS: [&str; 12] = [
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "columnMapping",
    "deletionVectors",
    "domainMetadata",
    "generatedColumns",
    "identityColumns",
    "inCommitTimestamp",
    "invariants",
    "timestampNtz",
    "v2Checkpoint",
];

/// Remarks on a column that ask the writer for values or checks.
const COLUMN_DUTIES: [(&str, &str); 4] = [
    ("delta.invariants", "an invariant"),
    ("delta.generationExpression", "a generated value"),
    ("delta.identity.start", "an identity value"),
    ("CURRENT_DEFAULT", "a default value"),
];

/// All of a table that appending to it depends on, as of one version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) version: u64,
    /// The table's identity; stays if the folder is moved.
    pub(crate) id: String,
    pub(crate) reader_version: i32,
    pub(crate) writer_version: i32,
    /// Named features of protocols 3 and 7.
    pub(crate) features: BTreeSet<String>,
    pub(crate) schema: StructType,
    pub(crate) partition_by: Vec<String>,
    /// The table's properties.
    pub(crate) properties: BTreeMap<String, String>,
    /// How long log files are kept.
    pub(crate) log_retention: Duration,
}

/// One column of the query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    /// As the table spells it.
    pub(crate) name: String,
    /// As our files hold it.
    pub(crate) arrow: ArrowType,
    /// The table takes no null.
    pub(crate) required: bool,
}

/// How rows of the query become files of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// The query's columns, in its order.
    pub(crate) columns: Vec<Column>,
    /// Columns that stand in files, by place in `columns`.
    pub(crate) in_file: Vec<usize>,
    /// Columns that partition, by place in `columns`, in the table's order.
    pub(crate) partitions: Vec<usize>,
    /// All columns, as our files hold them.
    pub(crate) schema: SchemaRef,
    /// The columns of a file.
    pub(crate) file_schema: SchemaRef,
    /// Which columns get statistics.
    pub(crate) stats: StatsRule,
}

impl Shape {
    /// Whether rows may be appended by a writer that does no more than we do.
    ///
    /// # Errors
    /// `Config`, naming what the table asks for.
    pub(crate) fn check(&self) -> Result<()> {
        if self.reader_version > 3 || self.writer_version > 7 {
            return Err(Error::config(format!(
                "has protocol reader {}, writer {}, expected at most 3 and 7",
                self.reader_version, self.writer_version
            )));
        }
        let unknown: Vec<_> =
            self.features.iter().filter(|it| !HARMLESS.contains(&it.as_str())).map(String::as_str).collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            return Err(Error::config(format!("has the table feature {unknown}, which the sink does not support")));
        }
        self.check_properties()?;
        for field in self.schema.fields() {
            check_duties(field, field.name())?;
        }
        Ok(())
    }

    fn check_properties(&self) -> Result<()> {
        let property = |name: &str| self.properties.get(name).map(String::as_str);
        if let Some((name, _)) = self.properties.iter().find(|(name, _)| name.starts_with("delta.constraints.")) {
            return Err(Error::config(format!("has the constraint {name}, which the sink can't check")));
        }
        if let Some(mode) = property("delta.columnMapping.mode").filter(|it| !it.eq_ignore_ascii_case("none")) {
            return Err(Error::config(format!("has column mapping '{mode}', expected none")));
        }
        if property("delta.enableInCommitTimestamps").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
            return Err(Error::config("has in-commit timestamps enabled, which the sink does not write"));
        }
        if let Some(kept) = property("delta.setTransactionRetentionDuration") {
            return Err(Error::config(format!(
                "has delta.setTransactionRetentionDuration = '{kept}': the table would forget which epochs it holds; \
                 unset that property"
            )));
        }
        Ok(())
    }

    /// How rows of the query become files, if the columns fit.
    ///
    /// # Errors
    /// `Config`, naming the column and both types.
    pub(crate) fn layout(&self, wanted: &[Wanted], partition_by: Option<&[String]>) -> Result<Layout> {
        let mut columns = Vec::with_capacity(wanted.len());
        for want in wanted {
            columns.push(self.column(want)?);
        }
        self.check_other_columns(wanted)?;
        if let Some(asked) = partition_by {
            let same = asked.len() == self.partition_by.len()
                && asked.iter().zip(&self.partition_by).all(|(l, r)| l.eq_ignore_ascii_case(r));
            if !same {
                return Err(Error::config(format!(
                    "is partitioned by [{}], partition.by says [{}]",
                    self.partition_by.join(", "),
                    asked.join(", ")
                )));
            }
        }
        let mut partitions = Vec::with_capacity(self.partition_by.len());
        for name in &self.partition_by {
            let at = columns.iter().position(|it| it.name.eq_ignore_ascii_case(name));
            partitions.push(at.ok_or_else(|| {
                Error::config(format!("is partitioned by column '{name}', which the query does not have"))
            })?);
        }
        let in_file: Vec<_> = (0..columns.len()).filter(|at| !partitions.contains(at)).collect();
        let fields: Vec<_> = columns.iter().map(|it| Field::new(&it.name, it.arrow.clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let file_schema = schema.project(&in_file).map_err(|e| Error::internal("columns out of place").because(e))?;
        let stats = StatsRule::of(&self.properties);
        Ok(Layout { columns, in_file, partitions, schema, file_schema: Arc::new(file_schema), stats })
    }

    fn column(&self, want: &Wanted) -> Result<Column> {
        let name = want.name();
        let found = self.schema.fields().find(|it| it.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            let known: Vec<_> = self.schema.fields().map(|it| it.name().as_str()).collect();
            let data_type = want.data_type();
            Error::config(format!(
                "has no column '{name}', which the query has with type {data_type}; its columns are {}",
                known.join(", ")
            ))
        })?;
        if !same_type(found.data_type(), want.data_type()) {
            return Err(Error::config(format!(
                "has column '{name}' with type {}, the query has it with type {}",
                found.data_type(),
                want.data_type()
            )));
        }
        if has_required_inside(found.data_type()) {
            return Err(Error::config(format!(
                "has column '{name}' with type {}, which takes no null inside: the sink can't check that",
                found.data_type()
            )));
        }
        let arrow = arrow_type(want.data_type()).map_err(|why| Error::config(format!("column '{name}' {why}")))?;
        Ok(Column { name: found.name().clone(), arrow, required: !found.is_nullable() })
    }

    fn check_other_columns(&self, wanted: &[Wanted]) -> Result<()> {
        for field in self.schema.fields() {
            let ours = wanted.iter().any(|it| it.name().eq_ignore_ascii_case(field.name()));
            if !ours && !field.is_nullable() {
                return Err(Error::config(format!(
                    "has column '{}' with type {} that takes no null, the query does not have it",
                    field.name(),
                    field.data_type()
                )));
            }
        }
        Ok(())
    }
}

impl Layout {
    /// True if files written for one may be added to a table that needs the other.
    pub(crate) fn same_files(&self, other: &Self) -> bool {
        self.columns == other.columns && self.partitions == other.partitions
    }

    /// The names of the partition columns, in the table's order.
    pub(crate) fn partition_names(&self) -> Vec<&str> {
        self.partitions.iter().filter_map(|at| self.columns.get(*at)).map(|it| it.name.as_str()).collect()
    }
}

/// True if some field, element or value inside takes no null.
fn has_required_inside(data_type: &DataType) -> bool {
    match data_type {
        DataType::Array(it) => !it.contains_null() || has_required_inside(it.element_type()),
        DataType::Map(it) => {
            !it.value_contains_null() || has_required_inside(it.key_type()) || has_required_inside(it.value_type())
        }
        DataType::Struct(it) => it.fields().any(|it| !it.is_nullable() || has_required_inside(it.data_type())),
        _ => false,
    }
}

fn check_duties(field: &StructField, path: &str) -> Result<()> {
    for (key, duty) in COLUMN_DUTIES {
        if field.metadata.contains_key(key) {
            return Err(Error::config(format!("has column '{path}' with {duty}, which the sink does not support")));
        }
    }
    if let DataType::Struct(inner) = field.data_type() {
        for field in inner.fields() {
            check_duties(field, &format!("{path}.{}", field.name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
