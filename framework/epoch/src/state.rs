//! Keyed state: what a stateful operator remembers between epochs, as Arrow chunks with a hash index.
//!
//! ```text
//! found = state.matching(&partials)     // the stored rows of the keys that the epoch touches
//! state.put(merged)                      // into the overlay; state N-1 stays as it is
//! closed = state.evict_through(wm)       // rows whose pane is over
//! delta = state.delta()                  // what the epoch changed, for the checkpoint
//! state.seal()                           // the overlay becomes state N; or state.discard()
//! ```

mod backwards;
mod chunk;
mod codec;
mod key;
mod later;
mod layout;
mod level;
mod overlay;
mod spill;
mod store;

pub(crate) use backwards::Backwards;
pub(crate) use codec::{FileKind, Listed, OperatorPart, list_parts, open_part};
pub use codec::{decode_deltas, decode_snapshot, encode_deltas, encode_snapshot};
pub use key::{KEY_VERSION, encode_keys, key_hash, virtual_node};
pub use later::LaterRows;
pub use layout::StateLayout;
pub use spill::{SPILL_FOLDER, StateMemory};
pub use store::{KeyedState, Matches, Matching, Probe, RowRef};
