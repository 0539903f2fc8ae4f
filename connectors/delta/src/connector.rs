//! `Delta`: the connector class; what it refuses before anything is touched.

use std::path::Path;

use tidegate_api::{
    ConfigIssue, ConnectorContext, Error, OutputMode, Result, SchemaRef, SinkConnector, SinkSpec, async_trait,
};
use tidegate_storage::Location;

use crate::config::DeltaConfig;
use crate::schema;
use crate::sink::DeltaSink;

/// The `delta` sink connector.
pub struct Delta;

#[async_trait]
impl SinkConnector for Delta {
    const NAME: &'static str = "delta";
    type Config = DeltaConfig;
    type Sink = DeltaSink;

    fn accepts(config: &DeltaConfig, spec: &SinkSpec) -> Vec<ConfigIssue> {
        let mut issues = Vec::new();
        if spec.mode != OutputMode::Append {
            let message = format!("the sink does not take this mode: delta takes append, not {}", spec.mode);
            issues.push(ConfigIssue::new("output.mode", message));
        }
        if let Err(error) = location(config, Path::new("")) {
            issues.push(ConfigIssue::new("path", error.to_string()));
        }
        issues.extend(schema::problems(&spec.schema).into_iter().map(|it| ConfigIssue::new("sql", it)));
        issues.extend(partition_problems(config.partition_by.as_deref().unwrap_or_default(), &spec.schema));
        issues
    }

    fn guarantee(_config: &DeltaConfig) -> Option<tidegate_api::Guarantee> {
        Some(tidegate_api::Guarantee::Transactional)
    }

    async fn build(config: DeltaConfig, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<DeltaSink> {
        let location = location(&config, &ctx.data_dir).map_err(|e| e.within(format_args!("sink {}", ctx.name)))?;
        DeltaSink::at(&location, config, spec, ctx)
    }
}

/// The folder that `path` means.
fn location(config: &DeltaConfig, data_dir: &Path) -> Result<Location> {
    let path = config.path.trim();
    if path.is_empty() {
        return Err(Error::config("is empty, expected a folder"));
    }
    Location::open(path, &config.storage, data_dir)
}

fn partition_problems(partition_by: &[String], schema: &SchemaRef) -> Vec<ConfigIssue> {
    let mut issues = Vec::new();
    for (at, name) in partition_by.iter().enumerate() {
        let issue = |message: String| ConfigIssue::new("partition.by", message);
        if partition_by.iter().take(at).any(|it| it.eq_ignore_ascii_case(name)) {
            issues.push(issue(format!("column '{name}' is named twice")));
            continue;
        }
        match schema.fields().iter().find(|it| it.name().eq_ignore_ascii_case(name)) {
            None => {
                let known: Vec<_> = schema.fields().iter().map(|it| it.name().as_str()).collect();
                issues.push(issue(format!("column '{name}' is not in the query, which has {}", known.join(", "))));
            }
            Some(field) => issues.extend(schema::partition_problem(field).map(issue)),
        }
    }
    if !schema.fields().is_empty() && partition_by.len() >= schema.fields().len() {
        issues
            .push(ConfigIssue::new("partition.by", "names all columns, expected at least one that is left for files"));
    }
    issues
}

#[cfg(test)]
mod tests;
