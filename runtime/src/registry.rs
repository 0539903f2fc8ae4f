//! The connectors that come with the binary.

use tidegate_api::Registry;

/// All connectors of this project. Add your own: `tidegate::run(tidegate::built_in().source::<Mine>())`.
pub fn built_in() -> Registry {
    let registry = tidegate_file::register(Registry::new());
    let registry = tidegate_socket::register(registry);
    let registry = tidegate_rate::register(registry);
    let registry = tidegate_kafka::register(registry);
    let registry = tidegate_console::register(registry);
    let registry = tidegate_cassandra::register(registry);
    registry.sink::<tidegate_delta::Delta>()
}
