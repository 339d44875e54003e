//! Client library and the vcluster command.
