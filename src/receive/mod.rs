//! From the bytes of a request to rows: doors for logs.

pub mod decode;
pub mod kafka;
