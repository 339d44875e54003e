//! The gRPC contracts of control, sync and connect.
