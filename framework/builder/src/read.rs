//! `StreamReader`: from a connector and its settings to a stream.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_api::{Error, Result, Settings};
use tidegate_engine::{SourceSpec, ValueFormat, ValueMode};
use tidegate_formats::ddl;

use crate::lineage::{Lineage, is_name};
use crate::session::Session;
use crate::stream::Stream;

/// Describes a source (Spark: `DataStreamReader`, and `DataFrameReader` for a static table).
#[must_use = "nothing is read before load"]
pub struct StreamReader {
    session: Session,
    spec: SourceSpec,
    ddl: Option<String>,
}

impl StreamReader {
    pub(crate) fn new(session: Session, name: &str, is_static: bool) -> Self {
        let spec = SourceSpec {
            name: name.to_owned(),
            connector: String::new(),
            settings: Settings::default(),
            format: None,
            mode: ValueMode::default(),
            schema: None,
            watermark: None,
            is_static,
        };
        Self { session, spec, ddl: None }
    }

    /// The kind of source: `connector.class` of a pipeline file (Spark: `format`).
    pub fn connector(mut self, class: &str) -> Self {
        class.clone_into(&mut self.spec.connector);
        self
    }

    /// A setting of the connector.
    pub fn option(mut self, key: &str, value: impl ToString) -> Self {
        self.spec.settings.push(key, value.to_string());
        self
    }

    /// Settings of the connector.
    pub fn options<K: Into<String>, V: Into<String>>(mut self, options: impl IntoIterator<Item = (K, V)>) -> Self {
        options.into_iter().for_each(|(key, value)| self.spec.settings.push(key, value));
        self
    }

    /// The columns, as SQL DDL: `user_id BIGINT, ts TIMESTAMP`.
    pub fn schema(mut self, ddl: &str) -> Self {
        self.ddl = Some(ddl.to_owned());
        self
    }

    /// The columns, as an Arrow schema.
    pub fn columns(mut self, schema: SchemaRef) -> Self {
        self.spec.schema = Some(schema);
        self
    }

    /// How a record's value becomes columns; absent: as the connector says.
    pub fn value_format(mut self, format: ValueFormat) -> Self {
        self.spec.format = Some(format);
        self
    }

    /// What becomes of a record that can't be decoded.
    pub fn value_mode(mut self, mode: ValueMode) -> Self {
        self.spec.mode = mode;
        self
    }

    /// The stream of the source's rows. Touches nothing outside; what the connector finds wrong is said by `start`.
    ///
    /// # Errors
    /// `Config` if the name is none, the connector is not known, or the columns can't be read.
    pub fn load(mut self) -> Result<Stream> {
        let place = format!("source {}", self.spec.name);
        if !is_name(&self.spec.name) {
            return Err(Error::config(format!(
                "source '{}': expected a name of letters, digits, '_' and '-'",
                self.spec.name
            )));
        }
        self.session.registry().find_source(&self.spec.connector).map_err(|e| e.within(&place))?;
        if let Some(ddl) = &self.ddl {
            self.spec.schema = Some(Arc::new(ddl::parse_schema(ddl).map_err(|e| e.within(&place))?));
        }
        let name = self.spec.name.clone();
        Ok(Stream::table(self.session, Arc::new(Lineage::Source(self.spec)), Some(name)))
    }
}
