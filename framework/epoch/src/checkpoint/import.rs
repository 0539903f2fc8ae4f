//! A checkpoint that begins where another program stopped.

use tidegate_api::{Error, OffsetJson, Ownership as _, Result};

use super::Checkpoint;
use crate::log::branch::{Branch, Mode};
use crate::log::{OwnRows, Plan, SourceRange};
use crate::watermark::WatermarkPolicy;

/// Where a query begins that another program has run so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportPoint {
    /// The number of its first epoch.
    pub next: u64,
    /// Where its sources stand, by name. Others begin at their starting offsets.
    pub positions: Vec<(String, OffsetJson)>,
    /// The watermark of its first epoch, milliseconds since 1970.
    pub watermark_ms: Option<i64>,
    /// How watermarks of several sources become one.
    pub watermark_policy: WatermarkPolicy,
    /// For people: where this comes from.
    pub reason: String,
}

impl Checkpoint {
    /// Has the next start begin at `point`, without state.
    ///
    /// # Errors
    /// `Config` if the checkpoint has been used, `Transient` if the store fails.
    pub async fn import(&self, point: ImportPoint) -> Result<()> {
        let branch = self.branch_at(point).await?;
        self.begin_with(&branch).await
    }

    /// Gives a source entries of its own log that another program has kept, before `import`. What is there already must
    /// be the same.
    ///
    /// # Errors
    /// `Config` if the checkpoint has been used, or has other entries; `Transient` if the store fails.
    pub async fn import_log(&self, source: &str, entries: &[(String, Vec<u8>)]) -> Result<()> {
        self.check_unused().await?;
        let log = self.source_log(source).await?;
        for (key, bytes) in entries {
            if !log.put_new(key, bytes).await? && log.get(key).await?.as_deref() != Some(bytes) {
                let text = format!("the log of source {source} has another entry {key} already; use a new checkpoint");
                return Err(Error::config(format!("checkpoint {}: {text}", self.location())));
            }
        }
        Ok(())
    }

    async fn check_unused(&self) -> Result<()> {
        let used = !self.wal.attempts().await?.is_empty() || self.spark.latest().await?.is_some();
        if used || !self.branches.list().await?.is_empty() {
            let text = "it has been used: only a new checkpoint can begin where another program stopped";
            return Err(Error::config(format!("checkpoint {}: {text}", self.location())));
        }
        Ok(())
    }

    /// The branch that begins at `point`; nothing but the sources' names is written.
    pub(crate) async fn branch_at(&self, point: ImportPoint) -> Result<Branch> {
        self.check_unused().await?;
        let mut sources = Vec::new();
        for (name, offset) in point.positions {
            let index = self.source_index(&name).await?;
            sources.push(SourceRange { name: name.into(), index, start: offset.clone(), end: offset });
        }
        let plan = Plan {
            epoch: point.next.saturating_sub(1),
            sources,
            time_ms: 0,
            write_time_us: 0,
            watermark_ms: point.watermark_ms,
            late_watermark_ms: point.watermark_ms,
            groups: Vec::new(),
            late_groups: Vec::new(),
            ceiling_ms: None,
            watermark_policy: point.watermark_policy,
            idle: Vec::new(),
            following: Vec::new(),
            seed: 0,
            zone: String::new(),
            digest: String::new(),
            statics: Vec::new(),
            removed: Vec::new(),
            suppress: false,
            own_rows: OwnRows::Later,
        };
        Ok(Branch {
            next: point.next,
            base: None,
            plan,
            watermark_ms: point.watermark_ms,
            groups: Vec::new(),
            mode: Mode::None,
            delivered: None,
            take_back: false,
            reason: point.reason,
        })
    }

    /// Has the next start begin with this branch.
    pub(crate) async fn begin_with(&self, branch: &Branch) -> Result<()> {
        self.owner.check().await?;
        self.branches.write(branch).await
    }
}
