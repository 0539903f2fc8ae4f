//! Statistics of a data file for Delta's log, from those of Parquet.
//!
//! Bounds are left out where readers could be misled: floats (Parquet passes over NaN, Spark holds it for the largest),
//! decimals of more digits than a JSON number keeps, binary and boolean columns. Timestamps in the log have
//! milliseconds: the smallest is rounded down, the largest up.

use std::collections::BTreeMap;

use deltalake::parquet::basic::{LogicalType, TimeUnit};
use deltalake::parquet::file::metadata::ParquetMetaData;
use deltalake::parquet::file::statistics::Statistics;
use deltalake::parquet::schema::types::ColumnDescriptor;
use serde_json::{Map, Value, json};

/// Delta's default for `delta.dataSkippingNumIndexedCols`.
const INDEXED_COLUMNS: usize = 32;
/// Decimals of up to this many digits survive a JSON number.
const EXACT_DIGITS: i32 = 15;
const MS_PER_DAY: i64 = 86_400_000;

/// Which columns get statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatsRule {
    /// The first so many top-level columns.
    First(usize),
    /// These, by path, with all that is inside them.
    Only(Vec<String>),
}

impl StatsRule {
    /// What the table's properties say.
    pub(crate) fn of(properties: &BTreeMap<String, String>) -> Self {
        if let Some(names) = properties.get("delta.dataSkippingStatsColumns") {
            return Self::Only(names.split(',').map(|it| it.trim().replace('`', "")).collect());
        }
        let asked = properties.get("delta.dataSkippingNumIndexedCols").and_then(|it| it.trim().parse::<i64>().ok());
        // Minus one means all.
        Self::First(asked.map_or(INDEXED_COLUMNS, |it| usize::try_from(it).unwrap_or(usize::MAX)))
    }

    fn admits(&self, path: &[String], top_level: usize) -> bool {
        match self {
            Self::First(count) => top_level < *count,
            Self::Only(names) => {
                let path = path.join(".");
                names
                    .iter()
                    .any(|it| path.strip_prefix(it.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.')))
            }
        }
    }
}

/// The text for `add.stats`.
pub(crate) fn of_file(metadata: &ParquetMetaData, rule: &StatsRule) -> String {
    let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
    let mut tops: Vec<String> = Vec::new();
    for (at, column) in metadata.file_metadata().schema_descr().columns().iter().enumerate() {
        let path = column.path().parts();
        let Some(top) = path.first() else { continue };
        if tops.last() != Some(top) {
            tops.push(top.clone());
        }
        // Values inside lists and maps are not those of rows.
        if column.max_rep_level() > 0 || !rule.admits(path, tops.len() - 1) {
            continue;
        }
        let chunks = metadata.row_groups().iter().map(|it| it.columns().get(at));
        let groups: Option<Vec<_>> =
            chunks.map(|it| it.and_then(|it| Some((it.statistics()?, it.num_values())))).collect();
        let Some(groups) = groups else { continue };
        if let Some(count) = groups.iter().map(|it| it.0.null_count_opt()).sum::<Option<u64>>() {
            insert(&mut nulls, path, json!(count));
        }
        if let Some((low, high)) = bounds(column, &groups) {
            insert(&mut min, path, low);
            insert(&mut max, path, high);
        }
    }
    let rows = metadata.file_metadata().num_rows();
    json!({ "numRecords": rows, "minValues": min, "maxValues": max, "nullCount": nulls }).to_string()
}

/// The smallest and the largest value, if every row group that has values tells them.
fn bounds(column: &ColumnDescriptor, groups: &[(&Statistics, i64)]) -> Option<(Value, Value)> {
    // A group that holds nulls only has no bounds, and takes nothing from those of the others.
    let only_nulls = |(it, values): &&(&Statistics, i64)| it.null_count_opt() == u64::try_from(*values).ok();
    let told: Vec<&Statistics> = groups.iter().filter(|it| !only_nulls(it)).map(|it| it.0).collect();
    match told.first()? {
        Statistics::Int32(_) | Statistics::Int64(_) => {
            let whole = |it: &&Statistics| match it {
                Statistics::Int32(it) => Some((i64::from(*it.min_opt()?), i64::from(*it.max_opt()?))),
                Statistics::Int64(it) => Some((*it.min_opt()?, *it.max_opt()?)),
                _ => None,
            };
            let pairs = told.iter().map(whole).collect::<Option<Vec<_>>>()?;
            let low = pairs.iter().map(|it| it.0).min()?;
            let high = pairs.iter().map(|it| it.1).max()?;
            Some((render(column, low, false)?, render(column, high, true)?))
        }
        Statistics::ByteArray(_) if matches!(column.logical_type_ref(), Some(LogicalType::String)) => {
            // UTF-8 sorts as its bytes do. Parquet cuts long values so that they remain bounds.
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes?.to_vec()).ok();
            let low = told.iter().map(|it| text(it.min_bytes_opt())).collect::<Option<Vec<_>>>()?;
            let high = told.iter().map(|it| text(it.max_bytes_opt())).collect::<Option<Vec<_>>>()?;
            Some((json!(low.into_iter().min()?), json!(high.into_iter().max()?)))
        }
        _ => None,
    }
}

/// A whole number as the log writes a value of the column's type.
fn render(column: &ColumnDescriptor, value: i64, up: bool) -> Option<Value> {
    match column.logical_type_ref() {
        Some(LogicalType::Date) => Some(json!(date(value))),
        Some(LogicalType::Timestamp(it)) => {
            let per_ms = match it.unit {
                TimeUnit::MILLIS => 1,
                TimeUnit::MICROS => 1_000,
                TimeUnit::NANOS => 1_000_000,
            };
            let ms = value.div_euclid(per_ms) + i64::from(up && value.rem_euclid(per_ms) != 0);
            let zone = if it.is_adjusted_to_u_t_c { "Z" } else { "" };
            Some(json!(format!("{}{zone}", date_time(ms))))
        }
        Some(LogicalType::Decimal(it)) if it.scale == 0 => Some(json!(value)),
        Some(LogicalType::Decimal(it)) => {
            #[expect(clippy::cast_precision_loss, reason = "numbers of so few digits are exact")]
            let number = (value.unsigned_abs() < 10_u64.pow(EXACT_DIGITS.unsigned_abs()))
                .then(|| value as f64 / 10_f64.powi(it.scale))?;
            Some(json!(number))
        }
        Some(LogicalType::Integer(_)) | None => Some(json!(value)),
        Some(_) => None,
    }
}

/// Years beyond four digits get a sign, as ISO 8601 has it; readers that can't read it do not skip the file.
fn date(days: i64) -> String {
    // Civil date from days since 1970 (Howard Hinnant's algorithm), in eras of 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let sign = if (0..=9999).contains(&year) {
        ""
    } else if year < 0 {
        "-"
    } else {
        "+"
    };
    format!("{sign}{:04}-{month:02}-{day:02}", year.abs())
}

fn date_time(ms: i64) -> String {
    let day = date(ms.div_euclid(MS_PER_DAY));
    let rest = ms.rem_euclid(MS_PER_DAY);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    format!("{day}T{hour:02}:{minute:02}:{second:02}.{:03}", rest % 1_000)
}

fn insert(into: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            into.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            if let Value::Object(inner) = into.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())) {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
