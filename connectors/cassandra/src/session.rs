//! The connection to the cluster, and who must act when it fails.

use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError, MetadataError,
    NewSessionError, PrepareError, RequestAttemptError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::statement::Consistency;
use tidegate_api::{Error, ErrorKind, Result, Secret};

use crate::config::ContactPoint;
use crate::table::listed;

const CONNECT: Duration = Duration::from_secs(5);
const AGREEMENT: Duration = Duration::from_secs(10);

/// How to get at a cluster.
pub(crate) struct Access<'a> {
    pub(crate) contact_points: &'a [ContactPoint],
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a Secret>,
    pub(crate) local_datacenter: Option<&'a str>,
    pub(crate) consistency: Consistency,
    /// How long a statement may take.
    pub(crate) timeout: Duration,
}

/// Connects, and reads what the keyspaces are made of.
///
/// # Errors
/// `Config` if the cluster refuses us or lacks the datacenter, `Transient` if it is away.
pub(crate) async fn connect(access: &Access<'_>) -> Result<Session> {
    let mut policy = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = access.local_datacenter {
        policy = policy.prefer_datacenter(datacenter.to_owned());
    }
    let profile = ExecutionProfile::builder()
        .consistency(access.consistency)
        .request_timeout(Some(access.timeout))
        .load_balancing_policy(policy.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(access.contact_points.iter().map(|it| it.0.as_str()))
        .default_execution_profile_handle(profile.into_handle())
        .disallow_shard_aware_port(true)
        .driver_config_reporting(false)
        .connection_timeout(CONNECT)
        .schema_agreement_timeout(AGREEMENT);
    if let Some(user) = access.username {
        builder = builder.user(user, access.password.map_or("", |it| it.expose()));
    }
    let points = access.contact_points.iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join(", ");
    let session = Box::pin(builder.build()).await.map_err(|e| {
        let error = match refused(&e, access.username) {
            Some(why) => Error::config(why),
            None => Error::transient("can't be reached").because(e),
        };
        error.within(format_args!("cassandra at {points}"))
    })?;
    check_datacenter(access, &session)?;
    Ok(session)
}

fn check_datacenter(access: &Access<'_>, session: &Session) -> Result<()> {
    let Some(wanted) = access.local_datacenter else { return Ok(()) };
    let state = session.get_cluster_state();
    let mut found: Vec<_> = state.get_nodes_info().iter().filter_map(|it| it.datacenter.as_deref()).collect();
    found.sort_unstable();
    found.dedup();
    if found.contains(&wanted) {
        return Ok(());
    }
    let text = format!("local.datacenter '{wanted}': the cluster has {}", listed(found.into_iter()));
    Err(Error::config(text))
}

/// Why the cluster does not let us in, if that is what happened.
fn refused(error: &NewSessionError, user: Option<&str>) -> Option<String> {
    let pool = match error {
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(it)) => it,
        NewSessionError::IllegalConfig(why) => return Some(format!("can't be used as configured: {why}")),
        _ => return None,
    };
    let ConnectionPoolError::Broken { last_connection_error } = pool else { return None };
    let ConnectionError::ConnectionSetupRequestError(setup) = last_connection_error else { return None };
    match setup.get_error() {
        ConnectionSetupRequestErrorKind::MissingAuthentication => {
            Some("asks for a user and a password: set username and password".to_owned())
        }
        // While the cluster can't read its own users, it says so with the same code.
        ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, why)
            if !why.contains("Unable to perform authentication") =>
        {
            Some(format!("refuses user '{}': {why}", user.unwrap_or_default()))
        }
        _ => None,
    }
}

/// What a failed statement means.
pub(crate) fn failed(error: ExecutionError) -> Error {
    let kind = match &error {
        ExecutionError::BadQuery(_) => ErrorKind::Internal,
        ExecutionError::PrepareError(it) => prepare_kind(it),
        ExecutionError::LastAttemptError(it) => attempt_kind(it),
        _ => ErrorKind::Transient,
    };
    Error::new(kind, "a statement failed").because(error)
}

/// What a statement that can't be prepared means.
pub(crate) fn unprepared(error: PrepareError) -> Error {
    Error::new(prepare_kind(&error), "a statement can't be prepared").because(error)
}

fn prepare_kind(error: &PrepareError) -> ErrorKind {
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } => attempt_kind(first_attempt),
        _ => ErrorKind::Transient,
    }
}

fn attempt_kind(error: &RequestAttemptError) -> ErrorKind {
    match error {
        RequestAttemptError::DbError(it, _) => match it {
            DbError::SyntaxError
            | DbError::Invalid
            | DbError::ConfigError
            | DbError::Unauthorized
            | DbError::AuthenticationError
            | DbError::AlreadyExists { .. }
            | DbError::FunctionFailure { .. } => ErrorKind::Config,
            DbError::ProtocolError => ErrorKind::Internal,
            _ => ErrorKind::Transient,
        },
        RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
            ErrorKind::Internal
        }
        _ => ErrorKind::Transient,
    }
}
