//! `vcluster completion`: a script that completes commands and options in a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{cli::Cli, failure::Result, session::Session};

/// Options of `completion`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(vcluster completion bash)
  vcluster completion zsh > ~/.zfunc/_vcluster
  vcluster completion fish > ~/.config/fish/completions/vcluster.fish")]
pub(crate) struct Completion {
    /// Which shell
    shell: Shell,
}

/// Carries it out.
pub(crate) fn run(args: &Completion, session: &Session) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vcluster", &mut script);
    session.terminal.data(&String::from_utf8_lossy(&script))?;
    Ok(())
}
