//! `Delta`: the connector class; what it refuses before anything is touched.

use std::path::{Path, PathBuf};

use tidegate_api::{
    ConfigIssue, ConnectorContext, Error, OutputMode, Result, SchemaRef, SinkConnector, SinkSpec, async_trait,
};
use url::Url;

use crate::config::DeltaConfig;
use crate::schema;
use crate::sink::{DeltaSink, SinkParts};
use crate::store::TableStore;

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
        if let Err(message) = local_path(&config.path, Path::new("")) {
            issues.push(ConfigIssue::new("path", message));
        }
        issues.extend(schema::problems(&spec.schema).into_iter().map(|it| ConfigIssue::new("sql", it)));
        issues.extend(partition_problems(config.partition_by.as_deref().unwrap_or_default(), &spec.schema));
        issues
    }

    fn guarantee(_config: &DeltaConfig) -> Option<tidegate_api::Guarantee> {
        Some(tidegate_api::Guarantee::Transactional)
    }

    async fn build(config: DeltaConfig, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<DeltaSink> {
        let wrong = |message: String| Error::config(format!("sink {}: {message}", ctx.name));
        let path = local_path(&config.path, &ctx.data_dir).map_err(wrong)?;
        let wanted = schema::columns(&spec.schema).map_err(|all| wrong(all.join("; ")))?;
        let store = TableStore::local(&path)?;
        Ok(DeltaSink::new(SinkParts { config, wanted, store, ctx: ctx.clone() }))
    }
}

/// The folder that `path` means, or why it means none.
fn local_path(path: &str, data_dir: &Path) -> Result<PathBuf, String> {
    let path = path.trim();
    if path.is_empty() {
        return Err("is empty, expected a folder".to_owned());
    }
    if !path.contains("://") {
        return Ok(data_dir.join(path));
    }
    let url = Url::parse(path).map_err(|e| format!("'{path}' is not a URL: {e}"))?;
    if url.scheme() != "file" {
        return Err(format!("'{}://' is not supported yet, expected a local folder or a file:// URL", url.scheme()));
    }
    url.to_file_path().map_err(|()| format!("'{path}' names no local folder"))
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
