//! The keys of a table that is read.

use std::num::NonZeroU32;
use std::time::Duration;

use tidegate_api::{ConfigDef, Secret};

use crate::config::{ConsistencyLevel, ContactPoint};
use crate::session::Access;

/// Settings of the `cassandra` source, a static table.
#[derive(Clone, ConfigDef)]
pub struct CassandraTableConfig {
    /// Nodes to connect to first, as host:port, separated by commas; the port may be left out (9042). The others are
    /// found through them.
    #[config(importance = "high")]
    pub contact_points: Vec<ContactPoint>,
    /// The keyspace of the table.
    #[config(importance = "high")]
    pub keyspace: String,
    /// The table, whose rows are all read anew in each epoch. Names are compared without regard to case unless one fits
    /// exactly.
    #[config(importance = "high")]
    pub table: String,
    /// The user to log in as.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The datacenter whose nodes are read from; left out, those of all.
    pub local_datacenter: Option<String>,
    /// How many replicas must answer (Spark Cassandra Connector: `spark.cassandra.input.consistency.level`).
    #[config(default = "local_one")]
    pub consistency: ConsistencyLevel,
    /// How long one page may take.
    #[config(default = "15s", importance = "low")]
    pub request_timeout: Duration,
    /// Rows that are asked for at once (Spark Cassandra Connector: `spark.cassandra.input.fetch.sizeInRows`).
    #[config(default = "1000", importance = "low")]
    pub page_rows: NonZeroU32,
    /// Rows that a range of tokens is to have: a table of many is read in many ranges.
    #[config(default = "100000", importance = "low")]
    pub split_rows: NonZeroU32,
    /// Ranges of tokens that are read side by side.
    #[config(default = "8", importance = "low")]
    pub max_in_flight: NonZeroU32,
}

impl CassandraTableConfig {
    pub(crate) fn access(&self) -> Access<'_> {
        Access {
            contact_points: &self.contact_points,
            username: self.username.as_deref(),
            password: self.password.as_ref(),
            local_datacenter: self.local_datacenter.as_deref(),
            consistency: self.consistency.0,
            timeout: self.request_timeout,
        }
    }
}
