//! Changes to the sources of an upstream project, where no version without the trouble can be had.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{Project, module_folder, module_sources};
use crate::command;

/// One change of one source file.
#[derive(Debug)]
pub(super) struct Mend {
    /// The file, below the module's root.
    pub file: &'static str,
    /// What stands there, exactly once.
    pub old: &'static str,
    /// What is to stand there.
    pub new: &'static str,
}

/// Takes a read lock twice, one within the other, while every half minute another thread asks for the write lock: when it
/// asks between the two, nothing is provisioned ever again. What the outer lock is for, the inner one checks as well.
pub(super) const LOCAL_PATH: [Mend; 1] = [Mend {
    file: "provisioner.go",
    old: "\tp.configMutex.RLock()
\tdefer p.configMutex.RUnlock()

\tif p.config == nil {
\t\treturn \"\", ",
    new: "\tif p.config == nil {
\t\treturn \"\", ",
}];

/// The folder to build the project in: its own, or if it is to be mended a copy below `partial` that takes the module from
/// a mended copy of its sources. That one is to be removed when it is built.
pub(super) fn folder(project: &Project, partial: &Path) -> Result<PathBuf> {
    let own = module_folder(project);
    if project.mends.is_empty() {
        return Ok(own);
    }
    let copy = partial.join("mended");
    command::run(Command::new("cp").args(["-r", "--"]).arg(&own).arg(&copy))?;
    let sources = copy.join("sources");
    let upstream = module_sources(project)?;
    // What Go keeps is read-only.
    let mut cp = Command::new("cp");
    cp.args(["-r", "--no-preserve=mode", "--"]);
    command::run(cp.arg(upstream).arg(&sources))?;
    for mend in project.mends {
        let path = sources.join(mend.file);
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(&path, mend.apply(&text)?)?;
    }
    let replace = format!("-replace={}=./sources", project.module);
    let mut go = Command::new("go");
    go.args(["mod", "edit", &replace]).current_dir(&copy);
    command::run(&mut go)?;
    Ok(copy)
}

impl Mend {
    fn apply(&self, text: &str) -> Result<String> {
        let found = text.matches(self.old).count();
        let (file, old) = (self.file, self.old);
        ensure!(
            found == 1,
            "{file} is to be mended and has {found} times instead of once:\n{old}"
        );
        Ok(text.replacen(self.old, self.new, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEND: Mend = Mend {
        file: "a.go",
        old: "old",
        new: "new",
    };

    #[test]
    fn what_stands_there_once_is_changed() {
        let mended = MEND.apply("the old hat").expect("mended");
        assert_eq!(mended, "the new hat");
    }

    #[test]
    fn another_text_is_refused() {
        for text in ["a hat", "old and old"] {
            let error = MEND.apply(text).expect_err("refused").to_string();
            assert!(error.starts_with("a.go is to be mended"), "{error}");
        }
    }
}
