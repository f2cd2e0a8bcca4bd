//! Operators over scanned rows, as DataFusion execution plans: node, state and stream beside each other.

pub mod entries;
pub mod known;
pub mod range;
pub mod rows;
pub mod series;
