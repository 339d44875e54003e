//! One file per command: its options, and a function that carries it out.

pub(crate) mod completion;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod credential;
pub(crate) mod delete;
pub(crate) mod disconnect;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod resync;
pub(crate) mod usage;
pub(crate) mod version;

use crate::{
    cli::Command,
    exit::Exit,
    failure::{Failure, Result},
    session::Session,
};

/// Carries out a command, until it is done or interrupted. What was begun is dropped in order, so
/// that no lock or temporary file stays behind.
pub(crate) async fn run(command: Command, session: &Session) -> Result {
    if session.global.output.is_some() && !prints(&command) {
        return Err(Failure::new(
            Exit::Usage,
            "-o is for the commands that print data: create, list, get, usage, explain and version",
        ));
    }
    let begun = match command {
        Command::Create(_) | Command::Delete(_) => {
            Some("what the gateway was asked for goes on; `vcluster list` shows how far it is")
        }
        Command::Connect(_)
        | Command::Disconnect(_)
        | Command::List(_)
        | Command::Get(_)
        | Command::Explain(_)
        | Command::Resync(_)
        | Command::Usage(_)
        | Command::Credential(_)
        | Command::Completion(_)
        | Command::Version(_) => None,
    };
    tokio::select! {
        // A command that waits has more to say about an interrupt than this.
        biased;
        result = dispatch(command, session) => result,
        () = session.interrupted() => {
            let failure = Failure::new(Exit::Interrupted, "interrupted");
            Err(match begun {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
    }
}

/// Whether a command prints data in a format of the user's choice.
fn prints(command: &Command) -> bool {
    match command {
        Command::Create(_)
        | Command::List(_)
        | Command::Get(_)
        | Command::Explain(_)
        | Command::Usage(_)
        | Command::Version(_) => true,
        Command::Connect(_)
        | Command::Disconnect(_)
        | Command::Delete(_)
        | Command::Resync(_)
        | Command::Credential(_)
        | Command::Completion(_) => false,
    }
}

async fn dispatch(command: Command, session: &Session) -> Result {
    match command {
        Command::Create(args) => Box::pin(create::run(args, session)).await,
        Command::Connect(args) => connect::run(args, session).await,
        Command::Disconnect(args) => disconnect::run(&args, session).await,
        Command::List(args) => list::run(&args, session).await,
        Command::Get(args) => get::run(&args, session).await,
        Command::Explain(args) => explain::run(&args, session).await,
        Command::Resync(args) => resync::run(&args, session).await,
        Command::Usage(args) => usage::run(&args, session).await,
        Command::Delete(args) => delete::run(&args, session).await,
        Command::Credential(args) => credential::run(&args, session).await,
        Command::Completion(args) => completion::run(&args, session),
        Command::Version(args) => version::run(&args, session),
    }
}
