//! A user at a terminal: what is typed is shown, run and judged.

use std::{
    env, fmt, fs,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    cluster::{self, Cluster},
    command, output,
    wait::Deadline,
    workspace,
};

/// A user at a terminal: a kubeconfig of their own, and the programs on the PATH.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) cluster: Cluster,
    path: std::ffi::OsString,
    /// Begins as the host administrator's; `vcluster connect` edits it as it would a user's.
    pub(super) kubeconfig: PathBuf,
    step: u32,
}

impl Terminal {
    pub(super) fn begin(cluster: &Cluster) -> Result<Self> {
        let kubeconfig = cluster.layout.state.join("demo.kubeconfig");
        fs::copy(&cluster.kubeconfig, &kubeconfig)
            .with_context(|| format!("cannot write {}", kubeconfig.display()))?;
        let old = env::var_os("PATH").unwrap_or_default();
        let mut folders = vec![
            cluster.layout.programs(),
            workspace::target()?.join("debug"),
        ];
        folders.extend(env::split_paths(&old));
        let path = env::join_paths(folders).context("a folder's name holds a colon")?;
        Ok(Self {
            cluster: cluster.clone(),
            path,
            kubeconfig,
            step: 0,
        })
    }

    pub(super) fn title(&mut self, what: &str) {
        self.step += 1;
        output::note(format_args!("\n── {}. {what}", self.step));
    }

    /// Shows the command and runs it as the user would.
    pub(super) fn run(&self, line: &str) -> Result<Output> {
        output::note(format_args!("   $ {line}"));
        self.quietly(line, &self.kubeconfig, None)
    }

    pub(super) fn quietly(
        &self,
        line: &str,
        kubeconfig: &PathBuf,
        input: Option<&str>,
    ) -> Result<Output> {
        let mut words = words(line).into_iter();
        let program = words.next().context("an empty command")?;
        let mut command = Command::new(&program);
        command
            .args(words)
            .env("PATH", &self.path)
            .env("KUBECONFIG", kubeconfig);
        command::finish(&mut command, input)
    }

    /// Applies a manifest that is shown as it would be typed.
    pub(super) fn apply(&self, manifest: &str) -> Result<()> {
        output::note(format_args!("   $ kubectl apply -f - <<'EOF'"));
        show(manifest);
        output::note("   EOF");
        self.apply_quietly(manifest)
    }

    /// Applies a manifest that was shown before.
    pub(super) fn apply_again(&self, manifest: &str) -> Result<()> {
        output::note("   $ kubectl apply -f -     # the same as before");
        self.apply_quietly(manifest)
    }

    fn apply_quietly(&self, manifest: &str) -> Result<()> {
        let line = "kubectl apply -f -";
        let applied = self.quietly(line, &self.kubeconfig, Some(manifest))?;
        show(&succeeded(line, &applied)?);
        Ok(())
    }

    /// Runs a command until it prints `word`, within a minute, and shows it with what it printed then.
    pub(super) fn until(&self, line: &str, word: &str) -> Result<()> {
        let text = Deadline::seconds(60).poll(format_args!("`{line}` prints {word:?}"), || {
            let text = succeeded(line, &self.quietly(line, &self.kubeconfig, None)?)?;
            Ok(text.contains(word).then_some(text))
        })?;
        output::note(format_args!("   $ {line}"));
        show(&text);
        Ok(())
    }

    /// Runs a command that must succeed, shows what it printed, and returns that.
    pub(super) fn ok(&self, line: &str) -> Result<String> {
        let text = succeeded(line, &self.run(line)?)?;
        show(&text);
        Ok(text)
    }

    /// What the host's administrator sees; not part of what is told.
    pub(super) fn host(&self, line: &str) -> Result<Value> {
        let output = self.quietly(line, &self.cluster.kubeconfig, None)?;
        let text = succeeded(line, &output)?;
        serde_json::from_str(&text).with_context(|| format!("`{line}` printed no JSON: {text}"))
    }

    pub(super) fn inside(&self, line: &str) -> Result<Value> {
        let text = succeeded(line, &self.quietly(line, &self.kubeconfig, None)?)?;
        serde_json::from_str(&text).with_context(|| format!("`{line}` printed no JSON: {text}"))
    }

    /// Runs a command that must be refused with these words, and shows the refusal.
    pub(super) fn refused(&self, line: &str, kubeconfig: &PathBuf, words: &[&str]) -> Result<()> {
        output::note(format_args!("   $ {line}"));
        let output = self.quietly(line, kubeconfig, None)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        show(&said);
        ensure!(
            !output.status.success(),
            "this should have been refused: {line}"
        );
        for word in words {
            ensure!(said.contains(word), "the refusal should say {word:?}");
        }
        Ok(())
    }
}

/// The processes of the `vcluster` command that run, by pid.
pub(super) fn processes() -> Result<Vec<String>> {
    let program = workspace::target()?.join("debug").join("vcluster");
    let all = fs::read_dir("/proc").context("cannot read /proc")?;
    let is_ours = |process: &fs::DirEntry| {
        // One that ended meanwhile has no program.
        fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe == program)
    };
    let ours = all.filter_map(Result::ok).filter(is_ours);
    Ok(ours
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect())
}

/// The host's address with another token.
pub(super) fn with_token(user: &Terminal, name: &str, token: &str) -> Result<PathBuf> {
    let mut config = user.host("kubectl config view --raw --flatten --minify -o json")?;
    config["users"][0]["user"] = serde_json::json!({"token": token});
    let path = user.cluster.layout.state.join(format!("{name}.kubeconfig"));
    cluster::write_private(&path, &config.to_string())?;
    Ok(path)
}

/// What a program printed; an error with what it said if it failed.
pub(super) fn succeeded(line: &str, output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!(
            "`{line}`: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The names of a list's items, in order.
pub(super) fn names(list: &Value) -> Vec<String> {
    let items = list["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut names: Vec<String> = items
        .iter()
        .filter_map(|item| Some(item["metadata"]["name"].as_str()?.to_owned()))
        .collect();
    names.sort_unstable();
    names
}

/// Shows what a program printed.
pub(super) fn show(text: &str) {
    for line in text.trim_end().lines() {
        output::note(format_args!("     {line}"));
    }
}

/// Says that a statement was checked.
pub(super) fn holds(statement: impl fmt::Display) {
    output::note(format_args!("   ✓ {statement}"));
}

/// The words of a line as a shell would tell them apart; single quotes keep blanks together, and no command here needs
/// more.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quotes_keep_blanks_together() {
        let line = "kubectl exec a -- sh -c 'echo b > c'";
        let expected = ["kubectl", "exec", "a", "--", "sh", "-c", "echo b > c"];
        assert_eq!(words(line), expected);
        assert_eq!(words("auth can-i '*' '*'"), ["auth", "can-i", "*", "*"]);
    }
}
