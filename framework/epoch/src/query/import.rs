//! Beginning where another program stopped, once the sources have said that they can.

use tidegate_api::{Error, Result};

use super::{Life, Query};
use crate::checkpoint::ImportPoint;
use crate::recovery::about;

impl Query {
    /// As [`Checkpoint::import`](crate::Checkpoint::import), and the sources say first that they can go on from there.
    /// The query must not have been started, and can't be any more.
    ///
    /// # Errors
    /// `Config` if the checkpoint has been used, if a position is not one of its source, or if what comes after it is
    /// gone; else as the sources.
    pub async fn import(&mut self, point: ImportPoint) -> Result<()> {
        if !matches!(self.life, Life::New) {
            return Err(Error::internal("positions are imported before a query is started"));
        }
        self.life = Life::Failed("it took over positions; start a new one".to_owned());
        Box::pin(self.begin_at(point)).await
    }

    async fn begin_at(&mut self, point: ImportPoint) -> Result<()> {
        self.sources.take_indices(&self.checkpoint).await?;
        let branch = self.checkpoint.branch_at(point).await?;
        self.sources.check(&branch.plan).map_err(|e| e.within(about(&self.checkpoint)))?;
        self.sources.stand_at_ends(&branch.plan);
        self.sources.look_ahead(self.retry).await?;
        self.checkpoint.begin_with(&branch).await?;
        self.checkpoint.owner.release().await;
        Ok(())
    }
}
