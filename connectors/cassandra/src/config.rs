//! The keys of the `cassandra` sink, and what those of the table that is read have in common with them.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use scylla::statement::Consistency;
use tidegate_api::{ConfigDef, ConfigIssue, ConfigValue, Secret};

use crate::session::Access;

/// Settings of the `cassandra` sink.
#[derive(Clone, ConfigDef)]
pub struct CassandraConfig {
    /// Nodes to connect to first, as host:port, separated by commas; the port may be left out (9042). The others are
    /// found through them.
    #[config(importance = "high")]
    pub contact_points: Vec<ContactPoint>,
    /// The keyspace of the table.
    #[config(importance = "high")]
    pub keyspace: String,
    /// The table. It must be there, and its primary key must be among the columns of the rows. Names are compared
    /// without regard to case unless one fits exactly.
    #[config(importance = "high")]
    pub table: String,
    /// The user to log in as.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The datacenter whose nodes are written to; left out, those of all.
    pub local_datacenter: Option<String>,
    /// How many replicas must have a row before it counts as written.
    #[config(default = "local_quorum")]
    pub consistency: ConsistencyLevel,
    /// What a null does: `unset` leaves what the table holds, `tombstone` removes it. Left out: unset in update mode, else
    /// tombstone.
    pub nulls: Option<Nulls>,
    /// How long rows live, counted from the clock of their epoch: an epoch that is written late or again expires at the
    /// same time. Left out: the table's own default, counted the same way.
    pub ttl: Option<Duration>,
    /// A BOOLEAN column of the rows, not of the table: true deletes the row of that key.
    pub delete_column: Option<String>,
    /// Statements under way at once.
    #[config(default = "128", importance = "low")]
    pub max_in_flight: NonZeroU32,
    /// What must hold when an epoch is written again. `exactly-once`: the table is as if it had been written once; tables
    /// that can't keep that are refused. `at-least-once`: they are taken.
    #[config(default = "exactly-once")]
    pub delivery: Delivery,
    /// What to do with a table that a query has never written to and that holds cells written over a minute ahead of this
    /// machine's clock, which rows of the query would lose against: `refuse` or `accept`.
    #[config(default = "refuse", importance = "low")]
    pub future_cells: FutureCells,
}

/// How long a statement of the sink may take.
const REQUEST: Duration = Duration::from_secs(15);

impl CassandraConfig {
    pub(crate) fn access(&self) -> Access<'_> {
        Access {
            contact_points: &self.contact_points,
            username: self.username.as_deref(),
            password: self.password.as_ref(),
            local_datacenter: self.local_datacenter.as_deref(),
            consistency: self.consistency.0,
            timeout: REQUEST,
        }
    }
}

/// What is wrong with the keys by which a table is found.
pub(crate) fn issues(access: &Access<'_>, keyspace: &str, table: &str) -> Vec<ConfigIssue> {
    let mut issues = Vec::new();
    if access.contact_points.is_empty() {
        issues.push(ConfigIssue::new("contact.points", "is empty, expected at least one host:port"));
    }
    for (key, name) in [("keyspace", keyspace), ("table", table)] {
        if name.is_empty() || !name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_') {
            issues.push(ConfigIssue::new(key, format!("'{name}' is not a name, expected letters, digits and _")));
        }
    }
    if access.username.is_some() != access.password.is_some() {
        issues.push(ConfigIssue::new("username", "username and password must be set together"));
    }
    issues
}

/// A node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactPoint(pub String);

impl ConfigValue for ContactPoint {
    const KIND: &'static str = "a host with a port, such as db1:9042";
    fn parse_value(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not {}", Self::KIND);
        let text = text.trim();
        // An IPv6 address has colons of its own; with a port it stands in brackets.
        let bare = text.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !bare && !text.ends_with(']') => (host, port),
            _ => (text, "9042"),
        };
        let port: u16 = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || host.contains(char::is_whitespace) || host.contains('/') {
            return Err(wrong());
        }
        Ok(Self(if bare { format!("[{host}]:{port}") } else { format!("{host}:{port}") }))
    }
}

/// How many replicas must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsistencyLevel(pub Consistency);

impl ConfigValue for ConsistencyLevel {
    const KIND: &'static str = "one of any, one, two, three, quorum, all, local_quorum, each_quorum and local_one";
    fn parse_value(text: &str) -> Result<Self, String> {
        let name = text.trim().to_ascii_lowercase().replace('-', "_");
        Ok(Self(match name.as_str() {
            "any" => Consistency::Any,
            "one" => Consistency::One,
            "two" => Consistency::Two,
            "three" => Consistency::Three,
            "quorum" => Consistency::Quorum,
            "all" => Consistency::All,
            "local_quorum" => Consistency::LocalQuorum,
            "each_quorum" => Consistency::EachQuorum,
            "local_one" => Consistency::LocalOne,
            _ => return Err(format!("'{text}' is not {}", Self::KIND)),
        }))
    }
}

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident: $($(#[$of:meta])* $variant:ident = $text:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$of])* $variant),+ }

        impl ConfigValue for $name {
            const KIND: &'static str = concat!("one of", $(" ", $text),+);
            fn parse_value(text: &str) -> Result<Self, String> {
                match text.trim().to_ascii_lowercase().replace('_', "-").as_str() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(format!("'{text}' is not {}", Self::KIND)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text),+ })
            }
        }
    };
}

choices!(
    /// What a null does.
    Nulls:
    /// Leaves what the table holds.
    Unset = "unset",
    /// Removes what the table holds.
    Tombstone = "tombstone"
);
choices!(
    /// What must hold when an epoch is written again.
    Delivery:
    /// The table is as if it had been written once.
    ExactlyOnce = "exactly-once",
    /// Rows may count twice.
    AtLeastOnce = "at-least-once"
);
choices!(
    /// What to do with cells from the future in a table that is new to the query.
    FutureCells:
    /// The query does not start.
    Refuse = "refuse",
    /// It does.
    Accept = "accept"
);

#[cfg(test)]
mod tests;
