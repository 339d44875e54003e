//! Errors as users read them.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use vcluster_client::Rejection;

use super::*;

fn rejected(status: &Status) -> Failure {
    Failure::from(Error::Rejected(Box::new(Rejection::from(status))))
}

fn plain(failure: &Failure) -> String {
    crate::ui::style::plain(&failure.render())
}

#[test]
fn violations_are_listed_by_field() {
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("virtual_cluster.name", "must not contain \"-x-\"");
    details.add_bad_request_violation("virtual_cluster.spec.version", "must be MAJOR.MINOR.PATCH");
    let status = Status::with_error_details(
        Code::InvalidArgument,
        "the request has 2 violations",
        details,
    );
    let failure = rejected(&status).context("virtual cluster \"a-x-b\" was not created");
    insta::assert_snapshot!(plain(&failure), @r#"
    error: virtual cluster "a-x-b" was not created
      virtual_cluster.name: must not contain "-x-"
      virtual_cluster.spec.version: must be MAJOR.MINOR.PATCH
    caused by: the request has 2 violations
    "#);
    assert_eq!(failure.exit, 2);
}

#[test]
fn known_reasons_come_with_advice_that_adds_to_the_message() {
    let shown = |reason, message| {
        let facts = [("host_namespace".to_owned(), "team".to_owned())];
        let details = ErrorDetails::with_error_info(reason, "vcluster.dev", facts);
        let code = Code::FailedPrecondition;
        plain(&rejected(&Status::with_error_details(
            code, message, details,
        )))
    };
    let occupied =
        "host namespace \"team\" already has the virtual cluster \"x\": one per host namespace";
    insta::assert_snapshot!(shown("HOST_NAMESPACE_OCCUPIED", occupied), @r#"
    error: host namespace "team" already has the virtual cluster "x": one per host namespace
    hint: -n names another host namespace
    "#);
    let unlabelled = "the host namespace team lacks the label vcluster.dev/host=true: an administrator of the host \
                      cluster must add it";
    insta::assert_snapshot!(shown("HOST_NAMESPACE_NOT_ENABLED", unlabelled), @r"
    error: the host namespace team lacks the label vcluster.dev/host=true: an administrator of the host cluster must add it
    hint: `kubectl label namespace team vcluster.dev/host=true` adds it; -n names another host namespace
    ");
}

#[test]
fn causes_are_told_once() {
    let io = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
    let failure = Failure::of(
        Exit::Unavailable,
        api::Error::Unreachable {
            server: "https://host:6443".to_owned(),
            source: io,
        },
    )
    .context("the gateway could not be looked up");
    insta::assert_snapshot!(plain(&failure), @r"
    error: the gateway could not be looked up
    caused by: the host API server https://host:6443 cannot be reached
    caused by: connection refused
    ");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
    assert_eq!((failure.exit, failure.render().len()), (0, 0));
}
