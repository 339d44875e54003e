//! `logs`: the components' logs, to stdout.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
};

use anyhow::{Context as _, Result, ensure};

use super::{Layout, Name, components, record::Record};
use crate::{command::last_lines, output, wait};

/// Lines of each component where no component was named.
const EACH: usize = 10;

/// Writes a component's log, or the end of every one; with `follow`, what is added until
/// interrupted.
///
/// # Errors
/// There is no such component, or no log of it.
pub fn logs(name: &Name, component: Option<&str>, follow: bool) -> Result<()> {
    let layout = Layout::new(name);
    let with = Record::read(&layout).map(|record| record.with);
    let components = components(&with.unwrap_or_default());
    if let Some(component) = component {
        ensure!(
            components.contains(&component),
            "there is no component {component}; there are: {}",
            components.join(", ")
        );
        return one(&layout, component, follow);
    }
    for component in &components {
        let text = fs::read(layout.log(component)).unwrap_or_default();
        output::note(format_args!("== {component}"));
        output::data(last_lines(&String::from_utf8_lossy(&text), EACH));
    }
    ensure!(!follow, "-f wants a component: {}", components.join(", "));
    Ok(())
}

fn one(layout: &Layout, component: &str, follow: bool) -> Result<()> {
    let path = layout.log(component);
    let mut file = File::open(&path).with_context(|| format!("no log at {}", path.display()))?;
    loop {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // The reader has gone, as `head` does.
        if io::stdout()
            .write_all(&text)
            .and_then(|()| io::stdout().flush())
            .is_err()
        {
            return Ok(());
        }
        if !follow || !path.exists() {
            return Ok(());
        }
        wait::pause();
        if file.metadata()?.len() < file.stream_position()? {
            file.seek(SeekFrom::Start(0))?;
        }
    }
}
