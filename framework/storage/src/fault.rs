//! What an object store's error means for the one who asked.

use object_store::Error as StoreError;
use tidegate_api::ErrorKind;

/// The kind of a store's error: what can't get better by itself is `Config`, all else may work later.
///
/// `AlreadyExists` and `Precondition` are answers, not failures: who asks conditionally handles them first.
pub fn kind_of(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::NotFound { .. }
        | StoreError::InvalidPath { .. }
        | StoreError::NotSupported { .. }
        | StoreError::NotImplemented { .. }
        | StoreError::PermissionDenied { .. }
        | StoreError::Unauthenticated { .. }
        | StoreError::UnknownConfigurationKey { .. } => ErrorKind::Config,
        _ => ErrorKind::Transient,
    }
}
