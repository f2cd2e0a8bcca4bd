//! From the bytes of a request to rows: doors for logs.

pub mod decode;
pub mod door;
#[cfg(test)]
mod fuzz;
pub mod in_flight;
pub mod kafka;
#[cfg(feature = "otlp")]
pub mod otlp_grpc;
pub mod syslog;
