//! One file per command: its options, and a function that carries it out.

pub(crate) mod completion;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod credential;
pub(crate) mod delete;
pub(crate) mod disconnect;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod version;

use crate::{cli::Command, failure::Result, session::Session};

/// Carries out a command.
pub(crate) async fn run(command: Command, session: &Session) -> Result {
    match command {
        Command::Create(args) => create::run(args, session).await,
        Command::Connect(args) => connect::run(args, session).await,
        Command::Disconnect(args) => disconnect::run(&args, session).await,
        Command::List(args) => list::run(&args, session).await,
        Command::Get(args) => get::run(&args, session).await,
        Command::Delete(args) => delete::run(&args, session).await,
        Command::Credential(args) => credential::run(&args, session).await,
        Command::Completion(args) => completion::run(&args, session),
        Command::Version(args) => version::run(&args, session),
    }
}
