//! Columns that only an outside system knows: asked for before a query that is to run is planned.

use tidegate_api::{Registry, Result};

use crate::spec::{QuerySpec, SourceSpec};

/// Gives the sources that declare no columns those that their connectors ask the outside systems for, as if they were
/// declared. What is wrong with a source otherwise is told by [`plan`](crate::plan).
///
/// # Errors
/// `Transient` if an outside system is away, `Config` if it can't be asked like this.
pub async fn ask_columns(spec: &mut QuerySpec, registry: &Registry) -> Result<()> {
    for source in &mut spec.sources {
        ask(source, registry).await.map_err(|e| e.within(format_args!("source {}", source.name)))?;
    }
    Ok(())
}

async fn ask(source: &mut SourceSpec, registry: &Registry) -> Result<()> {
    let Ok(connector) = registry.find_source(&source.connector) else { return Ok(()) };
    let is_refused =
        !connector.validate(&source.settings).is_empty() || (!source.is_static && connector.only_static().is_some());
    if source.schema.is_none() && connector.tells_columns() && !is_refused {
        source.schema = Some(Box::pin(connector.columns(&source.settings)).await?);
    }
    Ok(())
}
