//! The command as a process, against a gateway and a host API server on loopback with real TLS.

#[cfg(test)]
mod cli {
    pub(crate) mod gateway;
    pub(crate) mod host;
    pub(crate) mod world;

    mod access;
    mod inside;
    mod lifecycle;
    mod trouble;
    mod watching;
}
