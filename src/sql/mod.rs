//! Doors of SQL beside plain HTTP, and what all of them share: forms of rows, parameters, cursors.
//!
//! ```text
//! /api/v1/sql ─────▶ forms (JSON, lines, CSV, Arrow, Parquet) ◀─ cursors (pages of one snapshot)
//! Postgres wire ───▶ postgres/ ─┐
//! Flight SQL ──────▶ flight/ ───┴─▶ Engine::sql_session of the caller's scope
//! ```
//!
//! Invariants: statements only read; a door shows what the caller's scope shows; a result is never held as a whole.

pub mod cursors;
pub mod forms;
pub mod params;
pub mod placeholders;
pub mod plain;
pub mod settings;
