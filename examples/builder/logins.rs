//! The last login of each user, written back into Cassandra by a function that gets each epoch, as a Rust program.
//!
//! A crate of one's own needs `tidegate-builder`, `tidegate-file`, `tidegate-cassandra`, the driver `scylla`, `arrow-array` and
//! `tokio`. This file is compiled, run and its result checked by `framework/engine/tests/it/builder/logins.rs`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimestamp;
use tidegate_builder::{Error, JoinType, OutputMode, RecordBatch, Registry, Result, Session, Trigger, ValueFormat};

/// A connection to the cluster.
type Cluster = Arc<scylla::client::session::Session>;

const WRITE: &str = "INSERT INTO test_db.users (login_id, user_name, last_login) VALUES (?, ?, ?)";

#[tokio::main]
async fn main() -> Result<()> {
    let registry = tidegate_cassandra::register(tidegate_file::register(Registry::new()));
    let session = Session::builder(registry).checkpoints("./data/checkpoints").build();
    note_logins(&session, "localhost:9042", "./examples/logins/data").await
}

/// Notes the logins that are there and ends; run again, it goes on where it stopped. The table is the one of
/// `examples/logins/users.cql`.
pub(crate) async fn note_logins(session: &Session, node: &str, folder: &str) -> Result<()> {
    let logins = session
        .read_stream("logins")
        .connector("file")
        .option("path", folder)
        .option("max.files.per.trigger", 1)
        .value_format(ValueFormat::Json)
        .schema("login_id STRING, created_at TIMESTAMP")
        .load()?;
    let users = session
        .read("users")
        .connector("cassandra")
        .option("contact.points", node)
        .option("keyspace", "test_db")
        .option("table", "users")
        .load()?;
    let joined = logins.alias("l").join(&users.alias("u"), JoinType::Inner, "l.login_id = u.login_id");
    let noted = joined.select(["l.login_id AS login_id", "u.user_name AS user_name", "l.created_at AS last_login"]);

    let away = |e: String| Error::transient(format!("cassandra at {node}: {e}"));
    let cluster = SessionBuilder::new().known_node(node).build().await.map_err(|e| away(e.to_string()))?;
    let write = cluster.prepare(WRITE).await.map_err(|e| away(e.to_string()))?;
    let cluster = Arc::new(cluster);
    let query = noted
        .write_stream()
        .query_name("logins")
        .output_mode(OutputMode::Update)
        .trigger(Trigger::AvailableNow)
        .foreach_batch(move |epoch, rows| {
            let (cluster, mut write) = (cluster.clone(), write.clone());
            // An epoch that comes again has the write time that it had: what it writes again is what is there already, and an
            // epoch after it is not undone. Of two logins of a user in one epoch the later one stays.
            write.set_timestamp(Some(epoch.write_time_us));
            async move {
                for batch in rows.collect().await? {
                    write_rows(&cluster, &write, &batch).await?;
                }
                Ok(())
            }
        })
        .start()
        .await?;
    query.await_termination().await
}

async fn write_rows(cluster: &Cluster, write: &PreparedStatement, batch: &RecordBatch) -> Result<()> {
    let (login, name) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let at = batch.column(2).as_primitive::<TimestampMicrosecondType>();
    for row in 0..batch.num_rows() {
        let at = CqlTimestamp(at.value(row).div_euclid(1000));
        let written = cluster.execute_unpaged(write, (login.value(row), name.value(row), at)).await;
        // Tried again, with the whole epoch.
        written.map_err(|e| Error::transient("a login can't be written").because(e))?;
    }
    Ok(())
}
