//! Custom resources by rules of the VirtualCluster: kinds that no code of ours knows.
//!
//! cert-manager's own definitions are read from its Go module. Where its controller does not run on the host, the
//! test plays its part: it writes the Secret and the status.

mod certificates;
mod definitions;
mod refused;
mod rewritten;
mod rule;
mod shown;
mod sides;

const CERTIFICATES: &str = "certificates.cert-manager.io";
const GADGETS: &str = "gadgets.test.vcluster.dev";
const SHELVES: &str = "shelves.test.vcluster.dev";
