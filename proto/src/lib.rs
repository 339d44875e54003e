//! The gRPC contracts of control, sync and connect.
//!
//! Holds the generated messages, clients and servers, and the descriptors for server reflection.
//! The comments of the `.proto` files are the documentation; nothing here adds meaning to them.
//! Requests are turned into domain types, and checked, by the service that receives them.

/// Descriptors of every file, for `grpc.reflection` and for tests that compare contracts.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Domain of every `google.rpc.ErrorInfo` that the services send.
pub const ERROR_DOMAIN: &str = "vcluster.dev";

macro_rules! generated {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::pedantic,
            clippy::clone_on_ref_ptr,
            clippy::str_to_string,
            clippy::allow_attributes_without_reason,
            clippy::derive_partial_eq_without_eq,
            clippy::or_fun_call,
            clippy::use_self,
            reason = "generated"
        )]
        pub mod $name {
            /// First version.
            pub mod v1 {
                tonic::include_proto!($package);
            }
        }
    };
}

generated!(
    /// Lifecycle of virtual clusters.
    control,
    "vcluster.control.v1"
);
generated!(
    /// Access through the gateway.
    connect,
    "vcluster.connect.v1"
);
generated!(
    /// What sync does for each virtual cluster.
    sync,
    "vcluster.sync.v1"
);
