//! Custom-resource types, labels, conditions and names; no I/O.
