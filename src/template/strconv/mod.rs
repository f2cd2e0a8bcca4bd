//! Literals of Go: quoted texts, integers, floats; read and written as `strconv` does.

pub(super) mod float;
pub(super) mod number;
pub(super) mod quote;
