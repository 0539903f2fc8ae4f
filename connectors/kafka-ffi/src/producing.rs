//! `send_now`: what waits in a producer for company is sent at once.

use std::ffi::c_int;
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka_sys as sys;

/// Has the producer's threads send what lies in its queues without waiting for `linger.ms`, for as long as this call
/// takes: until all has been acknowledged and its reports were taken by another thread, at most `wait`, in whole
/// milliseconds. A call that returns at once may end before those threads have looked. Takes no reports: poll the
/// producer after it.
pub fn send_now<C: ClientContext>(client: &Client<C>, wait: Duration) {
    let wait = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the client is alive. The result says whether reports are left, which the caller sees for itself.
    unsafe { sys::rd_kafka_flush(client.native_ptr(), wait) };
}
