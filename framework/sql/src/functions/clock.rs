//! `epoch_time()`: what all of SQL's clock functions are rewritten to.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::clock::EpochClock;
use crate::event_time::timestamp;

pub(crate) fn epoch_time(clock: Arc<EpochClock>) -> Arc<ScalarUDF> {
    let signature = Signature::nullary(Volatility::Volatile);
    Arc::new(ScalarUDF::new_from_impl(EpochTime { clock, signature }))
}

/// Volatile, though it stands still within an epoch: anything less would be folded to the time of planning.
#[derive(Debug)]
struct EpochTime {
    clock: Arc<EpochClock>,
    signature: Signature,
}

impl PartialEq for EpochTime {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.clock, &other.clock)
    }
}

impl Eq for EpochTime {}

impl Hash for EpochTime {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.clock).hash(state);
    }
}

impl ScalarUDFImpl for EpochTime {
    fn name(&self) -> &str {
        "epoch_time"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(timestamp())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let now = ScalarValue::TimestampMicrosecond(Some(self.clock.now_us()), Some("UTC".into()));
        Ok(ColumnarValue::Scalar(now))
    }
}
