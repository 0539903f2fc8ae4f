//! Rows, made comparable.

use arrow_array::RecordBatch;
use arrow_json::LineDelimitedWriter;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use tidegate_api::{Error, Result};

/// All rows in one batch.
///
/// # Errors
/// `Internal` if a batch has other columns.
pub fn concat(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    concat_batches(schema, batches).map_err(|e| Error::internal("rows of different columns").because(e))
}

/// Each row as a line of JSON, sorted: what two readers that keep no order must agree on. Types of one value (the
/// widths of text, for example) look the same.
///
/// # Errors
/// `Internal` if a column can't be shown as JSON.
pub fn sorted_lines(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    let batches: Vec<_> = batches.iter().filter(|it| it.num_rows() > 0).collect();
    let wrong = |e| Error::internal("rows can't be shown").because(e);
    writer.write_batches(&batches).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    let text = String::from_utf8(writer.into_inner()).map_err(|e| Error::internal("rows").because(e))?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// Says what differs between two sets of rows, whatever their order.
///
/// # Errors
/// `Internal`, naming some rows that are missing or too many.
pub fn same_rows(what: &str, expected: &[RecordBatch], came: &[RecordBatch]) -> Result<()> {
    let (mut missing, mut extra) = (sorted_lines(expected)?, sorted_lines(came)?);
    if missing == extra {
        return Ok(());
    }
    let (expected, came) = (missing.len(), extra.len());
    let all = missing.clone();
    subtract(&mut missing, &extra);
    subtract(&mut extra, &all);
    let few = |lines: &[String]| lines.iter().take(5).cloned().collect::<Vec<_>>().join(" ");
    let (missing, extra) = (few(&missing), few(&extra));
    Err(super::found(format!("{what}: {expected} rows expected, {came} came; missing: {missing}; too many: {extra}")))
}

/// Takes the lines of `other` out of `lines`, one for one; both sorted.
fn subtract(lines: &mut Vec<String>, other: &[String]) {
    let mut other = other.iter().peekable();
    lines.retain(|line| {
        while other.next_if(|it| *it < line).is_some() {}
        other.next_if(|it| *it == line).is_none()
    });
}
