//! The settings of the `socket` source.

use tidegate_api::prelude::*;

/// Settings of the `socket` source.
#[derive(ConfigDef)]
pub struct SocketConfig {
    /// The server's name or address.
    #[config(importance = "high")]
    pub host: String,
    /// The server's port.
    #[config(importance = "high")]
    pub port: u16,
    /// Whether to add the column `timestamp`: when the line came.
    #[config(default = "false")]
    pub include_timestamp: bool,
}
