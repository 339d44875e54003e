//! kubeconfig files: read as kubectl reads them, edited without losing what we do not know.
//!
//! [`document`] is one parsed file, [`sources`] the files of one `KUBECONFIG`, with kubectl's rules
//! of which one counts and which one is written. [`context`] reads a context out of them, and
//! [`connection`] adds and removes what `vcluster connect` makes; all four are pure. [`file`] does
//! the I/O: lock, read, write.

pub mod connection;
pub mod context;
pub mod document;
pub mod file;
pub mod sources;
