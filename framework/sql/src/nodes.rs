//! What DataFusion's plans lack: the watermark, and the columns that `window` adds to a relation.

pub(crate) mod time_window;
mod watermark;

pub use watermark::WatermarkNode;
