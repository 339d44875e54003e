//! Which methods there are, read from the descriptor sets.
//!
//! Metrics carry only names that stand here: a stranger who calls random paths must not make series.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;
use prost_types::FileDescriptorSet;

use super::record::Labels;

const OTHER: &str = "other";

/// Every known method by its path.
#[derive(Debug, Clone)]
pub(super) struct Methods {
    by_path: Arc<HashMap<String, Labels>>,
    other: Labels,
}

impl Methods {
    pub(super) fn read(descriptor_sets: &[&[u8]]) -> Result<Self, prost::DecodeError> {
        let mut by_path = HashMap::new();
        for set in descriptor_sets {
            for file in FileDescriptorSet::decode(*set)?.file {
                let package = file.package();
                for service in &file.service {
                    let name = match package {
                        "" => service.name().to_owned(),
                        package => format!("{package}.{}", service.name()),
                    };
                    for method in &service.method {
                        let path = format!("/{name}/{}", method.name());
                        by_path.insert(path, Labels::new(&name, method.name()));
                    }
                }
            }
        }
        Ok(Self {
            by_path: Arc::new(by_path),
            other: Labels::new(OTHER, OTHER),
        })
    }

    pub(super) fn labels(&self, path: &str) -> &Labels {
        self.by_path.get(path).unwrap_or(&self.other)
    }
}

/// Splits `/package.Service/Method`.
pub(super) fn split(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_once('/').unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_come_from_the_descriptors_and_strangers_share_one_name() {
        let methods = Methods::read(&[tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        let check = methods.labels("/grpc.health.v1.Health/Check");
        assert_eq!(*check, Labels::new("grpc.health.v1.Health", "Check"));
        assert_eq!(*methods.labels("/a/b"), Labels::new(OTHER, OTHER));
    }

    #[test]
    fn paths_are_split_at_the_method() {
        assert_eq!(split("/a.b.C/D"), ("a.b.C", "D"));
        assert_eq!(split("nonsense"), ("nonsense", ""));
    }
}
