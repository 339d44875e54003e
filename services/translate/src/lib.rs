//! Translation between virtual and host objects: pure functions, no I/O.
