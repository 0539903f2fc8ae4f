//! `File` as a sink connector; what it refuses before anything is touched.

use std::path::Path;

use tidegate_api::{
    ConfigIssue, ConnectorContext, Guarantee, OutputMode, Result, SinkConnector, SinkSpec, async_trait,
};
use tidegate_storage::Location;

use super::columns;
use super::config::FileSinkConfig;
use super::file_sink::FileSink;
use crate::source::File;

#[async_trait]
impl SinkConnector for File {
    const NAME: &'static str = "file";
    type Config = FileSinkConfig;
    type Sink = FileSink;

    fn accepts(config: &FileSinkConfig, spec: &SinkSpec) -> Vec<ConfigIssue> {
        let mut issues = config.issues();
        if spec.mode != OutputMode::Append {
            let message = format!("the sink does not take this mode: file takes append, not {}", spec.mode);
            issues.push(ConfigIssue::new("output.mode", message));
        }
        if config.path.contains("://")
            && let Err(error) = Location::open(config.path.trim(), &config.storage, Path::new(""))
        {
            issues.push(ConfigIssue::new("path", error.to_string()));
        }
        let problems = columns::of_files(&spec.schema, config.format).err().unwrap_or_default();
        issues.extend(problems.into_iter().map(|it| ConfigIssue::new("sql", it)));
        issues
    }

    fn guarantee(_config: &FileSinkConfig) -> Option<Guarantee> {
        Some(Guarantee::Transactional)
    }

    async fn build(config: FileSinkConfig, spec: &SinkSpec, ctx: &ConnectorContext) -> Result<FileSink> {
        let location = Location::open(config.path.trim(), &config.storage, &ctx.data_dir)
            .map_err(|e| e.within(format_args!("sink {}", ctx.name)))?;
        FileSink::at(location, &config, spec, ctx)
    }
}
