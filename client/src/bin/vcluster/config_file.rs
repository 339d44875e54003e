//! The user's config file: gateways, for all host contexts or for one.
//!
//! ```yaml
//! gateway: {address: "https://gw.example", caFile: gw-ca.crt}
//! contexts:
//!   production:
//!     gateway: {address: "https://gw.prod.example"}
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    exit::Exit,
    failure::{Failure, Result},
};

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    gateway: Option<Gateway>,
    #[serde(default)]
    contexts: BTreeMap<String, ContextConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextConfig {
    gateway: Option<Gateway>,
}

/// A gateway as a user writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Gateway {
    pub(crate) address: String,
    pub(crate) ca_file: Option<PathBuf>,
}

impl Config {
    /// Reads the file; one that was not named may be missing.
    pub(crate) fn load(path: &Path, named: bool) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => {
                return Ok(Self::default());
            }
            Err(error) => {
                let sentence = format!("the config file {} cannot be read", path.display());
                return Err(Failure::of(Exit::Usage, error).context(sentence));
            }
        };
        let mut config = Self::parse(&text).map_err(|error| {
            let sentence = format!("the config file {} is not valid", path.display());
            Failure::of(Exit::Usage, *error).context(sentence)
        })?;
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        for gateway in config.gateways_mut() {
            gateway.ca_file = gateway.ca_file.take().map(|file| folder.join(file));
        }
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, Box<serde_saphyr::Error>> {
        let config: Option<Self> = serde_saphyr::from_str(text).map_err(Box::new)?;
        Ok(config.unwrap_or_default())
    }

    /// The gateway for a host context.
    pub(crate) fn gateway(&self, context: &str) -> Option<&Gateway> {
        let own = self.contexts.get(context).and_then(|c| c.gateway.as_ref());
        own.or(self.gateway.as_ref())
    }

    fn gateways_mut(&mut self) -> impl Iterator<Item = &mut Gateway> {
        let own = self
            .contexts
            .values_mut()
            .filter_map(|c| c.gateway.as_mut());
        self.gateway.iter_mut().chain(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_may_have_its_own_gateway() {
        let config = Config::parse(
            "gateway: {address: 'https://a', caFile: ca.crt}\n\
             contexts: {prod: {gateway: {address: 'https://b'}}}\n",
        )
        .unwrap();
        assert_eq!(config.gateway("prod").unwrap().address, "https://b");
        assert_eq!(config.gateway("dev").unwrap().address, "https://a");
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        assert!(Config::parse("gatway: {}").is_err());
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }
}
